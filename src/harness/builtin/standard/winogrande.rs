//! WinoGrande by partial evaluation: each option is put into the blank, and what stands behind it is scored (Sakaguchi et al.
//! 2019; Trinh and Le 2018).

use super::{Ask, Document, Standard};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::task::Task;

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "winogrande",
    groups: &["standard"],
    description: "Which of two nouns a blank stands for.",
    files: "The released dev.jsonl (`qID`, `sentence` with one `_`, `option1`, `option2`, `answer` \"1\" or \"2\") or the hub's \
            validation split (allenai/winogrande, winogrande_xl; without `qID`) as Parquet or JSONL; train_xl.jsonl or the train \
            split beside it for examples.",
    hub: Some("allenai/winogrande"),
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let names = |split: &str, released: &str| {
        let hub = ["-{}.parquet", ".parquet", ".jsonl", ".json"].map(|end| format!("{split}{end}"));
        std::iter::once(format!("{released}.jsonl")).chain(hub).collect()
    };
    let standard = Standard {
        names: names("validation", "dev"),
        examples: names("train", "train_xl"),
        templates: &[
            ("doc_to_text", "!function preprocess_winogrande.doc_to_text"),
            ("doc_to_target", "!function preprocess_winogrande.doc_to_target"),
            ("doc_to_choice", "!function preprocess_winogrande.doc_to_choice"),
        ],
        ..Standard::choices("1.0", &["acc@lm-eval"])
    };
    standard.load(source, document)
}

fn document(record: &Record<'_>) -> Result<Document, HarnessError> {
    let sentence = record.text("sentence")?;
    let (before, behind) = sentence.split_once('_').ok_or_else(|| record.refuse("sentence", "it has no blank `_`"))?;
    let contexts = ["option1", "option2"].map(|option| Ok(format!("{before}{}", record.text_or_number(option)?)));
    let contexts = contexts.into_iter().collect::<Result<Vec<_>, HarnessError>>()?;
    let continuation = behind.trim_matches(super::python_space).to_owned();
    let right = record.one_of("answer", &["1", "2"])?;
    Ok(Document::of(record, Ask::Context { contexts, continuation, right }))
}
