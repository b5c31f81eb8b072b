//! The arguments of `score` and `complete`.

use std::path::PathBuf;

use clap::Args;

use super::args::ModelArgs;

/// Log-likelihoods.
#[derive(Debug, Args)]
pub struct Score {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A PEFT adapter that requests choose by name, all in the same passes over one base; repeatable
    #[arg(long = "with-adapter", value_name = "NAME=FOLDER", conflicts_with = "adapter")]
    pub adapters: Vec<String>,
    /// Requests (JSONL): {"id","context","continuation"} or context_ids, continuation_ids; "adapter" names one of --with-adapter
    #[arg(long, value_name = "JSONL")]
    pub requests: PathBuf,
    /// Answers (JSONL), in the same order: {"id","loglikelihood","is_greedy","num_tokens"}
    #[arg(long, value_name = "JSONL")]
    pub output: PathBuf,
    /// Tokens a forward
    #[arg(long, default_value_t = 4096)]
    pub batch_tokens: usize,
}

/// Continuations.
#[derive(Debug, Args)]
pub struct Complete {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text to continue; the continuation is printed as it comes
    #[arg(long, conflicts_with_all = ["ids", "prompts"], required_unless_present_any = ["ids", "prompts"])]
    pub prompt: Option<String>,
    /// Token ids to continue, such as 1,5,9
    #[arg(long, value_delimiter = ',', conflicts_with = "prompts")]
    pub ids: Vec<u32>,
    /// Prompts (JSONL): {"id","prompt"} or {"id","prompt_ids"}
    #[arg(long, value_name = "JSONL")]
    pub prompts: Option<PathBuf>,
    /// Answers (JSONL), in the same order: {"id","completion","ids","finish","prompt_tokens"}; standard output where not given
    #[arg(long, value_name = "JSONL")]
    pub output: Option<PathBuf>,
    /// At most so many new tokens
    #[arg(long, default_value_t = 128)]
    pub max_tokens: usize,
    /// Logits are divided by it before the draw; 0 takes the likeliest token
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Draw from the K likeliest tokens
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that together have probability P
    #[arg(long, value_name = "P")]
    pub top_p: Option<f64>,
    /// Draw from tokens with at least P times the likeliest one's probability
    #[arg(long, value_name = "P")]
    pub min_p: Option<f64>,
    /// Logits of tokens that stand in the text already are divided by it (multiplied, where negative)
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Root of the draws; each prompt draws from a stream of its id
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Ends the continuation, and is left out of it; repeatable
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on where the model would end the text
    #[arg(long)]
    pub ignore_end: bool,
    /// Prompts that are continued side by side
    #[arg(long, default_value_t = 8, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub batch: usize,
}
