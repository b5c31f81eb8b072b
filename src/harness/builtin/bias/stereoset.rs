//! StereoSet (Nadeem et al. 2021): a stereotype, an anti-stereotype and an unrelated sentence, within a sentence or after a context.

use serde_json::{Map, Value};

use super::{Asked, ask_all, json_rows, loglikelihood, question};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

const FILES: &str = "The release's dev.json (moinnadeem/StereoSet: `data` with `intrasentence` and `intersentence`), or the hub's rows \
                     (McGill-NLP/stereoset, one configuration a kind; `sentences` with lists, `gold_label` 0 anti-stereotype, 1 stereotype, \
                     2 unrelated) as JSONL or Parquet.";

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "stereoset_intrasentence",
        groups: &["stereoset", "bias"],
        description: "Which of three fillings of a sentence is likelier: stereotype, anti-stereotype, unrelated.",
        files: FILES,
        hub: Some("McGill-NLP/stereoset"),
        load: |source| load(source, Kind::Intrasentence),
    },
    BuiltIn {
        id: "stereoset_intersentence",
        groups: &["stereoset", "bias"],
        description: "Which of three sentences a context makes likelier: stereotype, anti-stereotype, unrelated.",
        files: FILES,
        hub: Some("McGill-NLP/stereoset"),
        load: |source| load(source, Kind::Intersentence),
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Intrasentence,
    Intersentence,
}

const LABELS: [&str; 3] = ["stereotype", "anti-stereotype", "unrelated"];

fn load(source: &Source<'_>, kind: Kind) -> Result<Task, HarnessError> {
    let name = if kind == Kind::Intrasentence { "intrasentence" } else { "intersentence" };
    let hub = format!("{name}{{}}");
    let path = source.file(&["dev.json", "test.json", &hub, "validation-{}.parquet"])?;
    let mut rows: Rows = match path.extension().is_some_and(|extension| extension == "json") {
        true => json_rows(&path, |value| released(value, name), "`data` with a list of examples of this kind")?,
        false => crate::harness::data::read_rows(&path, source.max_bad_rows)?,
    };
    let questions = ask_all(source, &mut rows, |record| ask(record, kind))?;
    let metrics: &[&str] = match kind {
        Kind::Intrasentence => &["stereoset.ss@authors", "stereoset.lms@authors", "stereoset.icat@authors"],
        Kind::Intersentence => &[
            "stereoset.ss@authors",
            "stereoset.lms@authors",
            "stereoset.icat@authors",
            "stereoset.ss@conditional",
            "stereoset.lms@conditional",
            "stereoset.icat@conditional",
        ],
    };
    let templates = &[("doc_to_text", "{{context}}, between sentences"), ("target_delimiter", " ")];
    Asked { version: "1", output_type: OutputType::MultipleChoice, metrics, templates }.task(source, &rows, questions)
}

/// The examples of the released file; rows of a hub's JSON list pass as they are.
fn released(value: &Value, kind: &str) -> Option<Vec<Map<String, Value>>> {
    let list = match value {
        Value::Array(list) => list,
        _ => value.get("data")?.get(kind)?.as_array()?,
    };
    list.iter().map(|example| example.as_object().cloned()).collect()
}

fn ask(record: &Record<'_>, kind: Kind) -> Result<Question, HarnessError> {
    let [stereotype, anti, unrelated] = sentences(record)?;
    let target = record.text("target")?;
    let id = record.text("id")?;
    let choices = vec![stereotype, anti, unrelated];
    let asked = match kind {
        Kind::Intrasentence => question(record, id, target).asking("", "", choices, None),
        Kind::Intersentence => {
            let alone: Vec<_> = choices.iter().map(|sentence| loglikelihood("", sentence.clone())).collect();
            let mut asked = question(record, id, target).asking(record.text("context")?, " ", choices, None);
            asked.requests.extend(alone);
            asked
        }
    };
    Ok(asked.with("bias_type", record.text("bias_type")?).with("target", target))
}

/// The sentences in the order of [`LABELS`].
fn sentences(record: &Record<'_>) -> Result<[String; 3], HarnessError> {
    let labelled: Vec<(String, String)> = match record.value("sentences")? {
        Value::Array(list) => {
            let pair = |one: &Value| {
                let text = |field: &str| one.get(field).and_then(Value::as_str).map(str::to_owned);
                text("gold_label").zip(text("sentence"))
            };
            let pairs: Option<Vec<_>> = list.iter().map(pair).collect();
            pairs.ok_or_else(|| record.refuse("sentences", "one of them lacks `sentence` or `gold_label`"))?
        }
        Value::Object(columns) => {
            let of = |field: &str| columns.get(field).and_then(Value::as_array);
            let (Some(texts), Some(labels)) = (of("sentence"), of("gold_label")) else {
                return Err(record.refuse("sentences", "it lacks the list `sentence` or `gold_label`"));
            };
            // The hub's class names, in the order of their numbers.
            let name =
                |label: &Value| ["anti-stereotype", "stereotype", "unrelated"].get(label.as_u64()? as usize).copied();
            let pair = |(label, text): (&Value, &Value)| Some((name(label)?.to_owned(), text.as_str()?.to_owned()));
            let pairs: Option<Vec<_>> = labels.iter().zip(texts).map(pair).collect();
            pairs.ok_or_else(|| record.refuse("sentences", "a label is not 0, 1 or 2, or a sentence not a text"))?
        }
        _ => return Err(record.refuse("sentences", "it is neither a list nor an object of lists")),
    };
    let find = |label: &str| {
        let mut of_label = labelled.iter().filter(|(found, _)| found == label);
        match (of_label.next(), of_label.next()) {
            (Some((_, sentence)), None) => Ok(sentence.clone()),
            _ => Err(record.refuse("sentences", format!("not exactly one of them is the {label}"))),
        }
    };
    let [stereotype, anti, unrelated] = LABELS.map(find);
    Ok([stereotype?, anti?, unrelated?])
}
