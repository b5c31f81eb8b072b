//! BoolQ: yes or no questions on a passage (Clark et al. 2019), as SuperGLUE has it.

use serde_json::Value;

use super::{Ask, Document, Standard};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::task::Task;

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "boolq",
    groups: &["super-glue-lm-eval-v1", "standard"],
    description: "Whether a passage answers a question with yes or no.",
    files: "SuperGLUE's val.jsonl (`question`, `passage`, `idx`, `label`), the released dev.jsonl (`question`, `passage`, `answer`, \
            `title`), or the hub's validation split (aps/super_glue, boolq) as Parquet or JSONL; the train split beside it for \
            examples. Labels may be 0 and 1 or false and true; documents are printed with 0 and 1, as the hub has them.",
    hub: Some("aps/super_glue"),
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let hub = |split: &str| ["-{}.parquet", ".parquet", ".jsonl", ".json"].map(|end| format!("{split}{end}"));
    let standard = Standard {
        names: ["val.jsonl", "dev.jsonl"].map(str::to_owned).into_iter().chain(hub("validation")).collect(),
        examples: hub("train").to_vec(),
        templates: &[
            ("doc_to_text", "{{passage}}\nQuestion: {{question}}?\nAnswer:"),
            ("doc_to_target", "label"),
            ("doc_to_choice", "[\"no\", \"yes\"]"),
        ],
        ..Standard::choices("2.0", &["acc@lm-eval"])
    };
    standard.load(source, document)
}

fn document(record: &Record<'_>) -> Result<Document, HarnessError> {
    let field = if record.get("label").is_some() { "label" } else { "answer" };
    let right = usize::from(record.boolean(field)?);
    let (passage, question) = (record.text("passage")?, record.text("question")?);
    let context = format!("{passage}\nQuestion: {question}?\nAnswer:");
    let choices = vec!["no".to_owned(), "yes".to_owned()];
    let mut document = Document::of(record, Ask::Choice { context, choices, right: vec![right] });
    document.doc.insert(field.into(), Value::from(right));
    Ok(document)
}
