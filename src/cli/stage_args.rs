//! The arguments of the loop's stages, each alone: `generate`, `evaluate`, `mediate`, `tune`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::ModelArgs;
use super::task_args::TaskArgs;

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
    #[arg(long = "eval-set", value_name = "NAME|FOLDER|JSONL", required_unless_present = "tasks")]
    pub eval_sets: Vec<String>,
    #[command(flatten)]
    pub tasks: TaskArgs,
    /// The record (JSON); with --tasks also a folder
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
    /// Rows for --pairs (Parquet where the name ends in .parquet, else JSONL), a record (JSON) for --eval-set
    #[arg(long)]
    pub output: PathBuf,
    /// Tokens of one batch of patched runs
    #[arg(long, default_value_t = 4096, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub batch_tokens: usize,
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
