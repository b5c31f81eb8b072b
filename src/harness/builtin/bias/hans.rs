//! HANS (McCoy et al. 2019): entailment where shallow heuristics mislead.

use super::{Asked, ask_all, optional, question, tabbed};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

const FILES: &str = "The release's heuristics_evaluation_set.txt (tab-separated) or .jsonl (tommccoy1/hans: `gold_label`, `sentence1`, `sentence2`, \
                     `pairID`, `heuristic`, `subcase`, `template`), or the hub's rows (jhu-cogsci/hans: `premise`, `hypothesis`, `label`, …) \
                     as JSONL or Parquet.";

macro_rules! task {
    ($id:literal, $description:literal, $labels:ident) => {
        BuiltIn {
            id: $id,
            groups: &["hans_tasks", "bias"],
            description: $description,
            files: FILES,
            hub: Some("jhu-cogsci/hans"),
            load: |source| load(source, Labels::$labels),
        }
    };
}

pub(super) const TASKS: &[BuiltIn] = &[
    task!("hans", "Whether one sentence follows from another, true or false, with lm-eval's prompt for RTE.", Two),
    task!(
        "hans_three_labels",
        "The same with lm-eval's prompt for MNLI: true, neither or false; the last two are non-entailment.",
        Three
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Labels {
    Two,
    Three,
}

const ASKED: Asked = Asked {
    version: "1",
    output_type: OutputType::MultipleChoice,
    metrics: &["hans.accuracy", "hans.gap"],
    templates: &[("doc_to_text", "{{sentence1}}\nQuestion: {{sentence2}} True or False?\nAnswer:")],
};

fn load(source: &Source<'_>, labels: Labels) -> Result<Task, HarnessError> {
    let names =
        ["heuristics_evaluation_set.jsonl", "heuristics_evaluation_set.txt", "validation-{}.parquet", "{}.jsonl"];
    let path = source.file(&names)?;
    let mut rows: Rows = match path.extension().is_some_and(|extension| extension == "txt") {
        true => tabbed(&path)?,
        false => read_rows(&path, source.max_bad_rows)?,
    };
    let questions = ask_all(source, &mut rows, |record| ask(record, labels))?;
    match labels {
        Labels::Two => ASKED.task(source, &rows, questions),
        Labels::Three => {
            let templates = &[(
                "doc_to_text",
                "{{sentence1}}\nQuestion: {{sentence2.strip().rstrip('.')}}. True, False or Neither?\nAnswer:",
            )];
            Asked { templates, ..ASKED }.task(source, &rows, questions)
        }
    }
}

fn ask(record: &Record<'_>, labels: Labels) -> Result<Question, HarnessError> {
    let is_hub = record.get("premise").is_some();
    let (first, second) = if is_hub { ("premise", "hypothesis") } else { ("sentence1", "sentence2") };
    let (premise, hypothesis) = (record.text(first)?, record.text(second)?);
    let gold = match is_hub {
        true => record.label("label", 2)?,
        false => record.one_of("gold_label", &["entailment", "non-entailment"])?,
    };
    let gold_name = if gold == 0 { "entailment" } else { "non-entailment" };
    let id = optional(record, "pairID").unwrap_or_else(|| record.row.index.to_string());
    let asked = question(record, id, record.text("template")?);
    let asked = match labels {
        Labels::Two => {
            let prompt = format!("{premise}\nQuestion: {hypothesis} True or False?\nAnswer:");
            asked.asking(&prompt, " ", ["True", "False"].map(str::to_owned).to_vec(), Some(gold))
        }
        Labels::Three => {
            let statement = hypothesis.trim().trim_end_matches('.');
            let prompt = format!("{premise}\nQuestion: {statement}. True, False or Neither?\nAnswer:");
            asked.asking(&prompt, " ", ["True", "Neither", "False"].map(str::to_owned).to_vec(), None)
        }
    };
    let asked = asked.with("gold_label", gold_name).with("heuristic", record.text("heuristic")?);
    Ok(asked.with("subcase", record.text("subcase")?))
}
