//! Rows of JSON: objects a line, in a list, or as columns.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::{Deserializer, Map, Value};

use super::{Fault, Found, encoding, malformed};
use crate::base::FileError;
use crate::harness::error::HarnessError;

/// One object a line; empty lines are skipped.
pub(super) fn lines(text: &[u8]) -> Vec<Found> {
    let lines = encoding::lines(text).filter(|(_, line)| !line.trim_ascii().is_empty());
    let row = |(number, line)| {
        let line = encoding::utf8(line).map_err(|message| Fault::new(number, None, message))?;
        object(line)
            .map(|fields| (number, fields))
            .map_err(|(field, message)| Fault::new(number, field.as_deref(), message))
    };
    lines.map(row).collect()
}

/// A list of objects, an object that holds one under `data` or `rows`, an object of columns, or objects a line.
pub(super) fn document(path: &Path, text: &[u8]) -> Result<Vec<Found>, HarnessError> {
    let start = text.trim_ascii_start();
    match start.first() {
        None => Ok(Vec::new()),
        Some(b'[') => list(path, encoding::utf8_file(path, text)?),
        Some(b'{') => match several(start) {
            true => Ok(lines(text)),
            false => one_object(path, encoding::utf8_file(path, text)?),
        },
        Some(_) => Err(malformed(path, "it begins with neither a list nor an object")),
    }
}

/// Whether another object follows behind the first.
fn several(text: &[u8]) -> bool {
    let mut objects = Deserializer::from_slice(text).into_iter::<serde::de::IgnoredAny>();
    matches!(objects.next(), Some(Ok(_))) && objects.next().is_some()
}

fn one_object(path: &Path, text: &str) -> Result<Vec<Found>, HarnessError> {
    let fields = match object(text) {
        Ok(fields) => fields,
        // A broken object may be the first of several lines, each of which is judged for itself.
        Err(_) if text.trim_end().contains('\n') && text.lines().filter(|line| line.starts_with('{')).count() > 1 => {
            return Ok(lines(text.as_bytes()));
        }
        Err((_, message)) => return Err(malformed(path, message)),
    };
    for name in ["data", "rows"] {
        if let Some(Value::Array(rows)) = fields.get(name) {
            return Ok(rows.iter().enumerate().map(|(index, row)| of_value(index + 1, row.clone())).collect());
        }
    }
    let columns: Option<Vec<(&String, &Vec<Value>)>> =
        fields.iter().map(|(name, column)| column.as_array().map(|column| (name, column))).collect();
    match columns.as_deref() {
        None | Some([]) => Ok(vec![Ok((1, fields))]),
        Some(columns) => by_columns(path, columns),
    }
}

fn by_columns(path: &Path, columns: &[(&String, &Vec<Value>)]) -> Result<Vec<Found>, HarnessError> {
    let longest = columns.iter().map(|(_, column)| column.len()).max().unwrap_or(0);
    if let Some((name, column)) = columns.iter().find(|(_, column)| column.len() != longest) {
        let message = format!("column {name:?} has {} values, another one {longest}", column.len());
        return Err(malformed(path, message));
    }
    let row = |index: usize| {
        columns.iter().filter_map(|(name, column)| Some(((*name).clone(), column.get(index)?.clone()))).collect()
    };
    Ok((0..longest).map(|index| Ok((index + 1, row(index)))).collect())
}

/// The elements of a list, each with the line that it begins on.
fn list(path: &Path, text: &str) -> Result<Vec<Found>, HarnessError> {
    let mut at = Position { text, offset: 0, line: 1 };
    let broken = |at: &Position<'_>, message: &str| -> HarnessError {
        FileError::MalformedLine { path: path.to_path_buf(), line: at.line, message: message.into() }.into()
    };
    at.skip_space();
    at.advance(1);
    at.skip_space();
    let mut rows = Vec::new();
    let mut more = at.next() != Some(b']');
    while more {
        at.skip_space();
        let mut values = Deserializer::from_str(at.rest()).into_iter::<Value>();
        match values.next() {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                at.line += error.line().saturating_sub(1);
                return Err(broken(&at, &without_position(&error)));
            }
            None => return Err(broken(&at, "the list does not end")),
        }
        let element = at.rest().get(..values.byte_offset()).unwrap_or_default();
        rows.push(match element.starts_with('{') {
            true => object(element)
                .map(|fields| (at.line, fields))
                .map_err(|(field, message)| Fault::new(at.line, field.as_deref(), message)),
            false => Err(Fault::new(at.line, None, "the element is not an object")),
        });
        let length = element.len();
        at.advance(length);
        at.skip_space();
        more = match at.next() {
            Some(b',') => true,
            Some(b']') => false,
            Some(_) => return Err(broken(&at, "expected `,` or `]` behind an element")),
            None => return Err(broken(&at, "the list does not end")),
        };
        if more {
            at.advance(1);
        }
    }
    at.advance(1);
    at.skip_space();
    if at.rest().is_empty() { Ok(rows) } else { Err(broken(&at, "something stands behind the list")) }
}

/// Where a reader is in a text.
struct Position<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> Position<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn next(&self) -> Option<u8> {
        self.rest().bytes().next()
    }

    fn advance(&mut self, bytes: usize) {
        let passed = self.rest().get(..bytes).unwrap_or_default();
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        self.offset += passed.len();
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.advance(rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
    }
}

fn of_value(line: usize, value: Value) -> Found {
    match value {
        Value::Object(fields) => Ok((line, fields)),
        _ => Err(Fault::new(line, None, "the row is not an object")),
    }
}

/// An object's fields; else the field at which it breaks, where there is one, and the reason.
fn object(text: &str) -> Result<Map<String, Value>, (Option<String>, String)> {
    let current = RefCell::new(None);
    let mut reader = Deserializer::from_str(text);
    let read = Fields(&current).deserialize(&mut reader).and_then(|fields| reader.end().map(|()| fields));
    read.map_err(|error| (current.take(), format!("{} (column {})", without_position(&error), error.column())))
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).map(str::to_owned).unwrap_or(text)
}

/// Reads an object, remembers the field at hand, and refuses one that stands twice.
struct Fields<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            self.0.replace(Some(name.clone()));
            let value = map.next_value()?;
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("the field stands twice"));
            }
            self.0.replace(None);
        }
        Ok(fields)
    }
}
