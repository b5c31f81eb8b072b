//! Typed access to a row's fields. Each error names file, line and field.

use std::path::Path;

use serde_json::{Map, Value};

use super::Row;
use crate::base::suggestion;
use crate::harness::error::HarnessError;

/// A row and the file that it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The file.
    pub path: &'a Path,
    /// The row.
    pub row: &'a Row,
}

impl<'a> Record<'a> {
    /// The error that says what is wrong with a field.
    pub fn refuse(&self, field: &str, message: impl Into<String>) -> HarnessError {
        HarnessError::Field {
            path: self.path.to_path_buf(),
            line: self.row.line,
            field: field.into(),
            message: message.into(),
        }
    }

    /// A field, where the row has it and it is not null.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.row.fields.get(field).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// It is missing or null; the nearest name that the row has is told.
    pub fn value(&self, field: &str) -> Result<&'a Value, HarnessError> {
        self.get(field).ok_or_else(|| match self.row.fields.contains_key(field) {
            true => self.refuse(field, "it is null or missing"),
            false => {
                let hint = suggestion(field, self.row.fields.keys().map(String::as_str));
                let hint = hint.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
                self.refuse(field, format!("it is missing{hint}"))
            }
        })
    }

    fn typed<T>(&self, field: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, HarnessError> {
        let value = self.value(field)?;
        read(value).ok_or_else(|| self.refuse(field, format!("{} is not {what}", shown(value))))
    }

    /// A text.
    ///
    /// # Errors
    /// The field is missing or not a text.
    pub fn text(&self, field: &str) -> Result<&'a str, HarnessError> {
        self.typed(field, "a text", Value::as_str)
    }

    /// A text, or a number as it is written: what a CSV column of digits holds.
    ///
    /// # Errors
    /// The field is missing, or neither.
    pub fn text_or_number(&self, field: &str) -> Result<String, HarnessError> {
        self.typed(field, "a text", |value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        })
    }

    /// An integer, or a text of digits.
    ///
    /// # Errors
    /// The field is missing or not an integer.
    pub fn integer(&self, field: &str) -> Result<i64, HarnessError> {
        self.typed(field, "an integer", |value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok()))
    }

    /// A number, or a text of one.
    ///
    /// # Errors
    /// The field is missing or not a finite number.
    pub fn number(&self, field: &str) -> Result<f64, HarnessError> {
        self.typed(field, "a number", |value| {
            let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
            number.filter(|number| number.is_finite())
        })
    }

    /// `true` or `false`, also as a text or as 1 or 0.
    ///
    /// # Errors
    /// The field is missing or none of these.
    pub fn boolean(&self, field: &str) -> Result<bool, HarnessError> {
        self.typed(field, "true or false", |value| match value {
            Value::Bool(truth) => Some(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            Value::String(text) => match text.as_str() {
                "true" | "True" | "1" => Some(true),
                "false" | "False" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// An object.
    ///
    /// # Errors
    /// The field is missing or not an object.
    pub fn object(&self, field: &str) -> Result<&'a Map<String, Value>, HarnessError> {
        self.typed(field, "an object", Value::as_object)
    }

    /// A list.
    ///
    /// # Errors
    /// The field is missing or not a list.
    pub fn list(&self, field: &str) -> Result<&'a [Value], HarnessError> {
        self.typed(field, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// A list of texts.
    ///
    /// # Errors
    /// The field is missing, not a list, or an element is not a text.
    pub fn texts(&self, field: &str) -> Result<Vec<String>, HarnessError> {
        self.texts_of(field, self.value(field)?)
    }

    /// The same of a value that stands deeper in the row; `field` names it.
    ///
    /// # Errors
    /// It is not a list, or an element is not a text.
    pub fn texts_of(&self, field: &str, value: &Value) -> Result<Vec<String>, HarnessError> {
        let list = value.as_array().ok_or_else(|| self.refuse(field, format!("{} is not a list", shown(value))))?;
        let text = |(index, value): (usize, &Value)| {
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| self.refuse(field, format!("element {index}, {}, is not a text", shown(value))))
        };
        list.iter().enumerate().map(text).collect()
    }

    /// The place of a text among those that it may be.
    ///
    /// # Errors
    /// The field is missing or is none of them; the nearest is told.
    pub fn one_of(&self, field: &str, known: &[&str]) -> Result<usize, HarnessError> {
        let given = self.text_or_number(field)?;
        known.iter().position(|name| *name == given).ok_or_else(|| {
            let hint = suggestion(&given, known.iter().copied());
            let hint = hint.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            self.refuse(field, format!("{given:?} is none of {}{hint}", known.join(", ")))
        })
    }

    /// A label: an index below `options`, counted from 0.
    ///
    /// # Errors
    /// The field is missing, no integer, or outside the options.
    pub fn label(&self, field: &str, options: usize) -> Result<usize, HarnessError> {
        let given = self.integer(field)?;
        let label = usize::try_from(given).ok().filter(|label| *label < options);
        label.ok_or_else(|| {
            self.refuse(
                field,
                format!("label {given} is outside the {options} options (0 to {})", options.saturating_sub(1)),
            )
        })
    }
}

/// A value as a message shows it: at most 40 characters of its JSON.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
