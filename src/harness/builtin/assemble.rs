//! From questions to a task.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::base::Digest;
use crate::harness::data::Rows;
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, task_metric};
use crate::harness::question::Question;
use crate::harness::task::{OutputType, Task};

/// What a built-in task is, besides its questions.
#[derive(Debug, Clone)]
pub struct Definition<'a> {
    /// Its name.
    pub id: &'a str,
    /// The version of its definition, lm-eval's where lm-eval has the task.
    pub version: &'a str,
    /// What it asks for.
    pub output_type: OutputType,
    /// Its metrics by name.
    pub metrics: &'a [&'a str],
    /// Examples before each question.
    pub num_fewshot: usize,
    /// What else a results file says of it: lm-eval's fields and values.
    pub config: Map<String, Value>,
}

/// The task of a file's questions; `rows` are the file, before any was refused.
pub fn assemble(definition: Definition<'_>, rows: &Rows, questions: Vec<Question>) -> Task {
    let Definition { id, version, output_type, metrics, num_fewshot, config } = definition;
    let mut resolved = Map::from_iter([
        ("task".to_owned(), Value::from(id)),
        ("output_type".to_owned(), Value::from(output_type.name())),
        ("num_fewshot".to_owned(), Value::from(num_fewshot)),
        ("metric_list".to_owned(), metrics.iter().map(|metric| json!({"metric": metric})).collect()),
        ("metadata".to_owned(), json!({"version": version})),
    ]);
    resolved.extend(config);
    Task {
        id: id.into(),
        alias: None,
        version: version.into(),
        output_type,
        documents: rows.rows.len(),
        digest: Digest::clone(&rows.digest),
        bad_rows: rows.bad.clone(),
        metrics: metrics.iter().map(|metric| MetricUse::plain(metric)).collect(),
        questions,
        num_fewshot,
        config: resolved,
    }
}

impl Task {
    /// Holds what a run relies on: the questions' ids differ, each asks something, a right choice is one of the choices,
    /// and the metrics exist.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn check(&self) -> Result<(), HarnessError> {
        let refuse = |message| HarnessError::Task { task: self.id.clone(), message };
        let mut seen = BTreeSet::new();
        for question in &self.questions {
            if !seen.insert(question.id.as_str()) {
                return Err(refuse(format!(
                    "two questions have the id {:?}; ids align items across runs",
                    question.id
                )));
            }
            if question.requests.is_empty() {
                return Err(refuse(format!("question {:?} asks nothing", question.id)));
            }
            if let Some(label) = question.label_outside() {
                let options = question.choices.len();
                let message = format!("question {:?} has the label {label} for {options} choices", question.id);
                return Err(refuse(message));
            }
        }
        self.metrics.iter().try_for_each(|metric| task_metric(&metric.id).map(|_| ()))
    }
}
