//! The arguments of the verbs on causal graphs and tables.

use std::path::PathBuf;

use clap::Args;

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
