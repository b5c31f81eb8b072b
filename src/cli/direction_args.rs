//! The arguments of `direction`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterpath::direction::Method;
use counterpath::intervene::Site;

use super::args::ModelArgs;

/// Directions and subspaces.
#[derive(Debug, Args)]
pub struct Direction {
    /// What is done.
    #[command(subcommand)]
    pub what: What,
}

/// Fitting, judging and removing.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Find the subspace of a variable at a site, and judge it on pairs that the fit has not seen
    Fit(Fit),
    /// Judge folders of `fit` again: on other pairs, another checkpoint or adapter; of several, say which variables have a subspace of their own
    Test(Test),
    /// Apply a folder's eraser as an intervention: the effect before and after, and the same map in the weights where they can hold it exactly
    Erase(Erase),
}

/// Where pairs come from.
#[derive(Debug, Clone, Args)]
pub struct PairArgs {
    /// Pairs (JSONL), as `mediate` takes them
    #[arg(long, value_name = "JSONL", conflicts_with = "eval_set")]
    pub pairs: Option<PathBuf>,
    /// Pairs of an eval set: a shipped name, a folder, or a JSONL file of declared pairs
    #[arg(long, value_name = "NAME|FOLDER|JSONL", required_unless_present = "pairs")]
    pub eval_set: Option<String>,
}

/// A fit.
#[derive(Debug, Args)]
pub struct Fit {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub source: PairArgs,
    /// The variable of the eval set
    #[arg(long, value_name = "NAME", requires = "eval_set", required_unless_present = "pairs")]
    pub variable: Option<String>,
    /// The activation, such as blocks.2.hook_resid_post[slot=name]; without a bracket, every position
    #[arg(long)]
    pub site: Site,
    /// mean (difference in means), probe, leace, das, or boundless (das that learns how many dimensions it needs)
    #[arg(long, default_value = "das")]
    pub method: Method,
    /// Dimensions; where not given, 1 for das, what the variable's values span for mean, probe and leace; the most that boundless keeps (32)
    #[arg(long)]
    pub rank: Option<usize>,
    /// Steps of das
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// Pairs of each of an eval set's contrasts to fit on
    #[arg(long, default_value_t = 96)]
    pub fit_pairs: usize,
    /// The folder that receives direction.json and direction.safetensors
    #[arg(long)]
    pub output: PathBuf,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// On what a direction is judged again.
#[derive(Debug, Args)]
pub struct Again {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub source: PairArgs,
    /// Allow weights other than those of the fit
    #[arg(long)]
    pub other_model: bool,
    /// Also write the results (JSON)
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Judging again.
#[derive(Debug, Args)]
pub struct Test {
    /// Folders of `fit`
    #[arg(required = true, value_name = "FOLDER")]
    pub directions: Vec<PathBuf>,
    #[command(flatten)]
    pub again: Again,
}

/// Removing.
#[derive(Debug, Args)]
pub struct Erase {
    /// A folder of `fit`
    #[arg(value_name = "FOLDER")]
    pub direction: PathBuf,
    #[command(flatten)]
    pub again: Again,
    /// Also write a checkpoint whose weights hold the eraser: hook_attn_out or hook_mlp_out at every position, in
    /// families whose projection has a bias
    #[arg(long, value_name = "FOLDER")]
    pub write_checkpoint: Option<PathBuf>,
}
