//! Logs of other harnesses, read as records: lm-evaluation-harness' sample lines and results, inspect_ai's `.json` logs.
//!
//! The format is told from the content, never from the name. A log names its model and says nothing of its weights, so
//! an imported record's model has the log's format as its family, no parameters, and the digest of the log's bytes.
//! What a metric means and which way is better comes from the log where it says so, else from `names`; what nobody
//! says is descriptive. Items keep their [`Fingerprint`], by which two logs prove that they asked the same.

mod detect;
mod fingerprint;
mod inspect;
mod inspect_value;
mod lm_eval;
mod lm_eval_results;
mod lm_eval_run;
mod lm_eval_value;
mod names;
mod python_json;

pub use fingerprint::{Difference, Fingerprint};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{EvalSetIdentity, ModelIdentity, RecordError, RunRecord, Versions};
use crate::base::{Digest, FileError, Seed, files};
use crate::stats::{Bootstrap, Direction, Item, MetricScore, Objective, Statistic, estimate};

/// What a file of results is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A [`RunRecord`].
    Record,
    /// lm-eval's `samples_*.jsonl`, one or a folder of them.
    LmEvalSamples,
    /// lm-eval's results JSON without its samples.
    LmEvalResults,
    /// An inspect_ai log, `EvalLog` version 2 as JSON.
    Inspect,
}

impl LogFormat {
    /// The name that tables print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::LmEvalSamples => "lm-eval samples",
            Self::LmEvalResults => "lm-eval results",
            Self::Inspect => "inspect log",
        }
    }
}

/// How logs are read. Records of our own say all of this themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// The field that names an item's cluster, with dots between levels: `doc.question_index` in a sample line,
    /// `metadata.family` in an inspect sample. `None`: the field `cluster` (inspect: `metadata.cluster`) where all items
    /// have it, else every item stands for itself.
    pub cluster: Option<String>,
    /// Which way is better, by metric.
    pub directions: BTreeMap<String, Direction>,
    /// What a metric speaks of.
    pub objectives: BTreeMap<String, Objective>,
    /// Replicates, level and seed of the intervals.
    pub bootstrap: Bootstrap,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            cluster: None,
            directions: BTreeMap::new(),
            objectives: BTreeMap::new(),
            bootstrap: Bootstrap { replicates: 2000, level: 0.95, seed: Seed::new(0).fork("import") },
        }
    }
}

/// A log as a record, with what proves that two logs asked the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The file or folder.
    pub path: PathBuf,
    /// What it was.
    pub format: LogFormat,
    /// Its scores.
    pub record: RunRecord,
    /// By population and item, what was asked; empty where the file does not say.
    pub prints: BTreeMap<String, BTreeMap<String, Fingerprint>>,
    /// What was left out or assumed, one sentence each.
    pub notes: Vec<String>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read, or one of its lines is not JSON.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record of our own is refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Nothing that is known.
    #[error(
        "{} is {what}; give a record of counterpath, lm-eval's samples_*.jsonl or results JSON (or their folder), or an inspect .json log",
        path.display()
    )]
    Unknown {
        /// The file or folder.
        path: PathBuf,
        /// What it looks like instead.
        what: String,
    },
    /// A field is missing or holds something else.
    #[error("{}{}: field `{field}` {what}", path.display(), place(*line))]
    Field {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; `None` in a file of one JSON value.
        line: Option<usize>,
        /// The field, with dots between levels.
        field: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two rows for one item.
    #[error("{}{}: item `{id}` of {population} stands there twice; keep one row an item and filter", path.display(), place(*line))]
    Twice {
        /// The file.
        path: PathBuf,
        /// The second row's line.
        line: Option<usize>,
        /// The task.
        population: String,
        /// The item.
        id: String,
    },
    /// No scores at all.
    #[error("{} holds no score of any item: {why}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Why there is none.
        why: String,
    },
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" line {line}"))
}

/// Reads a record or a log of another harness; a folder of lm-eval's files is read whole.
///
/// # Errors
/// [`ImportError`], with file, line and field.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    if files::is_folder(path) {
        let own = path.join(RunRecord::FILE);
        return if files::exists(&own) { own_record(&own) } else { lm_eval_run::read(path, options) };
    }
    match detect::format(path)? {
        LogFormat::Record => own_record(path),
        LogFormat::LmEvalSamples => lm_eval_run::read_one(path, options),
        LogFormat::LmEvalResults => lm_eval_results::read(path, options),
        LogFormat::Inspect => inspect::read(path, options),
    }
}

fn own_record(path: &Path) -> Result<Imported, ImportError> {
    let record = RunRecord::load(path)?;
    Ok(Imported {
        path: path.to_path_buf(),
        format: LogFormat::Record,
        record,
        prints: BTreeMap::new(),
        notes: Vec::new(),
    })
}

/// An empty record of a log.
fn record(name: &str, model: &str, format: LogFormat, bytes: &[u8], harness: String) -> RunRecord {
    let model = ModelIdentity {
        source: model.to_owned(),
        family: format.name().to_owned(),
        parameters: 0,
        digest: Digest::of(bytes),
    };
    let mut record = RunRecord::new(name, model, Versions::default());
    record.request.written = serde_json::json!({ "imported": format.name(), "harness": harness });
    record
}

/// A metric as a log has it.
struct Found {
    /// Its name as ours: `acc@lm-eval`.
    metric: String,
    /// Its name in the log, by which options speak of it too.
    plain: String,
    population: String,
    statistic: Statistic,
    items: Vec<Item>,
    unit: &'static str,
    /// What the log says.
    direction: Option<Direction>,
}

impl Found {
    fn score(mut self, options: &ImportOptions) -> MetricScore {
        self.items.sort_by(|a, b| a.id.cmp(&b.id));
        let mut bootstrap = options.bootstrap;
        bootstrap.seed = bootstrap.seed.fork(&self.metric).fork(&self.population);
        let meaning = names::meaning(&self.metric, &self.plain, self.direction, options);
        MetricScore {
            version: 1,
            objective: meaning.objective,
            unit: self.unit.into(),
            direction: meaning.direction,
            estimate: estimate(&self.items, &self.statistic, &bootstrap),
            statistic: self.statistic,
            items: self.items,
            note: String::new(),
            metric: self.metric,
            population: self.population,
        }
    }
}

/// What was asked under one population, as the identity of an eval set.
fn eval_set(population: &str, prints: &BTreeMap<String, Fingerprint>) -> EvalSetIdentity {
    EvalSetIdentity {
        id: population.to_owned(),
        digest: Fingerprint::digest_of_all(prints),
        items: prints.len(),
        pairs: 0,
        provenance: "imported".into(),
    }
}

impl Imported {
    /// Keeps the items that `keep` says yes to, by population and id, and computes anew what hangs on them. Scores without items
    /// stay as they are.
    pub fn retain(&mut self, bootstrap: &Bootstrap, keep: impl Fn(&str, &str) -> bool) {
        for (population, prints) in &mut self.prints {
            prints.retain(|id, _| keep(population, id));
        }
        for score in &mut self.record.scores {
            let population = score.population.clone();
            score.keep(bootstrap, |id| keep(&population, id));
        }
        for set in &mut self.record.eval_sets {
            if let Some(prints) = self.prints.get(&set.id) {
                *set = eval_set(&set.id, prints);
            }
        }
    }
}
