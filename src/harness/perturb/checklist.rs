//! Behavioural tests that a user declares, after CheckList (Ribeiro et al. 2020): minimum functionality, invariance, direction.
//!
//! A file holds cases, one JSON object a line, or `[[cases]]` in TOML:
//!
//! ```text
//! {"test": "negated copula", "kind": "mft", "choices": ["good", "bad"], "examples": [{"context": "It is not good. It is", "target": 1}]}
//! {"test": "names", "kind": "inv", "choices": ["yes", "no"], "tolerance": 0.1, "examples": [{"context": "…"}, {"context": "…"}]}
//! {"test": "adding praise", "kind": "dir", "choices": ["good", "bad"], "expect": "increase", "label": 0, "examples": […, …]}
//! ```
//!
//! Of `inv` and `dir` the first example is the original that the others are held against. The answers are `delimiter` (a blank) and the choice.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base::{Digest, files};
use crate::harness::metric::MetricUse;
use crate::harness::question::{Question, Request, Target, Variant};
use crate::harness::{HarnessError, OutputType, Task};

/// What kind of behavioural test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseKind {
    /// Minimum functionality: each example is answered right.
    Mft,
    /// Invariance: each example is answered as the first is.
    Inv,
    /// Direction: the probability of a choice moves the stated way, or not against it.
    Dir,
}

impl CaseKind {
    /// Its name in files and columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mft => "mft",
            Self::Inv => "inv",
            Self::Dir => "dir",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    test: String,
    kind: CaseKind,
    choices: Vec<String>,
    #[serde(default = "blank")]
    delimiter: String,
    expect: Option<Way>,
    label: Option<usize>,
    tolerance: Option<f64>,
    examples: Vec<Example>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Increase,
    Decrease,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    context: String,
    target: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

fn blank() -> String {
    " ".into()
}

/// Reads a file of cases as a task that can be answered and measured like any other; its metrics are CheckList's failure rates.
///
/// # Errors
/// A file that is not as described, a case that its kind cannot judge: each with the case's number.
pub fn checklist(path: &Path) -> Result<Task, HarnessError> {
    let toml = path.extension().is_some_and(|extension| extension == "toml");
    let cases: Vec<Case> = if toml { files::read_toml::<Cases>(path)?.cases } else { files::read_jsonl(path)? };
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let refuse = |number: usize, message: &str| HarnessError::Task {
        task: name.clone(),
        message: format!("{}, case {}: {message}", path.display(), number + 1),
    };
    if cases.is_empty() {
        return Err(HarnessError::Task { task: name, message: format!("{} holds no case", path.display()) });
    }
    let mut questions = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        check(case).map_err(|message| refuse(number, message))?;
        questions
            .extend(case.examples.iter().enumerate().map(|(place, example)| question(number, case, place, example)));
    }
    let text = files::read_text(path)?;
    let documents = questions.len();
    (0..).zip(&mut questions).for_each(|(number, question)| question.doc_id = number);
    Ok(Task {
        id: name,
        alias: None,
        version: "1".into(),
        output_type: OutputType::MultipleChoice,
        questions,
        metrics: ["mft", "inv", "dir"].map(|kind| MetricUse::plain(&format!("checklist.failure_rate@{kind}"))).into(),
        num_fewshot: 0,
        digest: Digest::of(text.as_bytes()),
        documents,
        bad_rows: Vec::new(),
        config: Map::from_iter([("checklist".to_owned(), json!(path.display().to_string()))]),
    })
}

fn check(case: &Case) -> Result<(), &'static str> {
    let in_range = |index: &usize| *index < case.choices.len();
    let pairs = matches!(case.kind, CaseKind::Inv | CaseKind::Dir);
    if case.choices.len() < 2 {
        return Err("it needs at least two choices");
    }
    if case.examples.is_empty() || (pairs && case.examples.len() < 2) {
        return Err("`mft` needs an example, `inv` and `dir` an original and at least one other");
    }
    if case.kind == CaseKind::Mft && case.examples.iter().any(|example| example.target.is_none()) {
        return Err("each example of `mft` needs a `target`, the index of the right choice");
    }
    if case.kind == CaseKind::Dir && case.expect.is_none() {
        return Err("`dir` needs `expect`: increase or decrease");
    }
    let targets = case.examples.iter().filter_map(|example| example.target.as_ref());
    if !targets.chain(case.label.as_ref()).all(in_range) {
        return Err("`target` and `label` are indexes of choices, from 0");
    }
    match case.tolerance {
        Some(tolerance) if !(0.0..=1.0).contains(&tolerance) => Err("`tolerance` is a probability from 0 to 1"),
        _ => Ok(()),
    }
}

fn question(number: usize, case: &Case, place: usize, example: &Example) -> Question {
    let id = |place: usize| format!("{}/{}", number + 1, place + 1);
    let mut columns = BTreeMap::from([
        ("test".to_owned(), case.test.clone()),
        ("case".to_owned(), (number + 1).to_string()),
        ("kind".to_owned(), case.kind.name().to_owned()),
    ]);
    columns.extend(case.tolerance.map(|tolerance| ("tolerance".to_owned(), tolerance.to_string())));
    columns.extend(case.label.map(|label| ("label".to_owned(), label.to_string())));
    columns.extend(case.expect.map(|way| {
        let way = if matches!(way, Way::Increase) { "increase" } else { "decrease" };
        ("expect".to_owned(), way.to_owned())
    }));
    let request = |choice: &String| Request::Loglikelihood {
        context: example.context.clone(),
        continuation: format!("{}{choice}", case.delimiter),
    };
    let original = case.examples.first().map(|first| first.context.as_str());
    Question {
        id: id(place),
        doc_id: 0,
        cluster: (number + 1).to_string(),
        doc: Map::from_iter([("context".to_owned(), Value::from(example.context.as_str()))]),
        requests: case.choices.iter().map(request).collect(),
        choices: case.choices.clone(),
        target: example.target.map_or(Target::None, |index| Target::Choices { indexes: vec![index] }),
        columns,
        variant: (place > 0 && case.kind != CaseKind::Mft).then(|| Variant {
            of: id(0),
            perturbation: case.test.clone(),
            changed: original != Some(example.context.as_str()),
            order: vec![],
        }),
    }
}
