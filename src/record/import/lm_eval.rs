//! lm-evaluation-harness' sample lines: one JSON object a document and filter.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::fingerprint::Fingerprint;
use super::lm_eval_value::{self, Kind};
use super::{Found, ImportError, ImportOptions, python_json};
use crate::base::{Digest, FileError, files};
use crate::stats::{Direction, Item};

/// The fields of a line that are no metrics, where a line does not list its metrics.
const NO_METRICS: [&str; 13] = [
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
    "logprobs",
    "tokens",
];

/// The samples of one task.
pub(super) struct Samples {
    pub(super) found: Vec<Found>,
    pub(super) prints: BTreeMap<String, Fingerprint>,
    pub(super) notes: Vec<String>,
}

/// One line with its place in the file.
struct Line<'a> {
    path: &'a Path,
    number: usize,
    fields: Map<String, Value>,
}

impl Line<'_> {
    fn wrong(&self, field: &str, what: impl Into<String>) -> ImportError {
        ImportError::Field {
            path: self.path.to_path_buf(),
            line: Some(self.number),
            field: field.to_owned(),
            what: what.into(),
        }
    }

    fn field(&self, name: &str) -> Result<&Value, ImportError> {
        self.fields.get(name).ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn hash(&self, name: &str) -> Option<String> {
        self.fields.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// The id that lm-eval counts documents by.
    fn id(&self) -> Result<String, ImportError> {
        match self.field("doc_id")? {
            Value::Number(number) => Ok(number.to_string()),
            Value::String(id) => Ok(id.clone()),
            other => Err(self.wrong("doc_id", format!("is {other}, not a number"))),
        }
    }

    fn filter(&self) -> Result<&str, ImportError> {
        match self.fields.get("filter") {
            None => Ok("none"),
            Some(Value::String(filter)) => Ok(filter),
            Some(other) => Err(self.wrong("filter", format!("is {other}, not a name"))),
        }
    }

    fn metrics(&self) -> Result<Vec<String>, ImportError> {
        match self.fields.get("metrics") {
            Some(Value::Array(names)) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned).ok_or_else(|| self.wrong("metrics", "holds no name")))
                .collect(),
            Some(other) => Err(self.wrong("metrics", format!("is {other}, not a list of names"))),
            None => {
                let numbers = self.fields.iter().filter(|(name, value)| {
                    !NO_METRICS.contains(&name.as_str()) && (value.is_number() || value.is_boolean())
                });
                Ok(numbers.map(|(name, _)| name.clone()).collect())
            }
        }
    }

    fn print(&self) -> Fingerprint {
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let input =
            text(self.fields.get("arguments").and_then(|all| all.get("gen_args_0")).and_then(|one| one.get("arg_0")));
        let wanted = text(self.fields.get("target"));
        let hashed = |text: &str| Digest::of(text.as_bytes()).to_string();
        Fingerprint {
            prompt: self.hash("prompt_hash").unwrap_or_else(|| hashed(&input)),
            document: self.hash("doc_hash"),
            target: self.hash("target_hash").unwrap_or_else(|| hashed(&wanted)),
            tokens: self.tokens(),
            role: self.fields.get("role").and_then(Value::as_str).unwrap_or_default().to_owned(),
            input,
            wanted,
        }
    }

    /// The scored tokens of each request with their ln p, where the line has them. A line without the tokens' texts has
    /// the words of its continuation where there are as many, else numbers.
    fn tokens(&self) -> Vec<Vec<(String, f64)>> {
        let Some(requests) = self.fields.get("logprobs").and_then(Value::as_array) else { return Vec::new() };
        let listed = self.fields.get("tokens").and_then(Value::as_array);
        let request = |(at, request): (usize, &Value)| {
            let count = request.as_array().map_or(0, Vec::len);
            let listed = listed.and_then(|all| all.get(at)).and_then(Value::as_array);
            let arguments = self.fields.get("arguments").and_then(|all| all.get(format!("gen_args_{at}")));
            let scored = arguments.and_then(|one| one.get("arg_1")).and_then(Value::as_str);
            let words = scored.unwrap_or_default().split_whitespace().map(|word| format!(" {word}"));
            let words: Vec<String> = words.collect();
            let text = |index: usize| match listed {
                Some(listed) => listed.get(index).and_then(Value::as_str),
                None => words.get(index).filter(|_| words.len() == count).map(String::as_str),
            };
            let numbers = request.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
            numbers
                .filter_map(|(index, number)| {
                    let token = text(index).map_or_else(|| format!("⟨{}⟩", index + 1), str::to_owned);
                    number.as_f64().map(|logprob| (token, logprob))
                })
                .collect()
        };
        requests.iter().enumerate().map(request).collect()
    }

    fn cluster(&self, path: &str) -> Result<Option<String>, ImportError> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let value =
            rest.into_iter().flat_map(|rest| rest.split('.')).fold(self.fields.get(first), |at, key| at?.get(key));
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
            Some(other) => Err(self.wrong(path, format!("is {other}; a cluster is a text or a number"))),
        }
    }
}

/// Reads the lines of one task. `direction`: what the run's results say of a metric.
pub(super) fn read(
    path: &Path,
    task: &str,
    options: &ImportOptions,
    direction: &dyn Fn(&str) -> Option<Direction>,
) -> Result<Samples, ImportError> {
    let lines = lines(path)?;
    let by = cluster_field(&lines, options)?;
    let mut kinds: BTreeMap<(String, String), (Kind, Vec<Item>)> = BTreeMap::new();
    let (mut prints, mut left_out) = (BTreeMap::new(), BTreeMap::new());
    let mut seen = std::collections::BTreeSet::new();
    for line in &lines {
        let (id, filter) = (line.id()?, line.filter()?);
        if !seen.insert((id.clone(), filter.to_owned())) {
            let population = task.to_owned();
            return Err(ImportError::Twice { path: path.to_path_buf(), line: Some(line.number), population, id });
        }
        let cluster = match &by {
            Some(field) => {
                line.cluster(field)?.ok_or_else(|| line.wrong(field, "is missing, and clusters are named by it"))?
            }
            None => id.clone(),
        };
        for name in line.metrics()? {
            let value = line.field(&name)?;
            match lm_eval_value::read(&name, value) {
                Err(what) => return Err(line.wrong(&name, what)),
                Ok(None) => {
                    left_out.entry(name).or_insert(line.number);
                }
                Ok(Some((kind, value, weight))) => {
                    let of = kinds.entry((name.clone(), filter.to_owned())).or_insert_with(|| (kind, Vec::new()));
                    if of.0 != kind {
                        return Err(line.wrong(&name, format!("is {}, unlike the lines before", line.field(&name)?)));
                    }
                    of.1.push(Item { id: id.clone(), cluster: cluster.clone(), value, group: None, weight });
                }
            }
        }
        prints.entry(id).or_insert_with(|| line.print());
    }
    let found = kinds.into_iter().map(|((name, filter), (kind, items))| {
        let plain = if filter == "none" { name.clone() } else { format!("{name},{filter}") };
        Found {
            metric: format!("{plain}@lm-eval"),
            statistic: kind.statistic(&items),
            unit: kind.unit(&name),
            direction: direction(&name),
            population: task.to_owned(),
            items,
            plain,
        }
    });
    let mut notes: Vec<String> = left_out
        .into_iter()
        .map(|(name, line)| format!("{task}: `{name}` is left out (line {line}: its items do not become a value by a statistic that is known here)"))
        .collect();
    notes.extend(by.map(|field| format!("{task}: items are clustered by `{field}`")));
    Ok(Samples { found: found.collect(), prints, notes })
}

fn lines(path: &Path) -> Result<Vec<Line<'_>>, ImportError> {
    let mut lines = Vec::new();
    for (index, text) in files::read_text(path)?.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let fields = serde_json::from_str(&python_json::strict(text)).map_err(|error| FileError::MalformedLine {
            path: path.to_path_buf(),
            line: number,
            message: error.to_string(),
        })?;
        lines.push(Line { path, number, fields });
    }
    if lines.is_empty() {
        return Err(ImportError::Empty { path: path.to_path_buf(), why: "there is no line".into() });
    }
    Ok(lines)
}

/// The field that clusters are named by: the one that was asked for, else `cluster` where every line has it.
fn cluster_field(lines: &[Line<'_>], options: &ImportOptions) -> Result<Option<String>, ImportError> {
    if options.cluster.is_some() {
        return Ok(options.cluster.clone());
    }
    for line in lines {
        if line.cluster("cluster")?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some("cluster".into()))
}
