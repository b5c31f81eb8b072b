//! The arguments of the loop and of what reads its folders: `quickstart`, `run`, `report`.

use std::path::PathBuf;

use clap::Args;

use super::args::ChatArgs;

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
