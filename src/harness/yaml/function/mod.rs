//! The functions of task files, written anew: what `!function` may name.
//!
//! A function is known by the folder of the file that names it and by its name there, such as `crows_pairs` and
//! `utils.process_results`; the definitions are those of lm-eval 0.4.13's `tasks/` folder. Python is never run: what is not
//! in [`FUNCTIONS`] is refused with its name.

mod bbq;
mod bias;
mod standard;

use std::path::Path;

use serde_json::{Map, Value};

use super::super::error::HarnessError;
use super::tree::{FOLDER, FUNCTION};
use crate::stats::Objective;

/// A document.
pub type Doc = Map<String, Value>;

/// What the model said to one document, as a function of results sees it.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// Log-likelihood and greediness of each request.
    Loglikelihoods(&'a [(f64, bool)]),
    /// The log-likelihood of a whole text.
    Rolling(f64),
    /// What the filters made of the generated texts: one, or a list.
    Filtered(&'a Value),
}

impl Outcome<'_> {
    /// The log-likelihoods.
    ///
    /// # Errors
    /// There are none, or not the number that is expected.
    fn loglikelihoods<const N: usize>(self) -> Result<[f64; N], String> {
        let all = self.all_loglikelihoods()?;
        let count = all.len();
        all.try_into().map_err(|_| format!("{N} log-likelihoods are expected, there are {count}"))
    }

    fn all_loglikelihoods(self) -> Result<Vec<f64>, String> {
        match self {
            Self::Loglikelihoods(pairs) => Ok(pairs.iter().map(|(loglikelihood, _)| *loglikelihood).collect()),
            _ => Err("log-likelihoods are expected".into()),
        }
    }
}

/// A metric's value on one document: a number, or what its aggregation reads.
#[derive(Debug, Clone, PartialEq)]
pub enum DocValue {
    /// A number.
    Number(f64),
    /// Several, such as a log-likelihood with its words.
    Tuple(Vec<f64>),
}

impl DocValue {
    /// The first number.
    pub fn first(&self) -> f64 {
        match self {
            Self::Number(value) => *value,
            Self::Tuple(values) => values.first().copied().unwrap_or(f64::NAN),
        }
    }

    /// The numbers of a tuple of that length.
    pub fn tuple<const N: usize>(&self) -> Option<[f64; N]> {
        match self {
            Self::Number(_) => None,
            Self::Tuple(values) => values.as_slice().try_into().ok(),
        }
    }
}

/// The metrics' values on one document, by name.
pub type ResultsOf = fn(&Doc, Outcome<'_>) -> Result<Vec<(String, DocValue)>, String>;

/// What a function does.
#[derive(Clone, Copy)]
pub enum Code {
    /// Chooses or changes documents (`process_docs`).
    Documents(fn(Vec<Doc>) -> Result<Vec<Doc>, String>),
    /// A text, target or list of choices of one document (`doc_to_text`, `doc_to_target`, `doc_to_choice`).
    Value(fn(&Doc) -> Result<Value, String>),
    /// The metrics' values on one document (`process_results`), and the objective that they speak of.
    Results(ResultsOf, Objective),
    /// One number of a metric's values on all documents (`aggregation`); NaN where there is none.
    Aggregation(fn(&[DocValue]) -> f64),
}

/// A function that is known.
pub struct Function {
    /// The folder of the task files that name it.
    pub folder: &'static str,
    /// `module.function`.
    pub name: &'static str,
    /// What it does.
    pub code: Code,
}

/// All functions that are known, one slice a file.
pub static FUNCTIONS: &[&[Function]] = &[standard::FUNCTIONS, bias::FUNCTIONS, bbq::FUNCTIONS];

/// The name and the folder that a value of a task file gives to a function; none where it is no function.
pub fn named(value: &Value) -> Option<(&str, &str)> {
    let object = value.as_object()?;
    Some((object.get(FUNCTION)?.as_str()?, object.get(FOLDER)?.as_str()?))
}

/// The function that a task file names.
///
/// # Errors
/// [`HarnessError::Function`] for one that is not known.
pub fn resolve(task: &str, value: &Value) -> Result<&'static Function, HarnessError> {
    let (name, folder) = named(value).unwrap_or_default();
    let last = Path::new(folder).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let known = FUNCTIONS.iter().copied().flatten().find(|known| known.name == name && known.folder == last);
    known.ok_or_else(|| {
        let (module, function) = name.rsplit_once('.').unwrap_or(("", name));
        HarnessError::Function {
            task: task.into(),
            function: function.into(),
            file: Path::new(folder).join(format!("{}.py", module.replace('.', "/"))),
        }
    })
}

/// A document's text.
///
/// # Errors
/// The field is missing or is no text.
fn text<'a>(doc: &'a Doc, field: &str) -> Result<&'a str, String> {
    match doc.get(field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("the field {field:?} holds {other}, and a text is expected")),
        None => Err(format!("the document has no field {field:?}")),
    }
}

/// A document's list of texts.
fn texts(doc: &Doc, field: &str) -> Result<Vec<String>, String> {
    let Some(Value::Array(items)) = doc.get(field) else {
        return Err(format!("the field {field:?} must be a list of texts"));
    };
    let text = |item: &Value| item.as_str().map(str::to_owned);
    items.iter().map(text).collect::<Option<_>>().ok_or_else(|| format!("the field {field:?} must be a list of texts"))
}

/// A document's whole number; a text of digits counts as one.
fn whole(doc: &Doc, field: &str) -> Result<i64, String> {
    let value = doc.get(field);
    let number = match value {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_i64(),
        None => None,
    };
    number.ok_or_else(|| format!("the field {field:?} holds {}, and a whole number is expected", show(value)))
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".into(), Value::to_string)
}

/// Documents changed one by one.
fn each(docs: Vec<Doc>, mut change: impl FnMut(&mut Doc) -> Result<(), String>) -> Result<Vec<Doc>, String> {
    docs.into_iter()
        .enumerate()
        .map(|(index, mut doc)| {
            change(&mut doc).map_err(|message| format!("document {index}: {message}"))?;
            Ok(doc)
        })
        .collect()
}

/// Documents whose field is chosen.
fn keep(docs: Vec<Doc>, field: &str, chosen: impl Fn(&str) -> bool) -> Result<Vec<Doc>, String> {
    let mut kept = Vec::new();
    for (index, doc) in docs.into_iter().enumerate() {
        if chosen(text(&doc, field).map_err(|message| format!("document {index}: {message}"))?) {
            kept.push(doc);
        }
    }
    Ok(kept)
}

#[cfg(test)]
#[path = "../function_tests.rs"]
mod tests;
