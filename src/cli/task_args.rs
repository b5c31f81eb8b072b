//! The arguments of tasks over data sets: of `evaluate --tasks`, `ls` and `validate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which files are written besides the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// The record alone
    Record,
    /// lm-eval's results JSON (and its sample files with --log-samples) too
    LmEval,
}

/// Tasks of a run.
#[derive(Debug, Clone, Args)]
pub struct TaskArgs {
    /// Tasks, groups and tags, built in or of --include-path, and task files (.yaml); `*` and `?` stand for any letters
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub tasks: Vec<String>,
    #[command(flatten)]
    pub source: SourceArgs,
    /// The first N documents of each task, or the share N below 1
    #[arg(long, value_name = "N", conflicts_with = "samples")]
    pub limit: Option<f64>,
    /// Examples before each question; a task that says 0 itself keeps it
    #[arg(long, value_name = "N")]
    pub num_fewshot: Option<usize>,
    /// Seed of the examples, one stream a task
    #[arg(long, value_name = "SEED", default_value_t = counterpath::harness::fewshot::SEED)]
    pub fewshot_seed: u64,
    /// Documents by task, {"task": [0, 3]}: JSON, or a file that holds it
    #[arg(long, value_name = "JSON")]
    pub samples: Option<String>,
    /// Write what was asked and answered, a line a document (with --output-format lm-eval)
    #[arg(long)]
    pub log_samples: bool,
    /// Files that are written besides the record
    #[arg(long, value_enum, default_value = "record")]
    pub output_format: OutputFormat,
    /// Replicates of lm-eval's bootstrapped errors; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub bootstrap_iters: usize,
    /// With --chat-template, put all examples into the one turn of the user
    #[arg(long, requires = "chat_template")]
    pub fewshot_as_one_turn: bool,
}

/// Where tasks and their documents are.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// A folder of task files (lm-eval's YAML); repeatable, later ones override
    #[arg(long = "include-path", value_name = "FOLDER")]
    pub include: Vec<PathBuf>,
    /// A task's documents: a file, or a folder with a file a split; repeatable
    #[arg(long, value_name = "TASK=PATH")]
    pub data: Vec<String>,
    /// Rows of a file that may be left out because they cannot be read
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_bad_rows: usize,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Tasks
    Tasks,
    /// Groups of tasks with a value of their own
    Groups,
    /// Names that several tasks share
    Tags,
    /// Metrics of tasks and of eval sets
    Metrics,
    /// Perturbations
    Perturbations,
}

/// What there is.
#[derive(Debug, Args)]
pub struct Ls {
    /// What to list
    #[arg(value_enum, default_value = "tasks")]
    pub what: Listed,
    /// A folder of task files (lm-eval's YAML); repeatable
    #[arg(long = "include-path", value_name = "FOLDER")]
    pub include: Vec<PathBuf>,
}

/// Tasks that are read, rendered and checked.
#[derive(Debug, Args)]
pub struct Validate {
    /// Tasks, groups and tags, built in or of --include-path, and task files (.yaml)
    #[arg(value_name = "TASK", required = true)]
    pub tasks: Vec<String>,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Documents that are rendered
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub limit: usize,
    /// Examples before each question
    #[arg(long, value_name = "N")]
    pub num_fewshot: Option<usize>,
}
