//! BBQ (Parrish et al. 2022): questions with a stereotyped, another and an unknown answer, in contexts that leave it open or say it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Asked, ask_all, each, files_of, generation, joined, question};
use crate::base::files;
use crate::harness::builtin::{BuiltIn, Source};
use crate::harness::data::{Record, Rows, read_rows};
use crate::harness::error::HarnessError;
use crate::harness::metric::bias::bbq_roles::Roles;
use crate::harness::question::{Question, Request, Target};
use crate::harness::task::{OutputType, Task};

const FILES: &str = "The release's JSONL files, one a category (nyu-mll/BBQ, data/Age.jsonl …), one of them or their folder; or the hub's copy \
                     (oskarvanderwal/bbq, configuration All or one category) as JSONL or Parquet. A folder may hold the release's \
                     additional_metadata.csv, which names the target of each item and tells proper names from descriptions.";

const METRICS: &[&str] = &[
    "bbq.accuracy@lm-eval",
    "bbq.bias_ambiguous@lm-eval",
    "bbq.bias_disambiguated@lm-eval",
    "bbq.accuracy@authors",
    "bbq.bias_ambiguous@authors",
    "bbq.bias_disambiguated@authors",
    "bbq.accuracy@helm",
    "bbq.bias_ambiguous@helm",
    "bbq.bias_disambiguated@helm",
    "bbq.unread",
];

const LM_EVAL: Asked = Asked {
    version: "1.0",
    output_type: OutputType::MultipleChoice,
    metrics: METRICS,
    templates: &[("doc_to_text", "{{context}}\n\nQ: {{question}}\nA:")],
};

macro_rules! task {
    ($id:literal, $description:literal, $form:ident, $contexts:ident) => {
        BuiltIn {
            id: $id,
            groups: &["social_bias", "bbq_tasks", "bias"],
            description: $description,
            files: FILES,
            hub: Some("oskarvanderwal/bbq"),
            load: |source| load(source, Form::$form, Contexts::$contexts),
        }
    };
}

pub(super) const TASKS: &[BuiltIn] = &[
    task!(
        "bbq",
        "BBQ with lm-eval's prompt and its twelve choices: two named answers and ten phrasings of unknown.",
        Twelve,
        Both
    ),
    task!("bbq_ambig", "The ambiguous contexts of bbq.", Twelve, Ambiguous),
    task!("bbq_disambig", "The disambiguated contexts of bbq.", Twelve, Disambiguated),
    task!("bbq_generate", "BBQ with lm-eval's prompt, answered in free text.", Generate, Both),
    task!(
        "bbq_given_options",
        "BBQ with lm-eval's prompt and the three answers that each document gives.",
        Given,
        Both
    ),
    task!(
        "bbq_letters",
        "BBQ with HELM's prompt: passage, question, three lettered answers, and a letter as the answer.",
        Letters,
        Both
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Twelve,
    Given,
    Letters,
    Generate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Contexts {
    Both,
    Ambiguous,
    Disambiguated,
}

fn load(source: &Source<'_>, form: Form, contexts: Contexts) -> Result<Task, HarnessError> {
    let mut paths = files_of(source, &[".jsonl", ".parquet", ".json"])?;
    paths
        .retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with("additional_metadata")));
    let mut rows = joined(source.path, each(source, &paths)?);
    let metadata = Metadata::beside(source)?;
    let questions = ask_all(source, &mut rows, |record| ask(record, form, metadata.as_ref()))?;
    let kept = |question: &Question| match contexts {
        Contexts::Both => true,
        Contexts::Ambiguous => question.column("context_condition") == Some("ambig"),
        Contexts::Disambiguated => question.column("context_condition") == Some("disambig"),
    };
    let mut questions: Vec<Question> = questions.into_iter().filter(kept).collect();
    // lm-eval numbers the documents that its filter leaves.
    if contexts != Contexts::Both {
        questions.iter_mut().enumerate().for_each(|(number, question)| question.doc_id = number);
    }
    let asked = match form {
        Form::Twelve | Form::Given => LM_EVAL,
        Form::Generate => Asked { output_type: OutputType::GenerateUntil, ..LM_EVAL },
        Form::Letters => Asked {
            version: "1",
            templates: &[(
                "doc_to_text",
                "Passage: {{context}}\nQuestion: {{question}}\nA. {{ans0}}\nB. {{ans1}}\nC. {{ans2}}\nAnswer:",
            )],
            ..LM_EVAL
        },
    };
    let mut task = asked.task(source, &rows, questions)?;
    task.documents = task.questions.len();
    Ok(task)
}

fn ask(record: &Record<'_>, form: Form, metadata: Option<&Metadata>) -> Result<Question, HarnessError> {
    let roles = Roles::of(&record.row.fields).map_err(|bad| record.refuse(&bad.field, bad.message))?;
    let (context, text) = (record.text("context")?, record.text("question")?);
    let example = record.text_or_number("example_id")?;
    let index = record.text_or_number("question_index")?;
    let id = format!("{}/{example}", roles.category);
    let mut asked = question(record, &id, format!("{}/{index}", roles.category))
        .with("category", &roles.category)
        .with("context_condition", record.text("context_condition")?)
        .with("question_polarity", record.text("question_polarity")?);
    if let Some(metadata) = metadata {
        // An item without a target is given an empty one: the authors leave it out.
        let (target, label_type) = metadata.of(&roles.category, &example);
        asked = asked.with("target_loc", target).with("label_type", label_type);
    }
    let prompt = format!("{context}\n\nQ: {text}\nA:");
    let twelve = || {
        let missing = || record.refuse("ans0", "none of the answers is one of lm-eval's phrasings of unknown");
        roles.lm_eval_choices().ok_or_else(missing)
    };
    Ok(match form {
        Form::Given => asked.asking(&prompt, " ", roles.answers.clone(), Some(roles.label)),
        Form::Letters => {
            let [a, b, c] = roles.answers.as_slice() else {
                return Err(record.refuse("ans0", "there are not three answers"));
            };
            let prompt = format!("Passage: {context}\nQuestion: {text}\nA. {a}\nB. {b}\nC. {c}\nAnswer:");
            let letters = ["A", "B", "C"].map(str::to_owned).to_vec();
            Question { choices: roles.answers.clone(), ..asked.asking(&prompt, " ", letters, Some(roles.label)) }
        }
        Form::Twelve | Form::Generate => {
            let choices = twelve()?;
            let indexes = match roles.answers.get(roles.label).and_then(|right| choices.iter().position(|c| c == right))
            {
                Some(named) if named < 2 => vec![named],
                _ => (2..choices.len()).collect(),
            };
            let target = Target::Choices { indexes };
            let doc = processed(record, &roles);
            match form {
                Form::Generate => {
                    let requests: Vec<Request> = vec![generation(&prompt, 256, 0.0, &["\n\n"])];
                    Question { doc, requests, choices, target, ..asked }
                }
                _ => Question { doc, target, ..asked.asking(&prompt, " ", choices, None) },
            }
        }
    })
}

/// The document with the fields that lm-eval adds before it hashes it.
fn processed(record: &Record<'_>, roles: &Roles) -> serde_json::Map<String, Value> {
    let mut doc = record.row.fields.clone();
    let biased: Vec<&String> = roles.biased.iter().filter_map(|&index| roles.answers.get(index)).collect();
    doc.insert("biased_answers".into(), biased.into_iter().cloned().collect());
    for (index, groups) in roles.groups.iter().enumerate() {
        doc.insert(format!("ans{index}_groups"), groups.iter().cloned().collect());
    }
    doc
}

/// The release's additional metadata: by category and example, the target's place and whether it is a proper name.
struct Metadata(BTreeMap<(String, String), (String, String)>);

impl Metadata {
    fn beside(source: &Source<'_>) -> Result<Option<Self>, HarnessError> {
        let folder = if files::is_folder(source.path) { Some(source.path) } else { source.path.parent() };
        let Some(path) = folder.map(|folder| folder.join("additional_metadata.csv")).filter(|path| files::exists(path))
        else {
            return Ok(None);
        };
        let rows: Rows = read_rows(&path, 0)?;
        rows.require(&["category", "example_id", "target_loc"])?;
        let mut found = BTreeMap::new();
        for record in rows.records() {
            let key = (record.text_or_number("category")?, record.text_or_number("example_id")?);
            let target = record.get("target_loc").and_then(|_| record.integer("target_loc").ok());
            let target = target.map(|target| target.to_string()).unwrap_or_default();
            found.insert(key, (target, record.text_or_number("label_type").unwrap_or_default()));
        }
        Ok(Some(Self(found)))
    }

    fn of(&self, category: &str, example: &str) -> (&str, &str) {
        let found = self.0.get(&(category.to_owned(), example.to_owned()));
        found.map_or(("", ""), |(target, label_type)| (target, label_type))
    }
}
