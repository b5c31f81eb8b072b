//! PIQA: physical common sense (Bisk et al. 2020).

use serde_json::Value;

use super::{Ask, Document, Standard};
use crate::base::{FileError, files};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows};
use crate::harness::error::HarnessError;
use crate::harness::task::Task;

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "piqa",
    groups: &["standard"],
    description: "Which of two ways to reach a physical goal works.",
    files: "The released valid.jsonl (`goal`, `sol1`, `sol2`) with valid-labels.lst beside it (a 0 or 1 a line), or the hub's \
            validation split (baber/piqa; with `label`) as Parquet or JSONL; train.jsonl with train-labels.lst for examples.",
    hub: Some("baber/piqa"),
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let names = |split: &str, released: &str| {
        vec![
            format!("{released}.jsonl"),
            format!("{split}-{{}}.parquet"),
            format!("{split}.parquet"),
            format!("{split}.jsonl"),
            format!("{split}.json"),
        ]
    };
    let standard = Standard {
        names: names("validation", "valid"),
        templates: &[
            ("doc_to_text", "Question: {{goal}}\nAnswer:"),
            ("doc_to_target", "label"),
            ("doc_to_choice", "{{[sol1, sol2]}}"),
        ],
        ..Standard::choices("1.0", &["acc@lm-eval", "acc_norm@lm-eval"])
    };
    let files: Vec<&str> = standard.names.iter().map(String::as_str).collect();
    let rows = labelled(source.rows(&files)?)?;
    standard.load_rows(source, rows, document)
}

/// Rows without labels get those of the file beside them, row by row.
fn labelled(mut rows: Rows) -> Result<Rows, HarnessError> {
    if rows.rows.iter().all(|row| row.fields.contains_key("label")) {
        return Ok(rows);
    }
    let stem = rows.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let path = rows.path.with_file_name(format!("{stem}-labels.lst"));
    let malformed = |message: String| HarnessError::File(FileError::Malformed { path: path.clone(), message });
    if !files::exists(&path) {
        let message = "the rows have no label, and this file of labels is not beside them".to_owned();
        return Err(malformed(message));
    }
    let text = files::read_text(&path)?;
    let labels: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let documents = rows.rows.len() + rows.bad.len();
    if labels.len() != documents {
        return Err(malformed(format!("{} labels for {documents} rows", labels.len())));
    }
    for row in &mut rows.rows {
        let label = labels.get(row.index).copied().unwrap_or_default();
        let label = label.parse::<i64>().map_or_else(|_| Value::from(label), Value::from);
        row.fields.insert("label".into(), label);
    }
    Ok(rows)
}

fn document(record: &Record<'_>) -> Result<Document, HarnessError> {
    let choices = vec![record.text_or_number("sol1")?, record.text_or_number("sol2")?];
    let context = format!("Question: {}\nAnswer:", record.text("goal")?);
    let right = vec![record.label("label", 2)?];
    Ok(Document::of(record, Ask::Choice { context, choices, right }))
}
