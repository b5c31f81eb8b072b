//! ARC: science questions of grade schools (Clark et al. 2018).

use super::{Ask, Document, Standard};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::task::Task;

const FILES: &str = "The hub's rows (`id`, `question`, `choices` {`text`, `label`}, `answerKey`; allenai/ai2_arc, test split) as Parquet or \
                     JSONL, or the released JSONL (ARC-Easy-Test.jsonl, ARC-Challenge-Test.jsonl: `id`, `question` {`stem`, `choices` \
                     [{`text`, `label`}]}, `answerKey`). A folder may hold the train split beside it for examples.";

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "arc_easy",
        groups: &["ai2_arc", "standard"],
        description: "Science questions of grade schools that word statistics answer.",
        files: FILES,
        hub: Some("allenai/ai2_arc"),
        load: |source| load(source, "Easy"),
    },
    BuiltIn {
        id: "arc_challenge",
        groups: &["ai2_arc", "standard"],
        description: "Science questions of grade schools that word statistics do not answer.",
        files: FILES,
        hub: Some("allenai/ai2_arc"),
        load: |source| load(source, "Challenge"),
    },
];

fn load(source: &Source<'_>, set: &str) -> Result<Task, HarnessError> {
    let names = |split: &str, released: &str| {
        vec![
            format!("ARC-{set}-{released}.jsonl"),
            format!("{split}-{{}}.parquet"),
            format!("{split}.parquet"),
            format!("{split}.jsonl"),
            format!("{split}.json"),
        ]
    };
    let standard = Standard {
        names: names("test", "Test"),
        examples: names("train", "Train"),
        templates: &[
            ("doc_to_text", "Question: {{question}}\nAnswer:"),
            ("doc_to_target", "{{choices.label.index(answerKey)}}"),
            ("doc_to_choice", "{{choices.text}}"),
        ],
        ..Standard::choices("1.0", &["acc@lm-eval", "acc_norm@lm-eval"])
    };
    standard.load(source, document)
}

fn document(record: &Record<'_>) -> Result<Document, HarnessError> {
    let (question, choices, labels) = match record.value("question")?.as_str() {
        Some(question) => {
            let choices = record.object("choices")?;
            let list = |name: &str| match choices.get(name) {
                Some(value) => record.texts_of(&format!("choices.{name}"), value),
                None => Err(record.refuse(&format!("choices.{name}"), "it is missing")),
            };
            (question, list("text")?, list("label")?)
        }
        None => released(record)?,
    };
    if labels.len() != choices.len() {
        return Err(record.refuse("choices", format!("{} texts and {} labels", choices.len(), labels.len())));
    }
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let right = record.one_of("answerKey", &labels)?;
    let context = format!("Question: {question}\nAnswer:");
    let mut document = Document::of(record, Ask::Choice { context, choices, right: vec![right] });
    document.id = Some(record.text_or_number("id")?);
    Ok(document)
}

type Parts<'a> = (&'a str, Vec<String>, Vec<String>);

/// The released form: a question that holds its stem and its choices.
fn released<'a>(record: &Record<'a>) -> Result<Parts<'a>, HarnessError> {
    let question = record.object("question")?;
    let missing = |field: &str| record.refuse(field, "it is missing or of another kind");
    let stem = question.get("stem").and_then(|stem| stem.as_str()).ok_or_else(|| missing("question.stem"))?;
    let choices = question.get("choices").and_then(|choices| choices.as_array());
    let choices = choices.ok_or_else(|| missing("question.choices"))?;
    let part = |name: &str| -> Result<Vec<String>, HarnessError> {
        let text = |choice: &serde_json::Value| choice.get(name).and_then(|text| text.as_str()).map(str::to_owned);
        choices.iter().map(text).collect::<Option<_>>().ok_or_else(|| missing(&format!("question.choices.{name}")))
    };
    Ok((stem, part("text")?, part("label")?))
}
