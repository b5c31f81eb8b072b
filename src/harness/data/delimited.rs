//! Rows of CSV and TSV.

use std::collections::BTreeSet;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::{Fault, Found, encoding, malformed};
use crate::base::FileError;
use crate::harness::error::HarnessError;

/// The rows under a line of column names, or under those given. A column without a name is called `Unnamed: n`, as pandas
/// calls it.
pub(super) fn rows(
    path: &Path,
    text: &[u8],
    delimiter: u8,
    columns: Option<&[&str]>,
) -> Result<Vec<Found>, HarnessError> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(text);
    let mut record = ByteRecord::new();
    let mut names: Option<Vec<String>> = columns.map(|columns| columns.iter().map(|name| (*name).to_owned()).collect());
    let mut rows: Vec<Result<(usize, Vec<String>), Fault>> = Vec::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => return Err(malformed(path, error.to_string())),
        }
        let line = record.position().map_or(1, |position| position.line() as usize);
        match &names {
            None => names = Some(header(path, line, &record)?),
            Some(names) => rows.push(cells(line, names, &record)),
        }
    }
    let names = names.unwrap_or_default();
    let kind = |column| if columns.is_some() { Kind::Text } else { Kind::of(values(&rows, column)) };
    let kinds: Vec<Kind> = (0..names.len()).map(kind).collect();
    let row = |(line, cells): (usize, Vec<String>)| {
        let named = names.iter().zip(&kinds).zip(cells);
        (line, named.map(|((name, kind), cell)| (name.clone(), kind.value(cell))).collect::<Map<_, _>>())
    };
    Ok(rows.into_iter().map(|found| found.map(row)).collect())
}

fn values(rows: &[Result<(usize, Vec<String>), Fault>], column: usize) -> impl Iterator<Item = &str> + Clone {
    rows.iter().filter_map(move |row| row.as_ref().ok()?.1.get(column).map(String::as_str))
}

fn header(path: &Path, line: usize, record: &ByteRecord) -> Result<Vec<String>, HarnessError> {
    let refuse = |message| FileError::MalformedLine { path: path.to_path_buf(), line, message };
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(record.len());
    for (index, name) in record.iter().enumerate() {
        let name = match encoding::utf8(name).map_err(|message| refuse(format!("column {}: {message}", index + 1)))? {
            "" => format!("Unnamed: {index}"),
            name => name.to_owned(),
        };
        if !seen.insert(name.clone()) {
            return Err(refuse(format!("two columns are called {name:?}; rename one")).into());
        }
        names.push(name);
    }
    Ok(names)
}

fn cells(line: usize, names: &[String], record: &ByteRecord) -> Result<(usize, Vec<String>), Fault> {
    let (found, expected) = (record.len(), names.len());
    if found < expected {
        let missing = names.get(found).map(String::as_str);
        return Err(Fault::new(line, missing, format!("the row ends before it: {found} of {expected} fields")));
    }
    if found > expected {
        let message = format!("{found} fields under {expected} column names; is a field with a separator not quoted?");
        return Err(Fault::new(line, names.last().map(String::as_str), message));
    }
    let cell = |(name, cell): (&String, &[u8])| {
        encoding::utf8(cell).map(str::to_owned).map_err(|message| Fault::new(line, Some(name), message))
    };
    Ok((line, names.iter().zip(record).map(cell).collect::<Result<_, _>>()?))
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    /// The narrowest kind that all values but empty ones have. An integer with a leading zero or sign is text: it would
    /// not be written back as it stands.
    fn of<'a>(values: impl Iterator<Item = &'a str> + Clone) -> Self {
        let filled = || values.clone().filter(|value| !value.is_empty());
        if filled().next().is_none() {
            return Self::Text;
        }
        let integer = |value: &str| value.parse::<i64>().is_ok_and(|integer| integer.to_string() == value);
        let number = |value: &str| {
            let plain = value.trim_start_matches('-');
            let leading_zero = plain.starts_with('0') && !plain.starts_with("0.") && plain != "0";
            let digits = plain.starts_with(|first: char| first.is_ascii_digit());
            digits && !leading_zero && value.parse::<f64>().is_ok_and(f64::is_finite)
        };
        if filled().all(integer) {
            Self::Integer
        } else if filled().all(number) {
            Self::Number
        } else if filled().all(|value| boolean(value).is_some()) {
            Self::Boolean
        } else {
            Self::Text
        }
    }

    fn value(self, cell: String) -> Value {
        match self {
            Self::Text => cell.into(),
            _ if cell.is_empty() => Value::Null,
            Self::Integer => cell.parse::<i64>().map_or(Value::Null, Value::from),
            Self::Number => cell.parse::<f64>().map_or(Value::Null, Value::from),
            Self::Boolean => boolean(&cell).map_or(Value::Null, Value::from),
        }
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}
