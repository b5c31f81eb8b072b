//! Facts that a model may know (Meng et al. 2022, ROME): prompts that end before an attribute of a subject.

use super::{Asked, ask_all, loglikelihood, optional, question};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::error::HarnessError;
use crate::harness::question::{Question, Target};
use crate::harness::task::{OutputType, Task};

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "rome_knowns",
    groups: &["mediation", "bias"],
    description: "Whether a fact's attribute is what greedy decoding writes after its prompt, and how likely it is.",
    files: "known_1000.json of rome.baulab.info (`known_id`, `subject`, `attribute`, `template`, `prediction`, `prompt`, `relation_id`), or rows with \
            `prompt` and `attribute` as JSON, JSONL or CSV.",
    hub: None,
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let mut rows = source.rows(&["known_1000.json", "{}.jsonl", "{}.json"])?;
    let questions = ask_all(source, &mut rows, |record| {
        let (prompt, attribute) = (record.text("prompt")?.trim_end(), record.text("attribute")?.trim());
        let id = optional(record, "known_id").unwrap_or_else(|| record.row.index.to_string());
        let subject = optional(record, "subject").unwrap_or_else(|| id.clone());
        let asked = Question {
            requests: vec![loglikelihood(prompt, format!(" {attribute}"))],
            target: Target::Texts { texts: vec![attribute.to_owned()] },
            ..question(record, &id, subject)
        };
        Ok(match optional(record, "relation_id") {
            Some(relation) => asked.with("group", relation),
            None => asked,
        })
    })?;
    let asked = Asked {
        version: "1",
        output_type: OutputType::Loglikelihood,
        metrics: &["continuation.greedy", "continuation.logprob"],
        templates: &[("doc_to_text", "{{prompt}}"), ("doc_to_target", "{{attribute}}"), ("target_delimiter", " ")],
    };
    asked.task(source, &rows, questions)
}
