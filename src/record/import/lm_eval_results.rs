//! lm-evaluation-harness' results JSON: values and standard errors without items.

use std::path::Path;

use serde_json::Value;

use super::{
    ImportError, ImportOptions, Imported, LogFormat, lm_eval_run::higher_is_better, names, python_json, record,
};
use crate::base::files;
use crate::stats::{Estimate, MetricScore, Statistic, normal_interval};

/// Reads the results. What they say of groups is left out: a group's items are those of its tasks.
pub(super) fn read(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let tree = python_json::read(path)?;
    let wrong = |field: &str, what: &str| ImportError::Field {
        path: path.to_path_buf(),
        line: None,
        field: field.to_owned(),
        what: what.to_owned(),
    };
    let tasks =
        tree.get("results").and_then(Value::as_object).ok_or_else(|| wrong("results", "is no table of tasks"))?;
    let stem = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = |key: &str| tree.get(key).and_then(Value::as_str);
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = folder.filter(|name| !name.is_empty()).unwrap_or(stem);
    let harness = format!("lm-evaluation-harness {}", text("lm_eval_version").unwrap_or("of unknown version"));
    let bytes = files::read(path, files::TEXT_LIMIT)?;
    let mut record = record(&name, text("model_name").unwrap_or(&name), LogFormat::LmEvalResults, &bytes, harness);
    let mut notes = Vec::new();
    for (task, values) in tasks {
        if tree
            .get("group_subtasks")
            .and_then(|groups| groups.get(task))
            .is_some_and(|group| group != &Value::Array(Vec::new()))
        {
            notes.push(format!("{task} is a group and left out: its tasks stand for it"));
            continue;
        }
        let values = values.as_object().ok_or_else(|| wrong(&format!("results.{task}"), "is no table of metrics"))?;
        let n = items(&tree, task, values.get("sample_len"));
        for (key, value) in values {
            let Some((metric, filter)) = key.split_once(',').filter(|(metric, _)| !metric.ends_with("_stderr")) else {
                continue;
            };
            let value = match value {
                Value::Number(_) => value.as_f64(),
                Value::Null => None,
                Value::String(text) if text == "N/A" => None,
                other => return Err(wrong(&format!("results.{task}.{key}"), &format!("is {other}, not a number"))),
            };
            let error = values.get(&format!("{metric}_stderr,{filter}")).and_then(Value::as_f64);
            let plain = if filter == "none" { metric.to_owned() } else { format!("{metric},{filter}") };
            let name = format!("{plain}@lm-eval");
            let meaning = names::meaning(&name, &plain, higher_is_better(&tree, task, metric), options);
            record.scores.push(MetricScore {
                metric: name,
                version: 1,
                population: task.clone(),
                objective: meaning.objective,
                unit: unit(metric).into(),
                direction: meaning.direction,
                statistic: Statistic::Mean,
                estimate: reported(value, error, n, options.bootstrap.level),
                items: Vec::new(),
                note: format!("as lm-eval reports it; its items are in samples_{task}_….jsonl of the same run"),
            });
        }
    }
    if record.scores.is_empty() {
        return Err(ImportError::Empty { path: path.to_path_buf(), why: "`results` names no metric".into() });
    }
    notes.push("a results file has no items: differences are unpaired".into());
    let path = path.to_path_buf();
    Ok(Imported { path, format: LogFormat::LmEvalResults, record, prints: Default::default(), notes })
}

fn unit(metric: &str) -> &'static str {
    match metric {
        "f1" => "share",
        metric if metric.starts_with("acc") || metric.starts_with("exact_match") => "share",
        "brier_score" => "squared probability",
        "bits_per_byte" => "bits a byte",
        "perplexity" => "perplexity",
        "word_perplexity" => "perplexity a word",
        "byte_perplexity" => "perplexity a byte",
        _ => "points",
    }
}

fn items(tree: &Value, task: &str, sample_len: Option<&Value>) -> usize {
    let effective = tree.get("n-samples").and_then(|all| all.get(task)).and_then(|one| one.get("effective"));
    effective.or(sample_len).and_then(Value::as_u64).unwrap_or(0) as usize
}

fn reported(value: Option<f64>, error: Option<f64>, n: usize, level: f64) -> Estimate {
    let Some(value) = value else { return Estimate::undefined("lm-eval reports N/A", n, n) };
    let interval = error.map(|error| normal_interval(value, error, level));
    Estimate {
        value: Some(value),
        undefined: interval.is_none().then(|| "lm-eval reports no standard error".to_owned()),
        method: if interval.is_some() { "normal, standard error as reported" } else { "none" }.into(),
        interval,
        n,
        clusters: n,
    }
}
