//! MMLU: questions of examinations in 57 subjects with four choices (Hendrycks et al. 2021).

use serde_json::{Map, Value};

use super::{Ask, Document, Standard};
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows, read_rows, read_rows_under};
use crate::harness::error::HarnessError;
use crate::harness::fewshot::SamplerKind;
use crate::harness::task::Task;

const DESCRIPTION: &str = "Questions of examinations with four choices, answered by letter; the name says the subject. The first \
                           five of the dev split stand before each question.";

const FILES: &str = "The release's CSV without a header (test/anatomy_test.csv: question, four choices, letter) with dev/anatomy_dev.csv \
                     in the folder beside it, or the hub's rows (cais/mmlu: `question`, `subject`, `choices`, `answer` 0 to 3) as JSONL \
                     or Parquet, a folder a subject, with the dev split in the same folder.";

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];
const COLUMNS: [&str; 6] = ["question", "A", "B", "C", "D", "answer"];

macro_rules! subjects {
    ($($category:literal: $($subject:literal),*;)*) => {
        &[$($(BuiltIn {
            id: concat!("mmlu_", $subject),
            groups: &["mmlu", $category, "standard"],
            description: DESCRIPTION,
            files: FILES,
            hub: Some("cais/mmlu"),
            load,
        }),*),*]
    };
}

pub(super) const TASKS: &[BuiltIn] = subjects! {
    "mmlu_humanities": "formal_logic", "high_school_european_history", "high_school_us_history", "high_school_world_history", "international_law", "jurisprudence", "logical_fallacies", "moral_disputes", "moral_scenarios", "philosophy", "prehistory", "professional_law", "world_religions";
    "mmlu_other": "business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging", "management", "marketing", "medical_genetics", "miscellaneous", "nutrition", "professional_accounting", "professional_medicine", "virology";
    "mmlu_social_sciences": "econometrics", "high_school_geography", "high_school_government_and_politics", "high_school_macroeconomics", "high_school_microeconomics", "high_school_psychology", "human_sexuality", "professional_psychology", "public_relations", "security_studies", "sociology", "us_foreign_policy";
    "mmlu_stem": "abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry", "college_computer_science", "college_mathematics", "college_physics", "computer_security", "conceptual_physics", "electrical_engineering", "elementary_mathematics", "high_school_biology", "high_school_chemistry", "high_school_computer_science", "high_school_mathematics", "high_school_physics", "high_school_statistics", "machine_learning";
};

fn load(source: &Source<'_>) -> Result<Task, HarnessError> {
    let subject = source.id.strip_prefix("mmlu_").unwrap_or(source.id);
    let standard = Standard {
        sampler: SamplerKind::FirstN,
        num_fewshot: 5,
        description: format!(
            "The following are multiple choice questions (with answers) about {}.\n\n",
            subject.replace('_', " ")
        ),
        templates: &[
            (
                "doc_to_text",
                "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
            ),
            ("doc_to_target", "answer"),
            ("doc_to_choice", "[\"A\", \"B\", \"C\", \"D\"]"),
        ],
        ..Standard::choices("1.0", &["acc@lm-eval"])
    };
    let rows = split(source, subject, "test")?;
    let examples = match source.num_fewshot {
        Some(0) => None,
        _ => Some(examples(source, subject, &rows)?),
    };
    standard.load_with(source, rows, examples, |record| document(record, subject))
}

/// The names of a split's file: of the release, then of the hub.
fn names(subject: &str, split: &str) -> Vec<String> {
    vec![
        format!("{subject}_{split}.csv"),
        format!("{split}-{{}}.parquet"),
        format!("{split}.parquet"),
        format!("{split}.jsonl"),
        format!("{split}.json"),
    ]
}

fn split(source: &Source<'_>, subject: &str, split: &str) -> Result<Rows, HarnessError> {
    let inside = [source.path.join(split), source.path.join(subject)]
        .into_iter()
        .find(|path| crate::base::files::is_folder(path));
    let path = inside.as_deref().unwrap_or(source.path);
    let names = names(subject, split);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    read(&Source { path, ..*source }.file(&names)?, source.max_bad_rows)
}

/// The dev split: given, in the same folder, or in `dev` beside the folder of the test split.
fn examples(source: &Source<'_>, subject: &str, test: &Rows) -> Result<Rows, HarnessError> {
    if let Some(path) = source.examples {
        return split(&Source { path, ..*source }, subject, "dev");
    }
    let folder = test.path.parent().unwrap_or(source.path);
    let names = names(subject, "dev");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let places = [folder.to_path_buf(), folder.join("../dev")];
    let found = places.iter().find_map(|path| Source { path, ..*source }.file(&names).ok());
    match found {
        Some(path) => read(&path, source.max_bad_rows),
        None => Err(source.refuse(format!(
            "its five examples come from the dev split, and none of {} is beside {}; give it as the file of examples, or ask \
             for 0 examples",
            names.join(", "),
            test.path.display()
        ))),
    }
}

fn read(path: &std::path::Path, max_bad: usize) -> Result<Rows, HarnessError> {
    match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
        true => read_rows_under(path, &COLUMNS, max_bad),
        false => read_rows(path, max_bad),
    }
}

fn document(record: &Record<'_>, subject: &str) -> Result<Document, HarnessError> {
    let (choices, answer, doc) = match record.get("choices") {
        Some(_) => (record.texts("choices")?, record.label("answer", 4)?, record.row.fields.clone()),
        None => {
            let choices =
                LETTERS.map(|letter| record.text_or_number(letter)).into_iter().collect::<Result<Vec<_>, _>>()?;
            let answer = record.one_of("answer", &LETTERS)?;
            let doc = hub_form(record, subject, &choices, answer)?;
            (choices, answer, doc)
        }
    };
    let [a, b, c, d] = choices.as_slice() else {
        return Err(record.refuse("choices", format!("{} choices, and there must be four", choices.len())));
    };
    let question = record.text_or_number("question")?;
    let question = question.trim_matches(super::python_space);
    let context = format!("{question}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:");
    let choices = LETTERS.map(str::to_owned).to_vec();
    let document = Document { doc, ..Document::of(record, Ask::Choice { context, choices, right: vec![answer] }) };
    Ok(document.with_column("subject", subject))
}

/// A row of the release as the hub has it.
fn hub_form(
    record: &Record<'_>,
    subject: &str,
    choices: &[String],
    answer: usize,
) -> Result<Map<String, Value>, HarnessError> {
    Ok([
        ("question", Value::from(record.text_or_number("question")?)),
        ("subject", subject.into()),
        ("choices", choices.to_vec().into()),
        ("answer", answer.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect())
}
