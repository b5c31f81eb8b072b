//! Indirect object identification (Wang et al. 2022): to whom something is given, the one of two names that stands once.

use super::{Asked, ask_all, question};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::Record;
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

pub(super) const TASKS: &[BuiltIn] = &[BuiltIn {
    id: "ioi",
    groups: &["mediation", "bias"],
    description: "The indirect object against the subject, which stands twice in the prompt.",
    files: "Rows of `prompt` (up to the name) and `answer` (the indirect object) as JSON, JSONL or CSV, such as ioi_dual_path.json of \
            lab-paper-code/dual_path_attribution; `subject` where it is given, else the name that stands twice in the prompt.",
    hub: None,
    load,
}];

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let mut rows = source.rows(&["ioi_dual_path.json", "ioi.jsonl", "{}.jsonl", "{}.json"])?;
    let questions = ask_all(source, &mut rows, ask)?;
    let asked = Asked {
        version: "1",
        output_type: OutputType::MultipleChoice,
        metrics: &["acc@lm-eval", "preference.log_odds"],
        templates: &[("doc_to_text", "{{prompt}}"), ("target_delimiter", " ")],
    };
    asked.task(source, &rows, questions)
}

fn ask(record: &Record<'_>) -> Result<Question, HarnessError> {
    let (prompt, answer) = (record.text("prompt")?.trim_end(), record.text("answer")?.trim());
    let subject = match super::optional(record, "subject") {
        Some(subject) => subject,
        None => repeated(prompt, answer).ok_or_else(|| {
            record.refuse("prompt", format!("no name but {answer:?} stands twice in it; give the field `subject`"))
        })?,
    };
    let id = super::optional(record, "case_id").unwrap_or_else(|| record.row.index.to_string());
    Ok(question(record, &id, &id).asking(prompt, " ", vec![answer.to_owned(), subject], Some(0)))
}

/// The only capitalised word that stands twice or more, the answer aside.
fn repeated(prompt: &str, answer: &str) -> Option<String> {
    let words: Vec<&str> = prompt.split(|c: char| !c.is_alphanumeric() && c != '\'').collect();
    let is_name = |word: &&&str| word.chars().next().is_some_and(char::is_uppercase) && **word != answer;
    let mut twice: Vec<&str> = words
        .iter()
        .filter(is_name)
        .filter(|word| words.iter().filter(|other| other == word).count() > 1)
        .copied()
        .collect();
    twice.sort_unstable();
    twice.dedup();
    match twice.as_slice() {
        [one] => Some((*one).to_owned()),
        _ => None,
    }
}
