//! Rows of data sets as they lie on disk: JSON, JSONL, CSV, TSV, Parquet, plain lines.
//!
//! A row that cannot be read names its file, its line and, where one is known, its field. It is left out and listed while
//! there are no more than the caller allows, and an error beyond that; nothing is dropped in silence.

mod delimited;
mod encoding;
mod json;
mod record;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::HarnessError;
use crate::base::files::{self, FileError, TEXT_LIMIT};
use crate::base::{Digest, suggestion};
pub use record::Record;

/// A data set's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The file.
    pub path: PathBuf,
    /// The rows that could be read, in their order.
    pub rows: Vec<Row>,
    /// The rows that could not, each with file, line, field and reason.
    pub bad: Vec<String>,
    /// Of the file's bytes.
    pub digest: Digest,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The line that it begins on, from 1; the row's number where the format has no lines (Parquet, JSON by columns).
    pub line: usize,
    /// Its number in the file, from 0; rows that cannot be read count.
    pub index: usize,
    /// Its fields, in the order of the file.
    pub fields: Map<String, Value>,
}

/// How a file holds rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    JsonLines,
    Delimited(u8),
    Lines,
    Parquet,
}

impl Format {
    const KNOWN: &str = ".json, .jsonl, .ndjson, .csv, .tsv, .txt, .parquet; all but the last also with .gz behind it";

    fn of(path: &Path) -> Result<Self, HarnessError> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        Ok(match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("json") => Self::Json,
            Some("jsonl" | "ndjson") => Self::JsonLines,
            Some("csv") => Self::Delimited(b','),
            Some("tsv") => Self::Delimited(b'\t'),
            Some("txt") => Self::Lines,
            Some("parquet") => Self::Parquet,
            _ => {
                return Err(malformed(path, format!("the name does not say what it holds; known are {}", Self::KNOWN)));
            }
        })
    }
}

/// What is wrong with one row, before the file is known.
#[derive(Debug)]
struct Fault {
    line: usize,
    field: Option<String>,
    message: String,
}

impl Fault {
    fn new(line: usize, field: Option<&str>, message: impl Into<String>) -> Self {
        Self { line, field: field.map(str::to_owned), message: message.into() }
    }

    fn error(self, path: &Path) -> HarnessError {
        let Self { line, field, message } = self;
        match field {
            Some(field) => HarnessError::Field { path: path.to_path_buf(), line, field, message },
            None => HarnessError::Row { path: path.to_path_buf(), line, message },
        }
    }
}

/// A row as a format finds it: where it begins and its fields, or what is wrong with it.
type Found = Result<(usize, Map<String, Value>), Fault>;

/// Reads a file of rows, at most [`TEXT_LIMIT`] bytes of it, and leaves out at most `max_bad` that cannot be read.
///
/// The name's ending says the format. JSON is a list of objects, an object whose `data` or `rows` is one, an object of
/// columns of equal length, or one object a line; text files have a row a line, in the field `text`. Text is UTF-8, with
/// or without a byte-order mark, or UTF-16 with one. A CSV column whose every value is an integer (a number, `true` or
/// `false`) holds integers (numbers, booleans) and null where it is empty; all else is text as it stands.
///
/// # Errors
/// A file that cannot be read, an ending that is not known, broken JSON, doubled column names, no rows, and more than
/// `max_bad` bad ones.
pub fn read_rows(path: &Path, max_bad: usize) -> Result<Rows, HarnessError> {
    read(path, None, max_bad)
}

/// The same of a CSV or TSV file without a line of column names: these are its columns, and all values are text.
///
/// # Errors
/// As [`read_rows`].
pub fn read_rows_under(path: &Path, columns: &[&str], max_bad: usize) -> Result<Rows, HarnessError> {
    read(path, Some(columns), max_bad)
}

fn read(path: &Path, columns: Option<&[&str]>, max_bad: usize) -> Result<Rows, HarnessError> {
    let format = Format::of(path)?;
    let bytes = files::read(path, TEXT_LIMIT)?;
    let digest = Digest::of(&bytes);
    let found = match format {
        Format::Parquet => parquet(path)?,
        _ => {
            let text = encoding::decode(path, bytes)?;
            match format {
                Format::Json => json::document(path, &text)?,
                Format::JsonLines => json::lines(&text),
                Format::Delimited(delimiter) => delimited::rows(path, &text, delimiter, columns)?,
                _ => plain_lines(&text),
            }
        }
    };
    let mut rows = Vec::with_capacity(found.len());
    let mut bad = BadRows::new(path, max_bad);
    for (index, found) in found.into_iter().enumerate() {
        match found {
            Ok((line, fields)) => rows.push(Row { line, index, fields }),
            Err(fault) => bad.add(&fault.error(path)),
        }
    }
    let bad = bad.within_limit()?;
    if rows.is_empty() {
        return Err(malformed(
            path,
            match bad.first() {
                None => "it holds no rows".into(),
                Some(first) => format!("none of its rows can be read; the first: {first}"),
            },
        ));
    }
    Ok(Rows { path: path.to_path_buf(), rows, bad, digest })
}

impl Rows {
    /// The rows with what reads their fields.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|row| Record { path: &self.path, row })
    }

    /// What `read` makes of each row. Rows that it refuses join [`Rows::bad`] under the same limit.
    ///
    /// # Errors
    /// More than `max_bad` bad rows, those that could not be read among them, or no row that can be used.
    pub fn convert<T>(
        &mut self,
        max_bad: usize,
        mut read: impl FnMut(&Record<'_>) -> Result<T, HarnessError>,
    ) -> Result<Vec<T>, HarnessError> {
        let mut bad = BadRows { path: &self.path, max_bad, lines: std::mem::take(&mut self.bad) };
        let mut read_rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            match read(&Record { path: &self.path, row }) {
                Ok(made) => read_rows.push(made),
                Err(error) => bad.add(&error),
            }
        }
        self.bad = bad.within_limit()?;
        match (read_rows.is_empty(), self.bad.first()) {
            (true, Some(first)) => {
                Err(malformed(&self.path, format!("none of its rows can be used; the first: {first}")))
            }
            _ => Ok(read_rows),
        }
    }

    /// Gives every row the columns of all rows in the order in which they first appear, null where a row lacks one: what
    /// readers of tables do, the hub's among them.
    pub fn align(&mut self) {
        let Some(first) = self.rows.first() else { return };
        if self.rows.iter().all(|row| row.fields.keys().eq(first.fields.keys())) {
            return;
        }
        let mut columns = Map::new();
        for name in self.rows.iter().flat_map(|row| row.fields.keys()) {
            columns.entry(name.clone()).or_insert(Value::Null);
        }
        for row in &mut self.rows {
            let mut fields = columns.clone();
            fields.extend(std::mem::take(&mut row.fields));
            row.fields = fields;
        }
    }

    /// The names of the first row's fields, for messages.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.rows.first().into_iter().flat_map(|row| row.fields.keys().map(String::as_str))
    }

    /// Refuses a file whose first row lacks a field, with the nearest name that it has.
    ///
    /// # Errors
    /// [`HarnessError::Field`] of the first missing field.
    pub fn require(&self, fields: &[&str]) -> Result<(), HarnessError> {
        let Some(record) = self.records().next() else { return Ok(()) };
        match fields.iter().find(|field| !record.row.fields.contains_key(**field)) {
            None => Ok(()),
            Some(field) => {
                let nearest = suggestion(field, self.field_names()).map(|name| format!("; did you mean {name:?}?"));
                let names: Vec<&str> = self.field_names().collect();
                let hint = nearest.unwrap_or_default();
                Err(record.refuse(field, format!("there is none; the row has {}{hint}", names.join(", "))))
            }
        }
    }
}

/// Rows that cannot be used, and how many there may be.
struct BadRows<'a> {
    path: &'a Path,
    max_bad: usize,
    lines: Vec<String>,
}

/// Bad rows that an error lists.
const LISTED: usize = 3;

impl<'a> BadRows<'a> {
    fn new(path: &'a Path, max_bad: usize) -> Self {
        Self { path, max_bad, lines: Vec::new() }
    }

    fn add(&mut self, error: &HarnessError) {
        self.lines.push(error.to_string());
    }

    fn within_limit(self) -> Result<Vec<String>, HarnessError> {
        let Self { path, max_bad, lines } = self;
        match lines.len() > max_bad {
            false => Ok(lines),
            true => Err(HarnessError::BadRows {
                path: path.to_path_buf(),
                found: lines.len(),
                allowed: max_bad,
                first: lines.into_iter().take(LISTED).collect(),
            }),
        }
    }
}

fn parquet(path: &Path) -> Result<Vec<Found>, HarnessError> {
    let rows = files::read_parquet(path)?.into_iter().enumerate();
    Ok(rows
        .map(|(index, row)| {
            row.map(|row| (index + 1, row)).map_err(|(field, message)| Fault::new(index + 1, field.as_deref(), message))
        })
        .collect())
}

fn plain_lines(text: &[u8]) -> Vec<Found> {
    let lines = encoding::lines(text).filter(|(_, line)| !line.trim_ascii().is_empty());
    let row = |(number, line)| {
        let text = encoding::utf8(line).map_err(|message| Fault::new(number, Some("text"), message))?;
        Ok((number, Map::from_iter([("text".to_owned(), Value::from(text))])))
    };
    lines.map(row).collect()
}

fn malformed(path: &Path, message: impl Into<String>) -> HarnessError {
    FileError::Malformed { path: path.to_path_buf(), message: message.into() }.into()
}
