//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, which are no JSON.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use crate::base::{FileError, files};

/// The words that stand for no number.
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The text with such words outside of strings as `null`: what is no number is no value.
pub(super) fn strict(text: &str) -> Cow<'_, str> {
    if !WORDS.iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut inside) = (text, false);
    while let Some(letter) = rest.chars().next() {
        let word = WORDS.iter().find(|word| !inside && rest.starts_with(**word));
        let taken = match (letter, word) {
            (_, Some(word)) => {
                out.push_str("null");
                word.len()
            }
            ('\\', None) if inside => {
                let pair: String = rest.chars().take(2).collect();
                out.push_str(&pair);
                pair.len()
            }
            (letter, None) => {
                inside ^= letter == '"';
                out.push(letter);
                letter.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// A file of one JSON value.
pub(super) fn read(path: &Path) -> Result<Value, FileError> {
    let text = files::read_text(path)?;
    serde_json::from_str(&strict(&text))
        .map_err(|error| FileError::Malformed { path: path.to_path_buf(), message: format!("not JSON: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_outside_of_strings_become_null() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "NaN \" NaN": "Infinity \\"}"#;
        let wanted = r#"{"a": null, "b": [null, null, 1], "NaN \" NaN": "Infinity \\"}"#;
        assert_eq!(strict(text), wanted);
        assert!(matches!(strict("{\"é\": 1}"), Cow::Borrowed(_)));
    }
}
