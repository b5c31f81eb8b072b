//! HellaSwag: how a description goes on (Zellers et al. 2019).

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{Ask, Document, Standard, files_of};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::task::Task;

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "hellaswag",
    groups: &["standard"],
    description: "Which of four endings goes on from a description of a scene.",
    files: "The released hellaswag_val.jsonl (`activity_label`, `ctx_a`, `ctx_b`, `endings`, `label` as a number, …) or the hub's \
            validation split (Rowan/hellaswag; `label` as a text) as Parquet or JSONL; hellaswag_train.jsonl or the train split \
            beside it for examples.",
    hub: Some("Rowan/hellaswag"),
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let standard = Standard {
        names: files_of("hellaswag_val.jsonl", "validation"),
        examples: files_of("hellaswag_train.jsonl", "train"),
        templates: &[
            ("process_docs", "!function utils.process_docs"),
            ("doc_to_text", "{{query}}"),
            ("doc_to_target", "{{label}}"),
            ("doc_to_choice", "choices"),
        ],
        ..Standard::choices("1.0", &["acc@lm-eval", "acc_norm@lm-eval"])
    };
    standard.load(source, document)
}

fn document(record: &Record<'_>) -> Result<Document, HarnessError> {
    let endings = record.texts("endings")?;
    let label = record.label("label", endings.len())?;
    let context = format!("{} {}", record.text("ctx_a")?, capitalized(record.text("ctx_b")?));
    let query = clean(&format!("{}: {context}", record.text("activity_label")?));
    let choices: Vec<String> = endings.iter().map(|ending| clean(ending)).collect();
    let ask = Ask::Choice { context: query.clone(), choices: choices.clone(), right: vec![label] };
    let mut document = Document::of(record, ask);
    for (name, value) in [("query", Value::from(query)), ("choices", choices.into()), ("gold", label.into())] {
        document.doc.insert(name.into(), value);
    }
    Ok(document)
}

/// Python's `str.capitalize`: the first character in title case, the others in lower case.
fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        None => String::new(),
        Some(first) => {
            let upper: String = first.to_uppercase().collect();
            let mut upper = upper.chars();
            let head: String = upper.by_ref().take(1).collect();
            head + &upper.as_str().to_lowercase() + &rest.as_str().to_lowercase()
        }
    }
}

/// WikiHow's marks are taken out (lm-eval `tasks/hellaswag/utils.py`, `preprocess`).
fn clean(text: &str) -> String {
    static BRACKETS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[[^\n]*?\]").ok());
    let titled = text.trim_matches(super::python_space).replace(" [title]", ". ");
    let bare = match BRACKETS.as_ref() {
        Some(brackets) => brackets.replace_all(&titled, "").into_owned(),
        None => titled,
    };
    bare.replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cleaned_as_lm_eval_cleans_it() {
        // `str.capitalize` and `preprocess` of lm-eval 0.4.13's tasks/hellaswag/utils.py, CPython 3.11.
        for (text, capital) in [("the LINE", "The line"), ("ßa", "Ssa"), ("", ""), ("éA", "Éa"), ("1B", "1b")] {
            assert_eq!(capitalized(text), capital);
        }
        assert_eq!(clean(" [header] How [title] Wet it. [step] a [b] c \n"), " How. Wet it. a c");
        assert_eq!(clean("x [a\nb] y   z"), "x [a\nb] y  z");
    }
}
