//! What can be wrong with a scenario, its prompts and its pairs.

use std::path::Path;

use crate::base::{FileError, suggestion};

/// What went wrong, where, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A scenario or prompt file does not say what the format asks for.
    #[error("{file} line {line}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there and what to change.
        message: String,
    },
    /// A name that the scenario does not declare.
    #[error("scenario `{scenario}` has no {what} `{name}`: {known}")]
    Unknown {
        /// The scenario's id.
        scenario: String,
        /// `variable`, `environment`, …
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The nearest name, or all that there are.
        known: String,
    },
    /// A request that the scenario cannot serve.
    #[error("scenario `{scenario}`: {message}")]
    Request {
        /// The scenario's id.
        scenario: String,
        /// What was asked and what to change.
        message: String,
    },
    /// A line of a pair or item file.
    #[error("{file} line {line}, field `{field}`: {message}")]
    Line {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The field.
        field: String,
        /// What is wrong and what to change.
        message: String,
    },
    /// A frozen set whose bytes are not those that its digest names.
    #[error("{folder}: the files' digest is {found}, but `digest` says {expected}: restore the files or freeze anew")]
    Digest {
        /// The eval set's folder.
        folder: String,
        /// The digest of what is there.
        found: String,
        /// The digest on record.
        expected: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ScenarioError {
    /// An unknown name, with the nearest known one or else all of them.
    pub(super) fn unknown<'a>(
        scenario: &str,
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Self {
        let known = nearest(name, known);
        Self::Unknown { scenario: scenario.to_owned(), what, name: name.to_owned(), known }
    }

    /// A request that cannot be served.
    pub(super) fn request(scenario: &str, message: impl Into<String>) -> Self {
        Self::Request { scenario: scenario.to_owned(), message: message.into() }
    }
}

/// `did you mean …?`, or the list of what is known.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match suggestion(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
            match all.is_empty() {
                true => "there is none".to_owned(),
                false => format!("there is {}", all.join(", ")),
            }
        }
    }
}

/// A TOML text with its name, for errors that say file and line.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's name as the user wrote it.
    pub file: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        Ok(Self { file: path.display().to_string(), text: crate::base::files::read_text(path)? })
    }

    /// Parses the text into `T`; unknown keys are refused with line and nearest known key.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, ScenarioError> {
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line_at(span.start));
            let message = explain(error.message());
            ScenarioError::Invalid { file: self.file.clone(), line, message }
        })
    }

    /// An error at the key that the dotted `path` leads to, or as far as it exists.
    pub fn invalid(&self, path: &[&str], message: impl Into<String>) -> ScenarioError {
        let line = self.line_of(path);
        ScenarioError::Invalid { file: self.file.clone(), line, message: message.into() }
    }

    fn line_at(&self, byte: usize) -> usize {
        1 + self.text.bytes().take(byte).filter(|&byte| byte == b'\n').count()
    }

    /// The line of the deepest key on `path` that exists; numbers lead into arrays.
    fn line_of(&self, path: &[&str]) -> usize {
        let Ok(root) = toml::de::DeTable::parse(&self.text) else { return 1 };
        let mut at = root.span().start;
        let mut value: Option<&toml::de::DeValue<'_>> = None;
        let mut table = Some(root.get_ref());
        for step in path {
            if let Some((key, inner)) = table.and_then(|table| table.get_key_value(*step)) {
                at = key.span().start;
                value = Some(inner.get_ref());
            } else if let Some(inner) = value
                .and_then(|value| value.as_array())
                .and_then(|array| step.parse::<usize>().ok().and_then(|index| array.get(index)))
            {
                at = inner.span().start;
                value = Some(inner.get_ref());
            } else {
                break;
            }
            table = value.and_then(|value| value.as_table());
        }
        self.line_at(at)
    }
}

/// serde's message, with the nearest known key where a key was unknown.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field") || message.starts_with("unknown variant"), quoted.next()) {
        (true, Some(given)) => {
            let known: Vec<&str> = quoted.collect();
            let what = if message.starts_with("unknown field") { "key" } else { "value" };
            format!("unknown {what} `{given}`: {}", nearest(given, known))
        }
        _ => message.to_owned(),
    }
}
