//! The arguments of `benchmark`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use counterpath::planted::{DEVELOPMENT, Tier};

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum Benchmark {
    /// Methods that look for pathways, on models whose pathways are known: compiled ones with closed forms, and trained ones
    Pathways(Pathways),
}

/// Which models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TierArg {
    /// Weights set by hand, effects in closed form
    Compiled,
    /// Weights trained to carry a known causal model
    Trained,
}

impl From<TierArg> for Tier {
    fn from(tier: TierArg) -> Self {
        match tier {
            TierArg::Compiled => Tier::Compiled,
            TierArg::Trained => Tier::Trained,
        }
    }
}

/// Discovery of pathways.
#[derive(Debug, Args)]
pub struct Pathways {
    /// The folder that receives pathways.json, pathways.md and pathways.html
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Compiled models
    #[arg(long, default_value_t = 20, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub models: usize,
    /// Pairs of every task
    #[arg(long, default_value_t = 32, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=10_000))]
    pub pairs: usize,
    /// Which models; both where not given
    #[arg(long = "tier", value_enum, value_delimiter = ',')]
    pub tiers: Vec<TierArg>,
    /// The name of the stream that compiled models are drawn from; a private name makes models that nobody has seen
    #[arg(long, value_name = "TEXT", default_value = DEVELOPMENT)]
    pub stream: String,
    /// Scores of a method from elsewhere (JSON): {"method", "scores": {task: {"nodes": {node: score}}}}; repeatable
    #[arg(long = "scores", value_name = "JSON")]
    pub scores: Vec<PathBuf>,
    /// Write models, pairs and truth for methods elsewhere into this folder, and do nothing else
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["output", "scores", "calibration"])]
    pub write_models: Option<PathBuf>,
    /// Also measure the actual false-discovery rate at six strengths of the planted paths, with so many models each
    #[arg(long, value_name = "MODELS", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=10_000))]
    pub calibration: Option<usize>,
}
