//! lm-eval's hashes of documents, prompts and targets (`evaluator.py`, `loggers/evaluation_tracker.py`): equal task hashes
//! prove equal prompts.

use serde_json::Value;

use super::python;
use super::question::{Question, Request, Target};
use crate::base::Digest;

/// The column that holds the target as lm-eval prints it, where [`Question::target`] does not say it all: a list of one,
/// a choice's text, a number that is no choice.
pub const TARGET: &str = "lm-eval target";

/// The three hashes of one question, SHA-256 in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// Of the document's JSON.
    pub doc: String,
    /// Of the first request's context.
    pub prompt: String,
    /// Of the target as Python prints it.
    pub target: String,
}

/// The hashes of a question.
pub fn hashes(question: &Question) -> Hashes {
    Hashes {
        doc: hash(&python::dumps_indented(&Value::Object(question.doc.clone()))),
        prompt: hash(first_argument(question)),
        target: hash(&target_text(question)),
    }
}

/// The hash of a task: of the hashes of its samples, in order. Tasks with several filters have a sample a filter and
/// document.
pub fn task_hash<'a>(samples: impl IntoIterator<Item = &'a Hashes>) -> String {
    let joined: String =
        samples.into_iter().flat_map(|hashes| [&*hashes.doc, &*hashes.prompt, &*hashes.target]).collect();
    hash(&joined)
}

/// SHA-256 of a text's UTF-8 bytes, hexadecimal.
pub fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
}

/// The target as Python's `str` prints it.
pub fn target_text(question: &Question) -> String {
    if let Some(text) = question.column(TARGET) {
        return text.to_owned();
    }
    match &question.target {
        Target::Choices { indexes } => match indexes.as_slice() {
            [one] => one.to_string(),
            several => python::repr(&Value::from(several.to_vec())),
        },
        Target::Texts { texts } => match texts.as_slice() {
            [one] => one.clone(),
            several => python::repr(&Value::from(several.to_vec())),
        },
        Target::None => String::new(),
    }
}

fn first_argument(question: &Question) -> &str {
    match question.requests.first() {
        Some(Request::Loglikelihood { context, .. } | Request::Generate { context, .. }) => context,
        Some(Request::Rolling { text }) => text,
        None => "",
    }
}
