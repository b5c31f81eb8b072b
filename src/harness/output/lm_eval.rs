//! lm-eval's results file and sample files (`result_schema.py`, `loggers/evaluation_tracker.py`), so that its readers read
//! ours. Unlike there, a file that cannot be written is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::super::error::HarnessError;
use super::super::hash::hash;
use super::super::python;
use super::super::yaml::Group;
use super::groups::{GroupValue, group_values};
use super::{Evaluated, samples};
use crate::base::files;
use crate::model::TextTokenizer;

/// What a results file says besides the results.
#[derive(Clone)]
pub struct RunInfo<'a> {
    /// The model as it was named.
    pub model: String,
    /// Its parameters.
    pub parameters: usize,
    /// The longest text that it takes, tokens.
    pub max_length: usize,
    /// Its tokenizer.
    pub tokenizer: Option<&'a TextTokenizer>,
    /// The device.
    pub device: String,
    /// The limit of documents, as it was given.
    pub limit: Option<f64>,
    /// Replicates of bootstrapped errors.
    pub iterations: usize,
    /// The seed of examples.
    pub fewshot_seed: u64,
    /// What stands before every prompt.
    pub system: Option<String>,
    /// The chat template, where prompts were put into one.
    pub chat_template: Option<String>,
    /// Whether examples were turns of their own.
    pub fewshot_as_multiturn: bool,
    /// When the run began, seconds since 1970.
    pub started: f64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// When it ended, as the names of files show it: ISO 8601 with `-` for `:`.
    pub stamp: String,
}

/// The files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The results.
    pub results: PathBuf,
    /// The samples, one file a task; empty where none were asked for.
    pub samples: Vec<PathBuf>,
}

/// Writes the results, and the samples where they are asked for, below `output`: in a folder of the model's name, or beside
/// `output` where that ends in `.json`.
///
/// # Errors
/// A file that cannot be written.
pub fn write(
    output: &Path,
    tasks: &[Evaluated],
    groups: &[Group],
    info: &RunInfo<'_>,
    log: Log,
) -> Result<Written, HarnessError> {
    let (folder, name) = match output.extension().is_some_and(|extension| extension == "json") {
        true => {
            let stem = output.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            (output.parent().unwrap_or(Path::new(".")).to_path_buf(), format!("{stem}_{}.json", info.stamp))
        }
        false => (output.join(sanitized(&info.model)), format!("results_{}.json", info.stamp)),
    };
    let path = folder.join(name);
    let mut text = python::dumps_indented(&Value::Object(results(tasks, groups, info, log)));
    text.push('\n');
    files::write_atomic(&path, text.as_bytes())?;
    let mut written = Written { results: path, samples: Vec::new() };
    if log == Log::Samples {
        for task in tasks {
            let path = folder.join(format!("samples_{}_{}.jsonl", task.planned.task.id, info.stamp));
            let mut text = String::new();
            for line in samples::lines(task) {
                text.push_str(&python::dumps(&Value::Object(line)));
                text.push('\n');
            }
            files::write_atomic(&path, text.as_bytes())?;
            written.samples.push(path);
        }
    }
    Ok(written)
}

/// Whether samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Results alone, without hashes of tasks.
    Results,
    /// The samples too.
    Samples,
}

/// A model's name as a folder.
fn sanitized(name: &str) -> String {
    let mut out = String::new();
    let mut before = false;
    for letter in name.chars() {
        let special = matches!(letter, '"' | '<' | '>' | ':' | '/' | '|' | '\\' | '?' | '*' | '[' | ']');
        if special && !before {
            out.push_str("__");
        }
        if !special {
            out.push(letter);
        }
        before = special;
    }
    out
}

fn or_not_available(error: Option<f64>) -> Value {
    error.map_or_else(|| "N/A".into(), Value::from)
}

fn task_metrics(task: &Evaluated) -> Value {
    let own = &task.planned.task;
    let mut map = Map::new();
    map.insert("name".into(), own.id.clone().into());
    map.insert("alias".into(), own.alias.clone().unwrap_or_else(|| own.id.clone()).into());
    map.insert("sample_len".into(), own.questions.len().into());
    for filter in &task.result.filters {
        for metric in &filter.metrics {
            map.insert(format!("{},{}", metric.name, filter.filter), metric.value.into());
            let error = or_not_available(metric.standard_error);
            map.insert(format!("{}_stderr,{}", metric.name, filter.filter), error);
        }
    }
    map.into()
}

fn group_metrics(group: &Group, values: &[GroupValue], tasks: &[Evaluated]) -> Value {
    let mut map = Map::new();
    map.insert("alias".into(), group.alias.clone().unwrap_or_else(|| group.name.clone()).into());
    map.insert("name".into(), group.name.clone().into());
    if group.metrics.is_empty() {
        return map.into();
    }
    let own = |task: &&Evaluated| group.tasks.contains(&task.planned.task.id);
    let documents: usize = tasks.iter().filter(own).map(|task| task.planned.task.questions.len()).sum();
    map.insert("sample_len".into(), documents.into());
    let mut counts = Map::new();
    for value in values {
        let key = format!("{},{}", value.metric, value.filter);
        counts.insert(key.clone(), value.documents.into());
        map.insert(key, value.value.into());
        let error = or_not_available(value.standard_error);
        map.insert(format!("{}_stderr,{}", value.metric, value.filter), error);
    }
    if !counts.is_empty() {
        map.insert("sample_count".into(), counts.into());
    }
    map.into()
}

/// A map in the order of its keys.
fn sorted(map: impl IntoIterator<Item = (String, Value)>) -> Value {
    map.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect::<Map<_, _>>().into()
}

/// The results file.
pub fn results(tasks: &[Evaluated], groups: &[Group], info: &RunInfo<'_>, log: Log) -> Map<String, Value> {
    let of = |value: &dyn Fn(&Evaluated) -> Value| -> Vec<(String, Value)> {
        tasks.iter().map(|task| (task.planned.task.id.clone(), value(task))).collect()
    };
    let mut all: Map<String, Value> = of(&task_metrics).into_iter().collect();
    let mut grouped = Map::new();
    for group in groups {
        let metrics = group_metrics(group, &group_values(group, tasks), tasks);
        all.insert(group.name.clone(), metrics.clone());
        if !group.metrics.is_empty() {
            grouped.insert(group.name.clone(), metrics);
        }
    }
    let mut versions = of(&|task| {
        let written = task.planned.task.config.get("metadata").and_then(|metadata| metadata.get("version"));
        written.cloned().unwrap_or_else(|| task.planned.task.version.clone().into())
    });
    let version = |group: &Group| (group.name.clone(), group.version.clone().unwrap_or_else(|| "N/A".into()).into());
    versions.extend(groups.iter().map(version));
    let mut shots: BTreeMap<String, Value> = of(&|task| task.planned.task.num_fewshot.into()).into_iter().collect();
    let mut better: BTreeMap<String, Value> = of(&higher_is_better).into_iter().collect();
    for group in groups {
        let mut own: Vec<Value> = group.members.iter().filter_map(|name| shots.get(name).cloned()).collect();
        own.dedup();
        if let [one] = own.as_slice() {
            shots.insert(group.name.clone(), one.clone());
        }
        if let Some(common) = common_direction(group, &better) {
            better.insert(group.name.clone(), common);
        }
    }
    let mut out = Map::new();
    let mut set = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    set("results", all.into());
    if !grouped.is_empty() {
        set("groups", grouped.into());
    }
    let members = |group: &Group| (group.name.clone(), Value::from(group.members.clone()));
    set("group_subtasks", groups.iter().map(members).collect::<Map<_, _>>().into());
    set("configs", sorted(of(&|task| task.planned.task.config.clone().into())));
    set("versions", sorted(versions));
    set("n-shot", sorted(shots));
    set("higher_is_better", sorted(better));
    let counts = |task: &Evaluated| json!({"original": task.planned.task.documents, "effective": task.planned.task.questions.len()});
    set("n-samples", of(&counts).into_iter().collect::<Map<_, _>>().into());
    set("config", config(info));
    set("git_hash", Value::Null);
    set("date", info.started.into());
    set("pretty_env_info", format!("counterpath {}", env!("CARGO_PKG_VERSION")).into());
    set("transformers_version", Value::Null);
    set("lm_eval_version", format!("counterpath {}", env!("CARGO_PKG_VERSION")).into());
    set("upper_git_hash", Value::Null);
    out.extend(tokenizer(info));
    let mut set = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    set("max_length", info.max_length.into());
    let hashes = if log == Log::Samples { of(&|task| samples::hash(task).into()) } else { Vec::new() };
    set("task_hashes", hashes.into_iter().collect::<Map<_, _>>().into());
    set("model_source", "counterpath".into());
    set("model_name", info.model.clone().into());
    set("model_name_sanitized", sanitized(&info.model).into());
    set("system_instruction", info.system.clone().into());
    set("system_instruction_sha", info.system.as_deref().map(hash).into());
    set("fewshot_as_multiturn", info.fewshot_as_multiturn.into());
    set("chat_template", info.chat_template.clone().into());
    set("chat_template_sha", info.chat_template.as_deref().map(hash).into());
    set("total_evaluation_time_seconds", python::text(&info.seconds.into()).into());
    out
}

fn higher_is_better(task: &Evaluated) -> Value {
    let metrics = task.result.filters.iter().flat_map(|filter| &filter.metrics);
    metrics.map(|metric| (metric.name.clone(), metric.higher_is_better.into())).collect::<Map<_, _>>().into()
}

/// What the members of a group agree on; null where they do not.
fn common_direction(group: &Group, better: &BTreeMap<String, Value>) -> Option<Value> {
    let mut common = Map::new();
    for member in group.members.iter().filter_map(|name| better.get(name)?.as_object()) {
        for (metric, value) in member {
            let known = common.entry(metric.clone()).or_insert_with(|| value.clone());
            if known != value {
                *known = Value::Null;
            }
        }
    }
    (!common.is_empty()).then(|| common.into())
}

fn config(info: &RunInfo<'_>) -> Value {
    json!({
        "model": "counterpath",
        "model_args": format!("pretrained={}", info.model),
        "model_num_parameters": info.parameters,
        "model_dtype": "float32",
        "batch_size": null,
        "batch_sizes": [],
        "device": info.device,
        "use_cache": null,
        "limit": info.limit,
        "bootstrap_iters": info.iterations,
        "gen_kwargs": null,
        "random_seed": 0,
        "numpy_seed": 1234,
        "torch_seed": 1234,
        "fewshot_seed": info.fewshot_seed,
    })
}

fn tokenizer(info: &RunInfo<'_>) -> Map<String, Value> {
    let pair = |id: Option<u32>| -> Value {
        let text = id.and_then(|id| info.tokenizer?.token(id));
        json!([text, id.map_or_else(|| "None".to_owned(), |id| id.to_string())])
    };
    let (bos, eos) = info.tokenizer.map_or((None, None), |tokenizer| (tokenizer.bos(), tokenizer.eos()));
    Map::from_iter([
        ("tokenizer_pad_token".to_owned(), pair(eos)),
        ("tokenizer_eos_token".to_owned(), pair(eos)),
        ("tokenizer_bos_token".to_owned(), pair(bos)),
        ("eot_token_id".to_owned(), eos.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_called_as_lm_eval_calls_them() {
        // lm_eval.utils.sanitize_model_name.
        assert_eq!(sanitized("org/name"), "org__name");
        assert_eq!(sanitized("/a//b:c?*[x]"), "__a__b__c__x__");
    }
}
