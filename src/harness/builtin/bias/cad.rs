//! Counterfactually augmented data (Kaushik et al. 2020): texts and the small revisions that change their label.

use super::{Asked, ask_all, joined, question};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "cad_sentiment",
        groups: &["cad", "contrast", "bias"],
        description: "The sentiment of reviews and of their revisions, in families.",
        files: "acmi-lab/counterfactually-augmented-data, sentiment/combined/paired/{dev,train,test}_paired.tsv (`Sentiment`, `Text`, \
                `batch_id`), which does not say which of a family is the original; the file, or its folder for dev_paired.tsv.",
        hub: None,
        load: sentiment,
    },
    BuiltIn {
        id: "cad_nli",
        groups: &["cad", "contrast", "bias"],
        description: "Inference from sentences and from their revisions: four of each pair, two of its premise and two of its hypothesis.",
        files: "acmi-lab/counterfactually-augmented-data, NLI: a folder with original.dev.tsv (NLI/original/dev.tsv) and revised_combined.dev.tsv \
                (NLI/revised_combined/dev.tsv), or the same of test or train; rows 4k to 4k + 3 of the latter revise row k of the former.",
        hub: None,
        load: inference,
    },
];

const METRICS: &[&str] = &["acc@lm-eval", "contrast.consistency", "contrast.accuracy"];

pub(super) const SENTIMENT: Asked = Asked {
    version: "1",
    output_type: OutputType::MultipleChoice,
    metrics: METRICS,
    templates: &[("doc_to_text", "{{text}}\n\nQuestion: Is this review positive or negative?\nAnswer:")],
};

/// A review's question; choices are the labels of the data in lower case, as the prompt has them.
pub(super) fn ask_sentiment(record: &Record<'_>, id: String, family: String) -> Result<Question, HarnessError> {
    let prompt = format!("{}\n\nQuestion: Is this review positive or negative?\nAnswer:", record.text("Text")?);
    let right = record.one_of("Sentiment", &["Negative", "Positive"])?;
    let choices = ["negative", "positive"].map(str::to_owned).to_vec();
    let label = if right == 0 { "negative" } else { "positive" };
    Ok(question(record, id, family).asking(&prompt, " ", choices, Some(right)).with("label", label))
}

fn sentiment(source: &Source<'_>) -> Result<Task, HarnessError> {
    let mut rows = source.rows(&["dev_paired.tsv", "test_paired.tsv", "train_paired.tsv"])?;
    let mut members: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let questions = ask_all(source, &mut rows, |record| {
        let family = record.text_or_number("batch_id")?;
        let number = members.entry(family.clone()).or_default();
        *number += 1;
        ask_sentiment(record, format!("{family}/{number}"), family)
    })?;
    SENTIMENT.task(source, &rows, questions)
}

fn inference(source: &Source<'_>) -> Result<Task, HarnessError> {
    let splits = ["dev", "test", "train"];
    let named = |name: &str| splits.map(|split| format!("{name}.{split}.tsv"));
    let read = |names: [String; 3]| -> Result<Rows, HarnessError> {
        read_rows(&source.file(&names.each_ref().map(String::as_str))?, 0)
    };
    if !crate::base::files::is_folder(source.path) {
        return Err(
            source.refuse(format!("{} is not a folder; it reads original and revisions", source.path.display()))
        );
    }
    let (original, revised) = (read(named("original"))?, read(named("revised_combined"))?);
    if revised.rows.len() != 4 * original.rows.len() {
        let message =
            format!("{} originals and {} revisions; four of each are needed", original.rows.len(), revised.rows.len());
        return Err(source.refuse(message));
    }
    let first =
        |row: Option<&crate::harness::data::Row>, field: &str| row.and_then(|row| row.fields.get(field).cloned());
    let mut questions = Vec::new();
    for record in original.records() {
        questions.push(ask_inference(&record, format!("{}/original", record.row.index), record.row.index, "original")?);
    }
    for record in revised.records() {
        let (family, number) = (record.row.index / 4, record.row.index % 4);
        let base = original.rows.get(family);
        let same = |field: &str| first(base, field).as_ref() == record.get(field);
        let part = match (same("sentence1"), same("sentence2")) {
            (true, _) => "hypothesis",
            (false, true) => "premise",
            (false, false) => "both",
        };
        let asked = ask_inference(&record, format!("{family}/revised {}", number + 1), family, "revised")?;
        questions.push(asked.with("revised", part));
    }
    let rows = joined(source.path, vec![original, revised]);
    questions.iter_mut().enumerate().for_each(|(number, question)| question.doc_id = number);
    let metrics = &["acc@lm-eval", "contrast.consistency", "contrast.accuracy", "contrast.gap"];
    let templates = &[(
        "doc_to_text",
        "{{sentence1}}\nQuestion: {{sentence2.strip().rstrip('.')}}. True, False or Neither?\nAnswer:",
    )];
    Asked { metrics, templates, ..SENTIMENT }.task(source, &rows, questions)
}

fn ask_inference(record: &Record<'_>, id: String, family: usize, side: &str) -> Result<Question, HarnessError> {
    let labels = ["entailment", "neutral", "contradiction"];
    let right = record.one_of("gold_label", &labels)?;
    let statement = record.text("sentence2")?.trim().trim_end_matches('.');
    let prompt = format!("{}\nQuestion: {statement}. True, False or Neither?\nAnswer:", record.text("sentence1")?);
    let choices = ["True", "Neither", "False"].map(str::to_owned).to_vec();
    let label = labels.get(right).copied().unwrap_or_default();
    let asked = question(record, id, family.to_string()).asking(&prompt, " ", choices, Some(right));
    Ok(asked.with("side", side).with("label", label))
}
