//! Log-likelihood requests in a JSONL file, answered in a JSONL file: what other programs drive this one by.
//!
//! A line asks `{"id", "context", "continuation"}` in text or `{"id", "context_ids", "continuation_ids"}` in token ids, and may
//! name an `"adapter"` of those that are loaded over the base; the answer
//! on the same line of the output is `{"id", "loglikelihood", "is_greedy", "num_tokens"}`, sums in natural log. Text is split as
//! lm-eval splits it (`lm_eval/api/model.py`): trailing whitespace of the context belongs to the continuation; context and
//! whole are encoded, and the continuation is what follows the context's number of tokens; an empty context is the BOS token
//! (EOS where there is none), and the continuation is then encoded without special tokens. The model reads the last
//! `max_length` + 1 tokens, less the final one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::TrustError;
use super::scoring::{NamedRequest, Pass, Scorer, score_named};
use super::store::ScoreStore;
use crate::base::{FileError, Progress, files, suggestion};
use crate::model::{LanguageModel, ScoreRequest, split_tokens};

/// One line of a request file.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The line in the file, counted from 1.
    pub line: usize,
    /// A string or a number, given back as it came.
    pub id: Value,
    /// The adapter that answers it, by name; the base where none is named.
    pub adapter: Option<String>,
    /// What is asked.
    pub body: Body,
}

/// What a request is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Text.
    Text {
        /// What stands before; may be empty.
        context: String,
        /// What is scored.
        continuation: String,
    },
    /// Token ids.
    Ids {
        /// What stands before; may be empty.
        context: Vec<u32>,
        /// What is scored.
        continuation: Vec<u32>,
    },
}

/// One line of the answer file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The request's id.
    pub id: Value,
    /// Σ ln p over the continuation's tokens.
    pub loglikelihood: f64,
    /// Whether each of them is the most likely token.
    pub is_greedy: bool,
    /// How many they are.
    pub num_tokens: usize,
}

const FIELDS: [&str; 6] = ["id", "adapter", "context", "continuation", "context_ids", "continuation_ids"];

/// Reads a request file. Empty lines are skipped.
///
/// # Errors
/// A malformed line is named with file, line and field; so are an id that occurs twice, an unknown field, and a request
/// in both text and token ids.
pub fn read_requests(path: &Path) -> Result<Vec<Request>, FileError> {
    let mut requests = Vec::new();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for (index, text) in files::read_text(path)?.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        let line = index + 1;
        let malformed = |message| FileError::MalformedLine { path: path.to_path_buf(), line, message };
        let request = parse(line, text).map_err(malformed)?;
        if let Some(first) = ids.insert(request.id.to_string(), line) {
            return Err(malformed(format!(
                "field \"id\": {} stands on line {first} already; ids must be unique",
                request.id
            )));
        }
        requests.push(request);
    }
    if requests.is_empty() {
        return Err(FileError::Malformed { path: path.to_path_buf(), message: "holds no request".into() });
    }
    Ok(requests)
}

fn parse(line: usize, text: &str) -> Result<Request, String> {
    let fields: Map<String, Value> = match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(other) => return Err(format!("expected an object, found {other}")),
        Err(error) => return Err(format!("not JSON: {error}")),
    };
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let hint = suggestion(unknown, FIELDS).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default();
        return Err(format!("field {unknown:?} is unknown{hint}"));
    }
    let id = match fields.get("id") {
        Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
        Some(other) => return Err(format!("field \"id\": expected a string or a number, found {other}")),
        None => return Err("field \"id\" is missing".into()),
    };
    let adapter = match fields.get("adapter") {
        None | Some(Value::Null) => None,
        Some(_) => Some(string(&fields, "adapter")?),
    };
    let in_text = fields.contains_key("context") || fields.contains_key("continuation");
    let in_ids = fields.contains_key("context_ids") || fields.contains_key("continuation_ids");
    let body = match (in_text, in_ids) {
        (true, true) => {
            return Err(
                "give \"context\" and \"continuation\", or \"context_ids\" and \"continuation_ids\", not both".into()
            );
        }
        (false, true) => {
            Body::Ids { context: ids(&fields, "context_ids")?, continuation: ids(&fields, "continuation_ids")? }
        }
        _ => Body::Text { context: string(&fields, "context")?, continuation: string(&fields, "continuation")? },
    };
    let empty = match &body {
        Body::Text { continuation, .. } => continuation.is_empty().then_some("continuation"),
        Body::Ids { continuation, .. } => continuation.is_empty().then_some("continuation_ids"),
    };
    match empty {
        Some(field) => Err(format!("field {field:?} is empty; there is nothing to score")),
        None => Ok(Request { line, id, adapter, body }),
    }
}

fn string(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("field {name:?}: expected a string, found {other}")),
        None => Err(format!("field {name:?} is missing")),
    }
}

fn ids(fields: &Map<String, Value>, name: &str) -> Result<Vec<u32>, String> {
    let list = match fields.get(name) {
        Some(Value::Array(list)) => list,
        Some(other) => return Err(format!("field {name:?}: expected a list of token ids, found {other}")),
        None => return Err(format!("field {name:?} is missing")),
    };
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("field {name:?}: {value} is no token id"))
    };
    list.iter().map(id).collect()
}

/// The tokens of a request.
///
/// # Errors
/// A token that the vocabulary does not have, text without a tokenizer, an empty context without a prefix token.
pub fn tokens(model: &LanguageModel, request: &Request) -> Result<ScoreRequest, String> {
    let (context, continuation) = match &request.body {
        Body::Text { context, continuation } => {
            let split = model.tokenizer().and_then(|tokenizer| split_tokens(tokenizer, context, continuation));
            return split.map_err(|error| error.to_string());
        }
        Body::Ids { context, continuation } => (context, continuation),
    };
    let vocab = model.architecture().vocab_size;
    for (name, ids) in [("context_ids", context), ("continuation_ids", continuation)] {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(format!("field {name:?}: token id {id}, but the vocabulary has {vocab} tokens"));
        }
    }
    if !context.is_empty() {
        return Ok(ScoreRequest { context: context.clone(), continuation: continuation.clone() });
    }
    let tokenizer = model.tokenizer().ok();
    let prefix = tokenizer.and_then(|tokenizer| tokenizer.bos().or(tokenizer.eos())).ok_or(
        "field \"context_ids\" is empty and the model has no BOS or EOS token to put in its place; give at least one token",
    )?;
    let rest = match continuation.split_first() {
        Some((first, rest)) if *first == prefix => rest.to_vec(),
        _ => continuation.clone(),
    };
    if rest.is_empty() {
        return Err("field \"continuation_ids\" holds the prefix token alone; there is nothing to score".into());
    }
    Ok(ScoreRequest { context: vec![prefix], continuation: rest })
}

/// Where finished answers are kept until the output is written: beside it, so that a folder that cannot be written shows
/// before any model runs.
pub fn journal_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

/// Answers a request file, in its order, and writes the answers at once when all are there. A run that was stopped goes on
/// where it was; once the output is written the journal is removed. Returns the number of answers.
///
/// # Errors
/// All of [`read_requests`] and [`tokens`], an adapter that is not there, found before the first forward; a likelihood that is not finite;
/// [`TrustError::Interrupted`].
pub fn score_file<'a>(
    scorer: impl Into<Scorer<'a>>,
    requests: &Path,
    output: &Path,
    batch_tokens: usize,
    progress: &dyn Progress,
) -> Result<usize, TrustError> {
    let asked = read_requests(requests)?;
    let scorer = scorer.into();
    let limit = scorer.model().architecture().max_positions;
    let mut split = Vec::with_capacity(asked.len());
    for request in &asked {
        let line = request.line;
        let malformed = |message| FileError::MalformedLine { path: requests.to_path_buf(), line, message };
        let tokens = tokens(scorer.model(), request).map_err(malformed)?;
        if tokens.continuation.len() > limit {
            let found = tokens.continuation.len();
            return Err(malformed(format!("the continuation has {found} tokens, the model {limit} positions")).into());
        }
        let name = format!("{} line {line}", requests.display());
        split.push(NamedRequest { name, adapter: request.adapter.clone(), request: tokens });
    }
    let journal = journal_of(output);
    let mut store = ScoreStore::open(&journal)?;
    let scores = score_named(scorer, &split, &mut Pass { store: &mut store, batch_tokens, progress })?;
    let answers: Vec<Answer> = asked
        .into_iter()
        .zip(scores)
        .map(|(request, score)| Answer {
            id: request.id,
            loglikelihood: score.loglikelihood,
            is_greedy: score.is_greedy,
            num_tokens: score.num_tokens,
        })
        .collect();
    files::write_jsonl(output, &answers)?;
    files::remove(&journal)?;
    Ok(answers.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> String {
        parse(1, line).expect_err(line)
    }

    #[test]
    fn both_forms_are_read() {
        let text = parse(3, r#"{"id": "a", "context": "", "continuation": " b"}"#).expect("text");
        assert_eq!(text.body, Body::Text { context: String::new(), continuation: " b".into() });
        assert_eq!((text.line, text.id), (3, Value::from("a")));
        assert_eq!(text.adapter, None);
        let named = parse(1, r#"{"id": "a", "adapter": "b", "context": "", "continuation": " b"}"#).expect("text");
        assert_eq!(named.adapter.as_deref(), Some("b"));
        let ids = parse(1, r#"{"id": 7, "context_ids": [1, 2], "continuation_ids": [3]}"#).expect("ids");
        assert_eq!(ids.body, Body::Ids { context: vec![1, 2], continuation: vec![3] });
        assert_eq!(ids.id, Value::from(7));
    }

    #[test]
    fn each_malformed_field_is_named() {
        let cases = [
            (r#"{"context": "a", "continuation": "b"}"#, "field \"id\" is missing"),
            (
                r#"{"id": null, "context": "a", "continuation": "b"}"#,
                "field \"id\": expected a string or a number, found null",
            ),
            (r#"{"id": 1, "continuation": "b"}"#, "field \"context\" is missing"),
            (
                r#"{"id": 1, "adapter": 3, "context": "a", "continuation": "b"}"#,
                "field \"adapter\": expected a string, found 3",
            ),
            (r#"{"id": 1, "context": 3, "continuation": "b"}"#, "field \"context\": expected a string, found 3"),
            (r#"{"id": 1, "context": "a", "continuation": ""}"#, "field \"continuation\" is empty"),
            (
                r#"{"id": 1, "context": "a", "continuaton": "b"}"#,
                "field \"continuaton\" is unknown; did you mean \"continuation\"?",
            ),
            (r#"{"id": 1, "context": "a", "continuation_ids": [1]}"#, "not both"),
            (
                r#"{"id": 1, "context_ids": [1], "continuation_ids": [-1]}"#,
                "field \"continuation_ids\": -1 is no token id",
            ),
            (
                r#"{"id": 1, "context_ids": [1.5], "continuation_ids": [1]}"#,
                "field \"context_ids\": 1.5 is no token id",
            ),
            (
                r#"{"id": 1, "context_ids": 4, "continuation_ids": [1]}"#,
                "field \"context_ids\": expected a list of token ids, found 4",
            ),
            (r#"{"id": 1, "context_ids": [1], "continuation_ids": []}"#, "field \"continuation_ids\" is empty"),
            (r#"[1, 2]"#, "expected an object"),
            (r#"{"id": 1, "#, "not JSON"),
        ];
        for (line, wanted) in cases {
            let found = message(line);
            assert!(found.contains(wanted), "{line}: {found}");
        }
    }

    #[test]
    fn files_and_lines_are_named() {
        let path = std::env::temp_dir().join(format!("counterpath-requests-{}.jsonl", std::process::id()));
        let good = r#"{"id": "x", "context": "a", "continuation": "b"}"#;
        let read = |text: &str| {
            files::write_atomic(&path, text.as_bytes()).expect("write");
            read_requests(&path)
        };
        let error = read(&format!("\u{feff}{good}\r\n\r\n{good}\r\n")).expect_err("twice").to_string();
        assert!(error.contains("line 3") && error.contains("line 1 already"), "{error}");
        let error = read("\n \n").expect_err("empty").to_string();
        assert!(error.contains("holds no request"), "{error}");
        assert_eq!(read(&format!("\u{feff}{good}\r\n")).expect("BOM and CRLF").len(), 1);
        let _ = std::fs::remove_file(&path);
    }
}
