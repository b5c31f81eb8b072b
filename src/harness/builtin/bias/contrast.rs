//! Contrast sets (Gardner et al. 2020): test questions and the small edits that change their answer.

use serde_json::{Map, Value};

use super::cad::{SENTIMENT, ask_sentiment};
use super::{Asked, ask_all, joined, json_rows};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

const METRICS: &[&str] = &["acc@lm-eval", "contrast.consistency", "contrast.accuracy", "contrast.gap"];

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "contrast_imdb",
        groups: &["contrast_sets", "contrast", "bias"],
        description: "The sentiment of reviews and of their edits, in pairs.",
        files: "allenai/contrast-sets, IMDb/data: a folder with {test,dev}_original.tsv and {test,dev}_contrast.tsv (`Sentiment`, `Text`), of \
                which row k of both is a pair.",
        hub: None,
        load: reviews,
    },
    BuiltIn {
        id: "contrast_boolq",
        groups: &["contrast_sets", "contrast", "bias"],
        description: "Yes or no questions on a passage and their edits, with lm-eval's prompt for BoolQ.",
        files: "allenai/contrast-sets, BoolQ/boolq_perturbed.json (`data` with `paragraph`, `question`, `answer`, `perturbed_questions`). The \
                file's first entry, which names its own fields, and entries without a question are left out, as in the release.",
        hub: None,
        load: yes_or_no,
    },
];

fn reviews(source: &Source<'_>) -> Result<Task, HarnessError> {
    if !crate::base::files::is_folder(source.path) {
        return Err(
            source.refuse(format!("{} is not a folder; it reads originals and contrasts", source.path.display()))
        );
    }
    let original_path = source.file(&["test_original.tsv", "dev_original.tsv"])?;
    let name = original_path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let contrast_path = original_path.with_file_name(name.replace("original", "contrast"));
    let (original, contrast) = (read_rows(&original_path, 0)?, read_rows(&contrast_path, 0)?);
    if original.rows.len() != contrast.rows.len() {
        let message =
            format!("{} originals and {} contrasts; their rows are pairs", original.rows.len(), contrast.rows.len());
        return Err(source.refuse(message));
    }
    let mut questions = Vec::new();
    for (side, rows) in [("original", &original), ("contrast", &contrast)] {
        for record in rows.records() {
            let family = record.row.index.to_string();
            questions.push(ask_sentiment(&record, format!("{family}/{side}"), family)?.with("side", side));
        }
    }
    let rows = joined(source.path, vec![original, contrast]);
    questions.iter_mut().enumerate().for_each(|(number, question)| question.doc_id = number);
    Asked { metrics: METRICS, ..SENTIMENT }.task(source, &rows, questions)
}

fn yes_or_no(source: &Source<'_>) -> Result<Task, HarnessError> {
    let path = source.file(&["boolq_perturbed.json", "{}.json"])?;
    let mut rows = json_rows(&path, families, "`data` with passages, questions and perturbed questions")?;
    let questions = ask_all(source, &mut rows, ask_boolq)?;
    let asked = Asked {
        version: "1",
        output_type: OutputType::MultipleChoice,
        metrics: METRICS,
        templates: &[("doc_to_text", "{{passage}}\nQuestion: {{question}}?\nAnswer:")],
    };
    asked.task(source, &rows, questions)
}

/// One object a question: its passage, family, side, text and answer.
fn families(value: &Value) -> Option<Vec<Map<String, Value>>> {
    let mut found = Vec::new();
    for (family, entry) in value.get("data")?.as_array()?.iter().enumerate() {
        let passage = entry.get("paragraph")?;
        if entry.get("answer")?.as_str() == Some("Gold Answer") {
            continue;
        }
        let mut add = |side: &str, question: &Value, answer: &Value| {
            if question.as_str().is_none_or(|text| !text.is_empty()) {
                let (family, side) = (Value::from(family), Value::from(side));
                let fields = [
                    ("family", &family),
                    ("side", &side),
                    ("passage", passage),
                    ("question", question),
                    ("answer", answer),
                ];
                found.push(fields.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect());
            }
        };
        add("original", entry.get("question")?, entry.get("answer")?);
        for edit in entry.get("perturbed_questions")?.as_array()? {
            add("contrast", edit.get("perturbed_q")?, edit.get("answer")?);
        }
    }
    Some(found)
}

fn ask_boolq(record: &Record<'_>) -> Result<Question, HarnessError> {
    let right = match record.text("answer")?.trim().to_uppercase().as_str() {
        "FALSE" => 0,
        "TRUE" => 1,
        other => return Err(record.refuse("answer", format!("{other:?} is neither TRUE nor FALSE"))),
    };
    let prompt = format!("{}\nQuestion: {}?\nAnswer:", record.text("passage")?, record.text("question")?);
    let (family, side) = (record.text_or_number("family")?, record.text("side")?);
    let id = format!("{family}/{side} {}", record.row.index);
    let choices = ["no", "yes"].map(str::to_owned).to_vec();
    let label = if right == 0 { "no" } else { "yes" };
    let asked = super::question(record, id, family).asking(&prompt, " ", choices, Some(right));
    Ok(asked.with("side", side).with("label", label))
}
