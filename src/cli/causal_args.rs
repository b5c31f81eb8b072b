//! The arguments of the verbs on causal graphs and tables.

use std::path::PathBuf;

use clap::Args;

use super::args::ModelArgs;

/// Identification.
#[derive(Debug, Args)]
pub struct Identify {
    /// The graph: our TOML (a scenario file is one), dagitty text, DOT or BIF, possibly with .gz
    #[arg(long, value_name = "FILE")]
    pub graph: PathBuf,
    /// The question, such as "P(y | do(x), z)"
    #[arg(long, conflicts_with_all = ["treatment", "outcome", "given"])]
    pub query: Option<String>,
    /// What is set; those that the graph marks where neither this nor --query is given
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub treatment: Vec<String>,
    /// What responds
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub outcome: Vec<String>,
    /// What is known of the units
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub given: Vec<String>,
    /// Only what travels along this path, such as "x -> m -> y"; repeatable
    #[arg(long = "path", value_name = "PATH", conflicts_with = "query")]
    pub paths: Vec<String>,
    /// Evaluate the estimand on a table (CSV or TSV) with a column a variable
    #[arg(long, value_name = "CSV")]
    pub data: Option<PathBuf>,
    /// The column of row weights
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub weight: Option<String>,
    /// Leave out rows with missing values instead of refusing the table
    #[arg(long, requires = "data")]
    pub drop_missing: bool,
    /// Draw the graph
    #[arg(long, value_name = "SVG")]
    pub svg: Option<PathBuf>,
}

/// An effect from observational data.
#[derive(Debug, Args)]
pub struct Estimate {
    /// The graph (TOML, dagitty, DOT, BIF): no estimate without identification
    #[arg(long, value_name = "FILE")]
    pub graph: PathBuf,
    /// The table (CSV or TSV)
    #[arg(long, value_name = "CSV")]
    pub data: PathBuf,
    /// What is set; the graph's mark where not given
    #[arg(long)]
    pub treatment: Option<String>,
    /// What responds; the graph's mark where not given
    #[arg(long)]
    pub outcome: Option<String>,
    /// The adjustment set, which the graph must find valid; the graph chooses where not given
    #[arg(long, value_delimiter = ',', value_name = "NAMES", num_args = 0..)]
    pub adjust: Option<Vec<String>>,
    /// difference, ols, plr, plr-iv, irm, irm-att, ipw, ipw-att, g-formula, matching, matching-att
    #[arg(long, default_value = "plr")]
    pub method: String,
    /// Learns the outcome: ols, ridge:PENALTY, logistic, forest, boosting
    #[arg(long, default_value = "ols")]
    pub outcome_learner: String,
    /// Learns the treatment; ols for plr, logistic for the others where not given
    #[arg(long)]
    pub treatment_learner: Option<String>,
    /// Folds of the cross-fitting
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// index (row i to fold i mod k) or random
    #[arg(long, default_value = "random")]
    pub fold_rule: String,
    /// Repeated splits; medians are printed
    #[arg(long, default_value_t = 1)]
    pub repetitions: usize,
    /// One or two columns of clusters
    #[arg(long = "cluster", value_name = "COLUMN")]
    pub clusters: Vec<String>,
    /// Propensities are kept this far from 0 and 1
    #[arg(long, default_value_t = 0.01)]
    pub clip: f64,
    /// Matches of a unit
    #[arg(long, default_value_t = 1)]
    pub neighbours: usize,
    /// Coverage of the interval
    #[arg(long, default_value_t = 0.95)]
    pub level: f64,
    /// Root of all randomness
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Draws of each random refuter; `refute` takes 20 where not given, `estimate` none
    #[arg(long, value_name = "DRAWS")]
    pub refuters: Option<usize>,
    /// A column that the treatment cannot move; repeatable
    #[arg(long = "negative-outcome", value_name = "COLUMN")]
    pub negative_outcomes: Vec<String>,
    /// A column that cannot move the outcome; repeatable
    #[arg(long = "negative-treatment", value_name = "COLUMN")]
    pub negative_treatments: Vec<String>,
    /// What an omitted confounder may explain of the outcome's and of the treatment's residual variance
    #[arg(long, value_delimiter = ',', num_args = 2, default_values_t = [0.03, 0.03], value_name = "SHARE")]
    pub confounder: Vec<f64>,
    /// Leave out rows with missing values instead of refusing the table
    #[arg(long)]
    pub drop_missing: bool,
    /// The audit record (JSON)
    #[arg(long, value_name = "JSON")]
    pub output: Option<PathBuf>,
}

/// The record of an estimate, run again.
#[derive(Debug, Args)]
pub struct Audit {
    /// A record that `estimate --output` wrote
    pub record: PathBuf,
    /// The table, where it has moved
    #[arg(long, value_name = "CSV")]
    pub data: Option<PathBuf>,
}

/// Graphs that agree with data.
#[derive(Debug, Args)]
pub struct Discover {
    /// The table (CSV or TSV)
    #[arg(long, value_name = "CSV")]
    pub data: PathBuf,
    /// pc, pc-conservative, fci, ges or lingam
    #[arg(long, default_value = "pc")]
    pub method: String,
    /// fisher-z, chi-square, g or kernel (pc and fci); bic or bdeu (ges)
    #[arg(long)]
    pub test: Option<String>,
    /// The level of the tests
    #[arg(long, default_value_t = 0.05)]
    pub alpha: f64,
    /// The columns; all where not given
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub columns: Vec<String>,
    /// Variables of one tier, earlier tiers first; nothing later causes anything earlier; repeatable
    #[arg(long = "tier", value_name = "NAMES")]
    pub tiers: Vec<String>,
    /// A cause that is ruled out, such as "x -> y"; repeatable
    #[arg(long, value_name = "EDGE")]
    pub forbid: Vec<String>,
    /// A cause that is known, such as "x -> y"; repeatable
    #[arg(long, value_name = "EDGE")]
    pub require: Vec<String>,
    /// Resamples for the stability of edges
    #[arg(long, default_value_t = 0)]
    pub resamples: usize,
    /// A graph to compare with: skeleton and orientation are scored apart
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Root of the resamples
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave out rows with missing values instead of refusing the table
    #[arg(long)]
    pub drop_missing: bool,
}

/// An effect of one domain from data of others.
#[derive(Debug, Args)]
pub struct Transport {
    /// The graph that the domains share
    #[arg(long, value_name = "FILE")]
    pub graph: PathBuf,
    /// The question about domain 0, such as "P(y | do(x))"
    #[arg(long)]
    pub query: String,
    /// What is at hand, such as "domain=1 do=x differs=z,w" or "domain=0"; repeatable
    #[arg(long = "source", value_name = "SOURCE", required = true)]
    pub sources: Vec<String>,
}

/// A scenario's variables with a model's outcomes.
#[derive(Debug, Args)]
pub struct Table {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A shipped eval set (hiring, …) or a folder with scenario.toml
    #[arg(long = "eval-set", value_name = "NAME|FOLDER")]
    pub eval_set: String,
    /// Whose mechanisms draw the rows
    #[arg(long, default_value = "train")]
    pub environment: String,
    /// Rows
    #[arg(long, default_value_t = 1000)]
    pub items: usize,
    /// Seed of their noise
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The table (CSV)
    #[arg(long, value_name = "CSV")]
    pub output: PathBuf,
}
