//! Bias, fairness and causal data sets. What lm-eval has is asked with its prompts; the rest as the data's authors do, or as the task
//! says. None of them takes examples before its questions, but for word pairs, which are nothing without.

mod bbq;
mod bold;
mod cad;
mod contrast;
mod crows_pairs;
mod facts;
mod hans;
mod ioi;
mod matching;
mod professions;
mod stereoset;
mod toxicity;
mod winobias;
mod winogender;
mod word_pairs;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::assemble::{Definition, assemble};
use super::{BuiltIn, Source};
use crate::base::files::{self, TEXT_LIMIT};
use crate::base::{Digest, FileError};
use crate::harness::data::{Record, Row, Rows, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::question::{Generation, Question, Request, Target};
use crate::harness::task::{OutputType, Task};

/// The built-in tasks of this folder, one slice a file.
pub(super) static BUILT_IN: &[&[BuiltIn]] = &[
    bbq::TASKS,
    crows_pairs::TASKS,
    stereoset::TASKS,
    winobias::TASKS,
    winogender::TASKS,
    hans::TASKS,
    cad::TASKS,
    contrast::TASKS,
    bold::TASKS,
    toxicity::TASKS,
    professions::TASKS,
    ioi::TASKS,
    facts::TASKS,
    word_pairs::TASKS,
];

/// What a task is, besides its questions.
struct Asked {
    version: &'static str,
    output_type: OutputType,
    metrics: &'static [&'static str],
    /// lm-eval's templates or ours, for the record.
    templates: &'static [(&'static str, &'static str)],
}

impl Asked {
    /// The task of these rows and questions.
    fn task(&self, source: &Source<'_>, rows: &Rows, questions: Vec<Question>) -> Result<Task, HarnessError> {
        if source.num_fewshot.is_some_and(|count| count > 0) {
            return Err(source.refuse("it is asked without examples; leave out the number of examples"));
        }
        Ok(self.task_with(source, rows, questions, 0))
    }

    fn task_with(&self, source: &Source<'_>, rows: &Rows, questions: Vec<Question>, num_fewshot: usize) -> Task {
        let config = self.templates.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        let definition = Definition {
            id: source.id,
            version: self.version,
            output_type: self.output_type,
            metrics: self.metrics,
            num_fewshot,
            config: config.collect(),
        };
        assemble(definition, rows, questions)
    }
}

/// A question about a row; what is not set is empty.
fn question(record: &Record<'_>, id: impl Into<String>, cluster: impl Into<String>) -> Question {
    Question {
        id: id.into(),
        doc_id: record.row.index,
        cluster: cluster.into(),
        doc: record.row.fields.clone(),
        requests: Vec::new(),
        choices: Vec::new(),
        target: Target::None,
        columns: BTreeMap::new(),
        variant: None,
    }
}

impl Question {
    /// One request a choice: the context, then the delimiter and the choice.
    fn asking(mut self, context: &str, delimiter: &str, choices: Vec<String>, right: Option<usize>) -> Self {
        self.requests = choices.iter().map(|choice| loglikelihood(context, format!("{delimiter}{choice}"))).collect();
        self.choices = choices;
        self.target = right.map_or(Target::None, |right| Target::Choices { indexes: vec![right] });
        self
    }

    fn with(mut self, column: &str, value: impl Into<String>) -> Self {
        self.columns.insert(column.to_owned(), value.into());
        self
    }
}

fn loglikelihood(context: impl Into<String>, continuation: impl Into<String>) -> Request {
    Request::Loglikelihood { context: context.into(), continuation: continuation.into() }
}

fn generation(context: &str, max_tokens: usize, temperature: f64, until: &[&str]) -> Request {
    let until = until.iter().map(|&stop| stop.to_owned()).collect();
    Request::Generate { context: context.into(), generation: Generation { until, max_tokens, temperature } }
}

/// The values of a JSON file as rows: `place` finds the objects in it, each with the fields that a row shall have.
fn json_rows(
    path: &Path,
    place: impl FnOnce(&Value) -> Option<Vec<Map<String, Value>>>,
    expected: &str,
) -> Result<Rows, HarnessError> {
    let bytes = files::read(path, TEXT_LIMIT)?;
    let malformed = |message: String| FileError::Malformed { path: path.to_path_buf(), message };
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    let objects = place(&value).ok_or_else(|| malformed(format!("it does not hold {expected}")))?;
    Ok(numbered(path, Digest::of(&bytes), objects))
}

fn numbered(path: &Path, digest: Digest, objects: Vec<Map<String, Value>>) -> Rows {
    let row = |(index, fields)| Row { line: index + 1, index, fields };
    Rows { path: path.to_path_buf(), rows: objects.into_iter().enumerate().map(row).collect(), bad: Vec::new(), digest }
}

/// The lines of a text file that are not blank, as rows with the field `text`, whatever the file is called.
fn lines(path: &Path) -> Result<Rows, HarnessError> {
    let text = files::read_text(path)?;
    let row = |(index, (number, line)): (usize, (usize, &str))| Row {
        line: number + 1,
        index,
        fields: Map::from_iter([("text".to_owned(), Value::from(line.trim_end_matches('\r')))]),
    };
    let kept = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows = kept.enumerate().map(row).collect();
    Ok(Rows { path: path.to_path_buf(), rows, bad: Vec::new(), digest: Digest::of(text.as_bytes()) })
}

/// The rows of a tab-separated file with a header line, whatever the file is called; no field is quoted.
fn tabbed(path: &Path) -> Result<Rows, HarnessError> {
    let mut rows = lines(path)?;
    let text = |row: &Row| row.fields.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    let malformed = |message: &str| FileError::Malformed { path: path.to_path_buf(), message: message.into() };
    let header = rows.rows.first().map(text).ok_or_else(|| malformed("it is empty"))?;
    let names: Vec<&str> = header.split('\t').collect();
    let mut read = Vec::with_capacity(rows.rows.len());
    for row in rows.rows.iter().skip(1) {
        let line = text(row);
        let values: Vec<&str> = line.split('\t').collect();
        if values.len() != names.len() {
            let (line, message) = (row.line, format!("{} fields where the header has {}", values.len(), names.len()));
            return Err(HarnessError::Row { path: path.to_path_buf(), line, message });
        }
        let fields = names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Value::from(value))).collect();
        read.push(Row { line: row.line, index: row.index - 1, fields });
    }
    rows.rows = read;
    Ok(rows)
}

/// The rows of several files as if they were one; documents are numbered through, and the digest is that of all.
fn joined(path: &Path, parts: Vec<Rows>) -> Rows {
    let mut all = Rows { path: path.to_path_buf(), rows: Vec::new(), bad: Vec::new(), digest: Digest::of(b"") };
    let digests: Vec<&str> = parts.iter().map(|part| part.digest.as_str()).collect();
    all.digest = match digests.as_slice() {
        [one] => Digest::of(one.as_bytes()),
        several => Digest::of(several.join("\n").as_bytes()),
    };
    for part in parts {
        let first = all.rows.len();
        all.rows.extend(part.rows.into_iter().map(|row| Row { index: first + row.index, ..row }));
        all.bad.extend(part.bad);
    }
    all
}

/// The file itself, or every file of the folder whose name ends in one of these, in the order of their names.
fn files_of(source: &Source<'_>, endings: &[&str]) -> Result<Vec<std::path::PathBuf>, HarnessError> {
    if !files::is_folder(source.path) {
        return Ok(vec![source.path.to_path_buf()]);
    }
    let ends = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        endings.iter().any(|ending| name.ends_with(ending))
    };
    let mut found: Vec<_> = files::list(source.path)?.into_iter().filter(|path| ends(path)).collect();
    found.sort();
    match found.is_empty() {
        true => {
            Err(source.refuse(format!("{} holds no file that ends in {}", source.path.display(), endings.join(", "))))
        }
        false => Ok(found),
    }
}

/// All questions of the rows; rows that `read` refuses count against the limit.
fn ask_all<T>(
    source: &Source<'_>,
    rows: &mut Rows,
    read: impl FnMut(&Record<'_>) -> Result<T, HarnessError>,
) -> Result<Vec<T>, HarnessError> {
    rows.convert(source.max_bad_rows, read)
}

/// The rows of each file, read by its ending.
fn each(source: &Source<'_>, paths: &[std::path::PathBuf]) -> Result<Vec<Rows>, HarnessError> {
    paths.iter().map(|path| read_rows(path, source.max_bad_rows)).collect()
}

/// `{column}` or the empty text where a field is missing.
fn optional(record: &Record<'_>, field: &str) -> Option<String> {
    record.text_or_number(field).ok()
}
