//! Which format a file is in, by its content.

use std::path::Path;

use serde_json::Value;

use super::{ImportError, LogFormat, python_json};
use crate::base::files;

/// The format of a file.
pub(super) fn format(path: &Path) -> Result<LogFormat, ImportError> {
    let unknown = |what: &str| ImportError::Unknown { path: path.to_path_buf(), what: what.to_owned() };
    if starts_as_zip(path)? {
        return Err(unknown(
            "a zip archive, as inspect's .eval logs are (`inspect log convert --to json` makes a .json log of one)",
        ));
    }
    let text = files::read_text(path)?;
    let Some(first) = text.lines().find(|line| !line.trim().is_empty()) else { return Err(unknown("empty")) };
    // One object a line is JSONL; a file of one pretty-printed object has a first line that is no JSON by itself.
    let line =
        serde_json::from_str::<Value>(&python_json::strict(first)).ok().filter(|line| line.get("doc_id").is_some());
    if line.is_some() || first.trim_start().starts_with("{\"doc_id\"") {
        return Ok(LogFormat::LmEvalSamples);
    }
    let tree = python_json::read(path)?;
    let has = |key: &str| tree.get(key).is_some();
    if has("schema") {
        Ok(LogFormat::Record)
    } else if has("eval") && has("version") {
        Ok(LogFormat::Inspect)
    } else if has("results") && (has("configs") || has("versions") || has("n-shot")) {
        Ok(LogFormat::LmEvalResults)
    } else {
        Err(unknown("JSON of a kind that is not known here"))
    }
}

fn starts_as_zip(path: &Path) -> Result<bool, ImportError> {
    Ok(files::read(path, files::TEXT_LIMIT)?.starts_with(b"PK\x03\x04"))
}
