//! inspect_ai's logs: `EvalLog` version 2 as one JSON file.
//!
//! A sample's value is the mean of its epochs, as inspect's default reducer makes it. What inspect counts as unscored (a
//! score that is null or NaN, a sample that failed) is left out and counted in the notes; a run that scored fewer samples
//! than the other is then refused by the comparison, unless it is told to keep the common ones.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::fingerprint::Fingerprint;
use super::inspect_value;
use super::{Found, ImportError, ImportOptions, Imported, LogFormat, eval_set, python_json, record};
use crate::base::{Digest, files};
use crate::stats::{Direction, Item, Statistic};

/// The version of `EvalLog` that is read.
const VERSION: u64 = 2;

struct Log<'a> {
    path: &'a Path,
    tree: Value,
}

impl Log<'_> {
    fn wrong(&self, field: &str, what: impl Into<String>) -> ImportError {
        ImportError::Field { path: self.path.to_path_buf(), line: None, field: field.to_owned(), what: what.into() }
    }

    fn text(&self, section: &str, field: &str) -> Result<String, ImportError> {
        let value = self.tree.get(section).and_then(|section| section.get(field)).and_then(Value::as_str);
        value.map(str::to_owned).ok_or_else(|| self.wrong(&format!("{section}.{field}"), "is missing or no text"))
    }
}

/// One metric's values by sample: the values of its epochs, and whether all were letters or flags.
#[derive(Default)]
struct Column {
    values: BTreeMap<String, Vec<f64>>,
    graded: bool,
    unscored: usize,
}

/// Reads a log.
pub(super) fn read(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let log = Log { path, tree: python_json::read(path)? };
    match log.tree.get("version").and_then(Value::as_u64) {
        Some(VERSION) => {}
        found => return Err(log.wrong("version", format!("is {found:?}; this reads version {VERSION}"))),
    }
    let (task, model) = (log.text("eval", "task")?, log.text("eval", "model")?);
    let samples = log.tree.get("samples").and_then(Value::as_array).ok_or_else(|| {
        log.wrong("samples", "is missing: the log was written with --no-log-samples, or the run broke off")
    })?;
    let by = cluster_field(samples, options);
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    let (mut clusters, mut prints) = (BTreeMap::new(), BTreeMap::new());
    for (index, sample) in samples.iter().enumerate() {
        let place = |field: &str| format!("samples[{index}].{field}");
        let id = match sample.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => return Err(log.wrong(&place("id"), "is missing or neither text nor number")),
        };
        let cluster = match &by {
            None => id.clone(),
            Some(field) => named(sample, field)
                .ok_or_else(|| log.wrong(&place(field), "is missing, and clusters are named by it"))?,
        };
        clusters.insert(id.clone(), cluster);
        prints.entry(id.clone()).or_insert_with(|| print(sample));
        collect(&log, sample, &id, &place, &mut columns)?;
    }
    let scored = samples.iter().filter(|sample| sample.get("scores").is_some_and(Value::is_object)).count();
    let mut notes = Vec::new();
    if scored < samples.len() {
        notes.push(format!("{task}: {} of {} samples have no scores", samples.len() - scored, samples.len()));
    }
    notes.extend(by.map(|field| format!("{task}: samples are clustered by `{field}`")));
    let mut record = record(&model, &model, LogFormat::Inspect, &files::read(path, files::TEXT_LIMIT)?, harness(&log));
    for (metric, column) in columns {
        if column.unscored > 0 {
            notes.push(format!("{task}: {} values of `{metric}` are unscored and left out", column.unscored));
        }
        if !column.values.is_empty() {
            record.scores.push(found(metric, &task, column, &clusters).score(options));
        }
    }
    if record.scores.is_empty() {
        let why = "no sample has a score that is a number, a grade or a flag".into();
        return Err(ImportError::Empty { path: path.to_path_buf(), why });
    }
    record.eval_sets.push(eval_set(&task, &prints));
    let prints = BTreeMap::from([(task, prints)]);
    Ok(Imported { path: path.to_path_buf(), format: LogFormat::Inspect, record, prints, notes })
}

fn harness(log: &Log<'_>) -> String {
    let version = log.tree.get("eval").and_then(|eval| eval.get("packages")).and_then(|all| all.get("inspect_ai"));
    format!("inspect_ai {}", version.and_then(Value::as_str).unwrap_or("of unknown version"))
}

/// Adds a sample's scores; a score of several named values is several metrics, `scorer.name`.
fn collect(
    log: &Log<'_>,
    sample: &Value,
    id: &str,
    place: &dyn Fn(&str) -> String,
    columns: &mut BTreeMap<String, Column>,
) -> Result<(), ImportError> {
    let Some(scores) = sample.get("scores").and_then(Value::as_object) else { return Ok(()) };
    for (scorer, score) in scores {
        let field = place(&format!("scores.{scorer}.value"));
        let value = score.get("value").ok_or_else(|| log.wrong(&field, "is missing"))?;
        let named: Vec<(String, &Value)> = match value {
            Value::Object(parts) => parts.iter().map(|(name, value)| (format!("{scorer}.{name}"), value)).collect(),
            value => vec![(scorer.clone(), value)],
        };
        for (name, value) in named {
            let column = columns.entry(name).or_insert_with(|| Column { graded: true, ..Column::default() });
            match inspect_value::number(value).map_err(|what| log.wrong(&field, what))? {
                Some((number, graded)) => {
                    column.graded &= graded;
                    column.values.entry(id.to_owned()).or_default().push(number);
                }
                None => column.unscored += 1,
            }
        }
    }
    Ok(())
}

fn found(metric: String, task: &str, column: Column, clusters: &BTreeMap<String, String>) -> Found {
    let items: Vec<Item> = column
        .values
        .into_iter()
        .map(|(id, values)| Item {
            cluster: clusters.get(&id).cloned().unwrap_or_else(|| id.clone()),
            value: values.iter().sum::<f64>() / values.len() as f64,
            group: None,
            weight: None,
            id,
        })
        .collect();
    let binary = items.iter().all(|item| item.value == 0.0 || item.value == 1.0);
    Found {
        statistic: if binary { Statistic::Share } else { Statistic::Mean },
        unit: if column.graded { "share" } else { "points" },
        // Grades and flags say right or wrong; of plain numbers the log does not say which way is better.
        direction: column.graded.then_some(Direction::Higher),
        population: task.to_owned(),
        plain: metric.clone(),
        metric: format!("{metric}@inspect"),
        items,
    }
}

fn print(sample: &Value) -> Fingerprint {
    let text = |key: &str| match sample.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let hashed = |text: &str| Digest::of(text.as_bytes()).to_string();
    let (input, wanted) = (text("input"), text("target"));
    let choices = sample.get("choices").map(|choices| hashed(&choices.to_string()));
    let role = named(sample, "metadata.role").unwrap_or_default();
    Fingerprint {
        prompt: hashed(&input),
        document: choices,
        target: hashed(&wanted),
        input,
        wanted,
        role,
        tokens: Vec::new(),
    }
}

fn named(sample: &Value, path: &str) -> Option<String> {
    match path.split('.').try_fold(sample, |at, key| at.get(key))? {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn cluster_field(samples: &[Value], options: &ImportOptions) -> Option<String> {
    let common = || samples.iter().all(|sample| named(sample, "metadata.cluster").is_some());
    options.cluster.clone().or_else(|| (!samples.is_empty() && common()).then(|| "metadata.cluster".to_owned()))
}
