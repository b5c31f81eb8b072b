//! `doc_to_text`, `doc_to_target` and `doc_to_choice` in all their forms (lm-eval `api/task.py`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::error::HarnessError;
use super::super::python;
use super::super::template::Templates;
use super::function::{self, Code, Function};

/// How a value is made of a document.
#[derive(Debug, Clone)]
pub enum Field {
    /// A column's name, or a template.
    Text(String),
    /// Always the same number.
    Number(i64),
    /// Always the same list.
    List(Vec<Value>),
    /// By a known function.
    Function(&'static Function),
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.folder, self.name)
    }
}

impl Field {
    /// The field of a task file's value; a mapping stands for its values.
    pub(super) fn parse(task: &str, key: &str, value: &Value) -> Result<Self, HarnessError> {
        let wrong = || {
            let message = format!("`{key}` must be a column, a template, a list or a !function, and it is {value}");
            HarnessError::Task { task: task.into(), message }
        };
        if function::named(value).is_some() {
            let function = function::resolve(task, value)?;
            return match function.code {
                Code::Value(_) => Ok(Self::Function(function)),
                _ => Err(wrong()),
            };
        }
        match value {
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Number(number) => number.as_i64().map(Self::Number).ok_or_else(wrong),
            Value::Array(items) => Ok(Self::List(items.clone())),
            Value::Object(items) => Ok(Self::List(items.values().cloned().collect())),
            _ => Err(wrong()),
        }
    }
}

/// What fields are read with: the templates, the columns of the documents, and whether there are choices, which makes a text
/// of digits a number.
pub struct Fields<'a> {
    /// Templates.
    pub templates: &'a Templates,
    /// The columns of the data set.
    pub columns: &'a BTreeSet<String>,
    /// Whether the task has choices.
    pub choices: bool,
}

/// What is read from a document.
pub type Doc = Map<String, Value>;

impl Fields<'_> {
    /// A column's value where the text is one's name, else the text as a template.
    pub fn template(&self, text: &str, doc: &Doc) -> Result<Value, String> {
        if self.columns.contains(text) {
            return doc.get(text).cloned().ok_or_else(|| format!("the document has no field {text:?}"));
        }
        self.templates.render(text, doc).map(Value::String)
    }

    /// A template that a column of the same name takes the place of in this document alone (lm-eval's `resolve_field`); empty
    /// where the text is.
    pub fn resolved(&self, text: &str, doc: &Doc) -> Result<String, String> {
        match doc.get(text) {
            Some(value) if !text.is_empty() => Ok(python::text(value)),
            _ => self.templates.render(text, doc),
        }
    }

    fn digits(&self, value: Value) -> Value {
        match &value {
            Value::String(text) if self.choices && python::is_digits(text) => {
                text.parse::<i64>().map_or(value.clone(), Value::from)
            }
            _ => value,
        }
    }

    /// The question: a text, or the number of a choice where each choice is a context of its own.
    pub fn text(&self, field: &Field, doc: &Doc) -> Result<Value, String> {
        match field {
            Field::Text(text) if self.columns.contains(text) => self.template(text, doc),
            Field::Text(text) => Ok(self.digits(self.template(text, doc)?)),
            Field::Number(number) => Ok((*number).into()),
            Field::Function(function) => call(function, doc),
            Field::List(_) => Err("`doc_to_text` may not be a list".into()),
        }
    }

    /// The answer: a text, the number of a choice, or a list of either.
    pub fn target(&self, field: &Field, doc: &Doc) -> Result<Value, String> {
        match field {
            Field::Text(text) if self.columns.contains(text) => self.template(text, doc),
            Field::Text(text) => {
                let value = self.digits(self.template(text, doc)?);
                let listed =
                    value.as_str().filter(|text| text.len() > 1 && text.starts_with('[') && text.ends_with(']'));
                Ok(match listed.and_then(|text| python::literal(text).ok()) {
                    Some(list) => list,
                    None => value,
                })
            }
            Field::Number(number) => Ok((*number).into()),
            Field::List(items) => Ok(items.clone().into()),
            Field::Function(function) => call(function, doc),
        }
    }

    /// The choices.
    pub fn choices(&self, field: &Field, doc: &Doc) -> Result<Vec<String>, String> {
        let value = match field {
            Field::Text(text) if self.columns.contains(text) => self.template(text, doc)?,
            Field::Text(text) => {
                let rendered = self.templates.render(text, doc)?;
                python::literal(&rendered).map_err(|message| format!("the choices {rendered:?}: {message}"))?
            }
            Field::List(items) => items.clone().into(),
            Field::Function(function) => call(function, doc)?,
            Field::Number(number) => (*number).into(),
        };
        let Value::Array(items) = value else {
            return Err(format!("the choices must be a list, and they are {value}"));
        };
        items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.clone()),
                other => Err(format!("the choice {} is no text; put it into quotes", python::repr(other))),
            })
            .collect()
    }
}

fn call(function: &Function, doc: &Doc) -> Result<Value, String> {
    match function.code {
        Code::Value(of) => of(doc),
        _ => Err(format!("{} gives no value of a document", function.name)),
    }
}
