//! The arguments of what reads results: `compare`, `gate`, `export`.

use std::path::PathBuf;

use clap::Args;

/// How results of other harnesses are read.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// The field that names an item's cluster in logs of other harnesses, such as doc.question_index (lm-eval) or metadata.family (inspect)
    #[arg(long, value_name = "FIELD")]
    pub cluster: Option<String>,
    /// Which way is better, where a log does not say: METRIC=higher, lower or neither; repeatable
    #[arg(long = "better", value_name = "METRIC=WAY")]
    pub better: Vec<String>,
    /// What a metric of a log speaks of: METRIC=accuracy, fairness, robustness, explainability, privacy, calibration or sensitivity; repeatable
    #[arg(long = "objective", value_name = "METRIC=OBJECTIVE")]
    pub objectives: Vec<String>,
}

/// Paired comparison.
#[derive(Debug, Args)]
pub struct Compare {
    /// Two or more records or logs; the first is the reference: record.json, lm-eval samples_*.jsonl, results JSON or their folder, inspect .json logs
    #[arg(required = true, num_args = 2.., value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Family-wise error rate
    #[arg(long, default_value_t = 0.05)]
    pub alpha: f64,
    /// Equivalence margin of a metric, such as accuracy.exact=0.02; repeatable
    #[arg(long = "margin", value_name = "METRIC=MARGIN")]
    pub margins: Vec<String>,
    /// The metric that stands for an objective in the Pareto table, such as fairness=fairness.flip_rate; repeatable
    #[arg(long = "pareto", value_name = "OBJECTIVE=METRIC")]
    pub pareto: Vec<String>,
    /// Where items differ between the runs, keep those that all were asked alike instead of refusing
    #[arg(long)]
    pub common: bool,
    /// Also write the comparison (JSON)
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Also write it as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Also write a page with the items side by side
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Rules for a pipeline.
#[derive(Debug, Args)]
pub struct Gate {
    /// The rules (TOML)
    #[arg(long, value_name = "TOML")]
    pub rules: PathBuf,
    /// The baseline's record or log, then the candidates'; a single one is a candidate held against thresholds alone
    #[arg(required = true, num_args = 1.., value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Where items differ between the runs, keep those that all were asked alike instead of refusing
    #[arg(long)]
    pub common: bool,
    /// Also write the checks as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also write the checks as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// Results for other tools.
#[derive(Debug, Args)]
pub struct Export {
    /// A record or log
    pub record: PathBuf,
    #[command(flatten)]
    pub read: ReadArgs,
    /// A folder that receives an inspect .json log for each population
    #[arg(long, value_name = "FOLDER")]
    pub inspect: Option<PathBuf>,
    /// A file of per-item values: Parquet where the name ends in .parquet, else JSONL
    #[arg(long, value_name = "FILE")]
    pub items: Option<PathBuf>,
}
