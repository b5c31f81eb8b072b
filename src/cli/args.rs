//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use counterpath::model::BaseType;

use super::causal_args::{Audit, Discover, Estimate, Identify, Table, Transport};
use super::direction_args::Direction;

/// Evaluate and repair open language models causally.
#[derive(Debug, Parser)]
#[command(name = "counterpath", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Print nothing but results and errors.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the whole loop on the embedded model: evaluate, mediate, tune five adapters, rescore, compare, report
    Quickstart(Quickstart),
    /// Run the whole loop from a recipe
    Run(Run),
    /// Write the items and counterfactual pairs of a scenario
    Generate(Generate),
    /// Score a checkpoint on eval sets: the five objectives, per item
    Evaluate(Evaluate),
    /// Patch activations: effects site by site for pairs, or the pathway of an eval set
    Mediate(Mediate),
    /// Find the edges that carry an effect, measure a circuit, or compare one on two checkpoints
    #[command(subcommand)]
    Circuit(super::circuit_args::Circuit),
    /// Find the subspace in which a variable stands, judge it on other pairs, and erase it
    Direction(Direction),
    /// Train one adapter with causal regularizers
    Tune(Tune),
    /// Compare two or more records, paired by item
    Compare(Compare),
    /// Write the report of a finished run
    Report(Report),
    /// Log-likelihoods of continuations, for other programs
    Score(Score),
    /// Write a scenario's variables and a model's outcomes as a table, one row an item as it naturally occurs
    Table(Table),
    /// Say whether an effect follows from data under a causal graph: the estimand with its assumptions, or the proof that none exists
    Identify(Identify),
    /// Estimate an identified effect on a table, with its assumptions and what an omitted confounder could do
    Estimate(Estimate),
    /// Estimate an effect and try to break it: placebo, dummy outcome, random common cause, subset, controls, implications
    Refute(Estimate),
    /// Run the request of an estimate's record again and compare to the bit
    Audit(Audit),
    /// Propose graphs that agree with a table: PC, FCI, GES, LiNGAM, with the stability of edges
    Discover(Discover),
    /// Say whether an effect of one domain follows from data and experiments of several
    Transport(Transport),
    /// Continue prompts, greedily or by sampling
    Complete(Complete),
    /// Show a model's architecture and hook points, or write its activations
    Inspect(Inspect),
    /// Write any checkpoint as a Hugging Face folder
    Convert(Convert),
}

/// Which checkpoint, and how it is loaded.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// `embedded`, a Hugging Face folder, a weights file (safetensors, PyTorch .bin, GGUF, llama2.c), or a hub id:
    /// org/name or org/name@revision
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// How a checkpoint is loaded.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// A PEFT adapter folder on top of the model
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Refuse weights that are NaN or infinite
    #[arg(long)]
    pub check_finite: bool,
    /// What embedding and linear layers are kept in: f32, keep (as the file has them), bf16, f16, q8_0, q5_0, q4_0, q6_k, q5_k, q4_k
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = base_type)]
    pub base_dtype: BaseType,
    /// Print what the job will need in memory and time, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub chat: ChatArgs,
}

/// Whether prompts are turns of a conversation.
#[derive(Debug, Clone, Default, Args)]
pub struct ChatArgs {
    /// Put the checkpoint's chat template around every prompt; answers begin the model's turn
    #[arg(long)]
    pub chat_template: bool,
    /// What the system says before it
    #[arg(long, value_name = "TEXT", requires = "chat_template")]
    pub system: Option<String>,
}

fn base_type(text: &str) -> Result<BaseType, String> {
    text.parse().map_err(|error: counterpath::model::ModelError| error.to_string())
}

/// The loop on the embedded model.
#[derive(Debug, Args)]
pub struct Quickstart {
    /// The run's folder
    #[arg(long, default_value = "runs/quickstart")]
    pub output: PathBuf,
    /// Root of all randomness
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many training seeds an arm gets
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub seeds: u32,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Print what the run will need in memory and time, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The loop from a recipe.
#[derive(Debug, Args)]
pub struct Run {
    /// The recipe (TOML)
    pub recipe: PathBuf,
    /// Takes the place of the recipe's model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// A PEFT adapter folder, merged into the model before anything is measured or tuned
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    #[command(flatten)]
    pub chat: ChatArgs,
    /// The run's folder; runs/<recipe's name> where it is not given
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Takes the place of the recipe's seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many training seeds an arm gets
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub seeds: u32,
    /// Print what the run will need in memory and time, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Items and pairs of a scenario.
#[derive(Debug, Args)]
pub struct Generate {
    /// A shipped eval set (hiring, …) or a folder with scenario.toml
    #[arg(long, value_name = "NAME|FOLDER")]
    pub eval_set: String,
    /// The folder that receives scenario.toml, items.jsonl, pairs.jsonl and the card
    #[arg(long)]
    pub output: PathBuf,
    /// Items per environment and split
    #[arg(long)]
    pub items: Option<usize>,
    /// Pairs per intervention and split
    #[arg(long)]
    pub pairs: Option<usize>,
    /// Root of all randomness
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Metrics of one checkpoint.
#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Eval sets: shipped names, folders, or JSONL files of declared pairs
    #[arg(long = "eval-set", value_name = "NAME|FOLDER|JSONL", required = true)]
    pub eval_sets: Vec<String>,
    /// The record (JSON)
    #[arg(long)]
    pub output: PathBuf,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A record of `mediate`, whose pathway the explainability metrics judge
    #[arg(long, value_name = "JSON")]
    pub mediation: Option<PathBuf>,
}

/// Which way activations travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// The factual run receives the counterfactual's activation
    Noise,
    /// The counterfactual run receives the factual's activation
    Denoise,
    /// One after the other
    Both,
}

/// Patching.
#[derive(Debug, Args)]
pub struct Mediate {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Pairs (JSONL): {"id","cluster","factual","counterfactual","answers":[a,b]} or factual_ids, counterfactual_ids, answer_ids; one row a pair, site and direction is written
    #[arg(long, value_name = "JSONL", conflicts_with = "eval_sets")]
    pub pairs: Option<PathBuf>,
    /// Find the pathway of an eval set (shipped name or folder) and write a record
    #[arg(long = "eval-set", value_name = "NAME|FOLDER", required_unless_present = "pairs")]
    pub eval_sets: Vec<String>,
    /// Sets of sites and what they receive: windows, means, noise, directions, interaction, self-repair; it names the directions and sites itself
    #[arg(long, value_name = "TOML", requires = "pairs", conflicts_with_all = ["sites", "direction"])]
    pub plan: Option<PathBuf>,
    /// Kinds of sites: embed, pos_embed, resid_pre, q, k, v, z, attn_out, resid_mid, mlp_post, mlp_out, resid_post
    #[arg(long, value_delimiter = ',', default_value = "resid_pre,z,attn_out,mlp_out")]
    pub sites: Vec<String>,
    /// Which run receives
    #[arg(long, value_enum, default_value = "both")]
    pub direction: DirectionArg,
    /// Rows (JSONL) for --pairs, a record (JSON) for --eval-set
    #[arg(long)]
    pub output: PathBuf,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// One adapter.
#[derive(Debug, Args)]
pub struct Tune {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Eval sets whose tuning split trains: shipped names, folders, or JSONL files of declared pairs
    #[arg(long = "eval-set", value_name = "NAME|FOLDER|JSONL", required = true)]
    pub eval_sets: Vec<String>,
    /// plain, consistency, pathway, random_sites or causal
    #[arg(long, default_value = "causal")]
    pub arm: String,
    /// A record of `mediate`: the pathway that the penalty closes
    #[arg(long, value_name = "JSON")]
    pub mediation: Option<PathBuf>,
    /// A recipe whose [tune] table sets steps, rate, rank and weights
    #[arg(long, value_name = "TOML")]
    pub recipe: Option<PathBuf>,
    /// The adapter's folder (PEFT files, checkpoint, losses)
    #[arg(long)]
    pub output: PathBuf,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Paired comparison.
#[derive(Debug, Args)]
pub struct Compare {
    /// Two or more records; the first is the reference
    #[arg(required = true, num_args = 2.., value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    /// Family-wise error rate
    #[arg(long, default_value_t = 0.05)]
    pub alpha: f64,
    /// Equivalence margin of a metric, such as accuracy.exact=0.02; repeatable
    #[arg(long = "margin", value_name = "METRIC=MARGIN")]
    pub margins: Vec<String>,
    /// Also write the comparison (JSON)
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// The report again.
#[derive(Debug, Args)]
pub struct Report {
    /// A run's folder
    pub run: PathBuf,
    /// The HTML file; report.html in the folder where neither is given
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The Markdown file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

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

/// Architecture and activations.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Token ids, such as 1,5,9
    #[arg(long, value_delimiter = ',', conflicts_with = "text")]
    pub ids: Vec<u32>,
    /// Text, encoded with the tokenizer's special tokens
    #[arg(long)]
    pub text: Option<String>,
    /// A conversation (JSON): a list of messages, or an object with `messages` and, where wanted, `tools`,
    /// `add_generation_prompt` and further variables of the chat template; its text and tokens are printed
    #[arg(long, value_name = "JSON", conflicts_with_all = ["ids", "text"])]
    pub chat: Option<PathBuf>,
    /// Activations to keep, such as blocks.0.attn.hook_z; repeatable
    #[arg(long = "hook", value_name = "NAME")]
    pub hooks: Vec<String>,
    /// The activations (safetensors): `logits` and each hook, with the batch dimension
    #[arg(long, value_name = "SAFETENSORS")]
    pub output: Option<PathBuf>,
}

/// The type of weights on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoredType {
    /// 64 bits
    F64,
    /// 32 bits
    F32,
    /// 16 bits, IEEE
    F16,
    /// 16 bits, brain
    Bf16,
}

/// Another format.
#[derive(Debug, Args)]
pub struct Convert {
    /// `embedded`, a folder, a weights file (safetensors, PyTorch .bin, GGUF, llama2.c), or a hub id
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// A PEFT adapter folder that is merged into the weights
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// The folder that receives config.json, model.safetensors and the tokenizer's files
    #[arg(long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// The type of every weight; as stored (blocks as f32) where it is not given
    #[arg(long, value_enum)]
    pub dtype: Option<StoredType>,
    /// The most bytes of weights in one file
    #[arg(long, value_name = "BYTES", default_value_t = counterpath::model::convert::SHARD_BYTES)]
    pub shard_bytes: usize,
    /// Refuse weights that are NaN or infinite
    #[arg(long)]
    pub check_finite: bool,
}
