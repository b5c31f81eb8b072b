//! LAMBADA: the last word of a passage (Paperno et al. 2016).

use super::{Ask, Document, Standard};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::task::{OutputType, Task};

pub(super) const TASKS: &[BuiltIn] = &[
    BuiltIn {
        id: "lambada_openai",
        groups: &["lambada", "standard"],
        description: "The last word of a passage, in OpenAI's detokenised text.",
        files: "lambada_test_en.jsonl or the hub's test split (EleutherAI/lambada_openai) with the field `text`, as JSONL or Parquet.",
        hub: Some("EleutherAI/lambada_openai"),
        load,
    },
    BuiltIn {
        id: "lambada_standard",
        groups: &["lambada", "standard"],
        description: "The last word of a passage, in the released text: lower case, punctuation apart.",
        files: "The released lambada_test_plain_text.txt, a passage a line, or the hub's test split (cimec/lambada) with the field \
                `text`, as JSONL or Parquet.",
        hub: Some("cimec/lambada"),
        load,
    },
];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let names =
        ["lambada_test_en.jsonl", "lambada_test_plain_text.txt", "test-{}.parquet", "test.parquet", "test.jsonl"];
    let standard = Standard {
        output_type: OutputType::Loglikelihood,
        names: names.map(str::to_owned).to_vec(),
        templates: &[
            ("doc_to_text", "{{text.split(' ')[:-1]|join(' ')}}"),
            ("doc_to_target", "{{' '+text.split(' ')[-1]}}"),
        ],
        ..Standard::choices("1.0", &["perplexity@lm-eval", "acc@lm-eval"])
    };
    standard.load(source, document)
}

fn document(record: &Record<'_>) -> Result<Document, HarnessError> {
    let text = record.text("text")?;
    let (context, last) = text.rsplit_once(' ').unwrap_or(("", text));
    if last.is_empty() {
        return Err(record.refuse("text", "it ends with a space, so that there is no last word"));
    }
    let ask = Ask::Continuation { context: context.to_owned(), continuation: format!(" {last}") };
    Ok(Document::of(record, ask))
}
