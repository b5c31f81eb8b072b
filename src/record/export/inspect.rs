//! inspect_ai's log: `EvalLog` version 2 as one JSON file a population.
//!
//! A sample is an item, its scores are the metrics that the item has, and its metadata name what inspect's own metrics
//! can group by: `family` (the item without its role and paraphrase), `cluster` (what is resampled together), `role`
//! (what the item is in its family). So `stderr(cluster="cluster")` in inspect is our clustered error. The time is fixed:
//! the same record gives the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::base::{FileError, files};
use crate::record::import::{Fingerprint, Imported};
use crate::stats::{ErrorKind, Item, MetricScore, Statistic, standard_error};

const TIME: &str = "1970-01-01T00:00:00+00:00";

/// Writes a log for every population, named by it; returns the files.
///
/// # Errors
/// [`FileError`] where a file cannot be written.
pub fn inspect_logs(run: &Imported, folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut populations: BTreeMap<&str, Vec<&MetricScore>> = BTreeMap::new();
    for score in run.record.scores.iter().filter(|score| !score.items.is_empty()) {
        populations.entry(score.population.as_str()).or_default().push(score);
    }
    let mut written = Vec::new();
    for (population, scores) in populations {
        let name: String =
            population.chars().map(|c| if c.is_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect();
        let path = folder.join(format!("{name}.json"));
        files::write_json(&path, &log(run, population, &scores))?;
        written.push(path);
    }
    Ok(written)
}

fn log(run: &Imported, population: &str, scores: &[&MetricScore]) -> Value {
    let samples = samples(run, population, scores);
    let ids: Vec<&String> = samples.keys().collect();
    let digest = run.record.model.digest.short();
    let id = |what: &str| format!("{what}-{}-{digest}", run.record.name);
    json!({
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": id(population),
            "run_id": id("run"),
            "created": TIME,
            "task": population,
            "task_id": id(population),
            "task_version": 0,
            "task_attribs": {},
            "task_args": {},
            "dataset": { "name": population, "samples": samples.len(), "sample_ids": ids, "shuffled": false },
            "model": run.record.model.source,
            "model_args": {},
            "config": { "epochs": 1 },
            "packages": { "counterpath": run.record.versions.counterpath },
            "metadata": { "record": run.record.name, "weights": run.record.model.digest },
        },
        "plan": { "name": "plan", "steps": [], "config": {} },
        "results": {
            "total_samples": samples.len(),
            "completed_samples": samples.len(),
            "scores": scores.iter().map(|score| result(score)).collect::<Vec<_>>(),
        },
        "stats": { "started_at": TIME, "completed_at": TIME, "model_usage": {} },
        "samples": samples.into_values().collect::<Vec<_>>(),
    })
}

/// A metric's value and, where it is a mean, inspect's clustered error.
fn result(score: &MetricScore) -> Value {
    let mean = matches!(score.statistic, Statistic::Mean | Statistic::Share);
    let name = if mean { "mean" } else { "value" };
    let mut metrics = Map::new();
    if let Some(value) = score.estimate.value {
        metrics.insert(name.into(), json!({ "name": name, "value": value, "params": {} }));
    }
    let error = standard_error(&score.items, ErrorKind::Clustered).filter(|_| mean);
    if let Some(error) = error {
        let params = json!({ "cluster": "cluster" });
        metrics.insert("stderr".into(), json!({ "name": "stderr", "value": error, "params": params }));
    }
    json!({
        "name": score.metric,
        "scorer": score.metric,
        "scored_samples": score.items.len(),
        "unscored_samples": 0,
        "params": {},
        "metrics": metrics,
        "metadata": { "unit": score.unit, "version": score.version, "statistic": score.statistic, "interval": score.estimate.interval },
    })
}

fn samples(run: &Imported, population: &str, scores: &[&MetricScore]) -> BTreeMap<String, Value> {
    let mut samples: BTreeMap<String, (&Item, Map<String, Value>)> = BTreeMap::new();
    for score in scores {
        for item in &score.items {
            let (_, values) = samples.entry(item.id.clone()).or_insert_with(|| (item, Map::new()));
            values.insert(score.metric.clone(), json!({ "value": item.value, "metadata": extra(item) }));
        }
    }
    let prints = run.prints.get(population);
    let sample = |(id, (item, values)): (String, (&Item, Map<String, Value>))| {
        let value = one(&id, item, values, prints.and_then(|prints| prints.get(&id)));
        (id, value)
    };
    samples.into_iter().map(sample).collect()
}

/// What the value alone does not say.
fn extra(item: &Item) -> Value {
    let mut extra = Map::new();
    extra.extend(item.weight.map(|weight| ("weight".to_owned(), json!(weight))));
    extra.extend(item.group.as_ref().map(|group| ("group".to_owned(), json!(group))));
    Value::Object(extra)
}

fn one(id: &str, item: &Item, scores: Map<String, Value>, print: Option<&Fingerprint>) -> Value {
    let (family, own) = id.split_once('#').unwrap_or((id, ""));
    let family = match family.rsplit_once("/p") {
        Some((whole, number)) if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) => whole,
        _ => family,
    };
    let role = print.map(|print| print.role.as_str()).filter(|role| !role.is_empty()).unwrap_or(own);
    json!({
        "id": id,
        "epoch": 1,
        // A record keeps numbers and no prompts: the item's id stands for it.
        "input": print.map_or(id, |print| print.input.as_str()),
        "target": print.map_or("", |print| print.wanted.as_str()),
        "messages": [],
        "output": { "model": "", "choices": [] },
        "scores": scores,
        "metadata": { "family": family, "cluster": item.cluster, "role": if role.is_empty() { "item" } else { role } },
    })
}
