//! A folder or a file of lm-evaluation-harness' samples, with the results beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{ImportError, ImportOptions, Imported, LogFormat, eval_set, lm_eval, python_json, record};
use crate::base::files;
use crate::stats::Direction;

/// Reads every task's samples in a folder (the newest file of each); where the folder holds one folder and no samples,
/// as lm-eval's output path does, that one.
pub(super) fn read(folder: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let entries = files::list(folder)?;
    let samples = newest(&entries, "samples_", ".jsonl");
    if samples.is_empty() {
        let folders: Vec<&PathBuf> = entries.iter().filter(|entry| files::is_folder(entry)).collect();
        return match folders.as_slice() {
            [only] => read(only, options),
            _ => Err(ImportError::Unknown {
                path: folder.to_path_buf(),
                what: "a folder without record.json and without samples_*.jsonl".into(),
            }),
        };
    }
    let results = newest(&entries, "results", ".json").into_values().next_back();
    let results: Option<Value> = results.map(|path| python_json::read(&path)).transpose()?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    assemble(folder, &name(folder), samples, results.as_ref(), options)
}

/// Reads one file of samples. Its task is named by the file, its run by the folder that it is in.
pub(super) fn read_one(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let stem = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let task = task_of(&stem, "samples_", ".jsonl").unwrap_or_else(|| stem.trim_end_matches(".jsonl").to_owned());
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = folder.filter(|name| !name.is_empty()).unwrap_or_else(|| stem.clone());
    assemble(path, &name, BTreeMap::from([(task, path.to_path_buf())]), None, options)
}

fn assemble(
    path: &Path,
    name: &str,
    samples: BTreeMap<String, PathBuf>,
    results: Option<&Value>,
    options: &ImportOptions,
) -> Result<Imported, ImportError> {
    let model = results.and_then(|results| results.get("model_name")).and_then(Value::as_str).unwrap_or(name);
    let version = results.and_then(|results| results.get("lm_eval_version")).and_then(Value::as_str);
    let mut bytes = Vec::new();
    for file in samples.values() {
        bytes.extend(files::read(file, files::TEXT_LIMIT)?);
    }
    let harness = format!("lm-evaluation-harness {}", version.unwrap_or("of unknown version"));
    let mut record = record(name, model, LogFormat::LmEvalSamples, &bytes, harness);
    let (mut prints, mut notes) = (BTreeMap::new(), Vec::new());
    for (task, file) in &samples {
        let direction = |metric: &str| results.and_then(|results| higher_is_better(results, task, metric));
        let read = lm_eval::read(file, task, options, &direction)?;
        record.scores.extend(read.found.into_iter().map(|found| found.score(options)));
        record.eval_sets.push(eval_set(task, &read.prints));
        prints.insert(task.clone(), read.prints);
        notes.extend(read.notes);
    }
    if record.scores.is_empty() {
        let why = "no line has a metric that is known here".into();
        return Err(ImportError::Empty { path: path.to_path_buf(), why });
    }
    Ok(Imported { path: path.to_path_buf(), format: LogFormat::LmEvalSamples, record, prints, notes })
}

/// What the results say of a metric's better side.
pub(super) fn higher_is_better(results: &Value, task: &str, metric: &str) -> Option<Direction> {
    let higher = results.get("higher_is_better")?.get(task)?.get(metric)?.as_bool()?;
    Some(if higher { Direction::Higher } else { Direction::Lower })
}

/// The last file by name of each task: names end in their time.
fn newest(entries: &[PathBuf], begin: &str, end: &str) -> BTreeMap<String, PathBuf> {
    let named = entries.iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((task_of(&name, begin, end)?, path.clone()))
    });
    named.collect()
}

/// The task in `samples_TASK_2026-01-31T10-20-30.123456.jsonl`; the time may be missing.
fn task_of(name: &str, begin: &str, end: &str) -> Option<String> {
    let inner = name.strip_prefix(begin)?.strip_suffix(end)?;
    let is_time = |text: &str| {
        let date = text.split('T').next().unwrap_or_default();
        text.contains('T') && date.len() == 10 && date.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    Some(match inner.rsplit_once('_') {
        Some((task, time)) if is_time(time) => task.to_owned(),
        _ if is_time(inner) => String::new(),
        _ => inner.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_what_stands_between_prefix_and_time() {
        let task = |name| task_of(name, "samples_", ".jsonl");
        assert_eq!(task("samples_arc_easy_2026-01-31T10-20-30.123456.jsonl").as_deref(), Some("arc_easy"));
        assert_eq!(task("samples_arc_easy.jsonl").as_deref(), Some("arc_easy"));
        assert_eq!(task("other.jsonl"), None);
    }
}
