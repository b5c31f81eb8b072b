//! The metrics of tasks: named variants, each with its formula and source, one file a family.

pub mod bias;
mod choice;
mod golden;
mod perturbation;

pub use choice::{ALL, add_unconditional, unconditional_context, words};
pub use golden::{GoldenCase, golden_cases};
use serde_json::{Map, Value};

use super::error::HarnessError;
use super::question::Answered;
use crate::base::suggestion;
use crate::stats::{Direction, Objective};
use crate::trust::metric::Sample;

/// From answered questions to per-item values.
pub type Collect = fn(&[Answered], &MetricUse) -> Result<Vec<Sample>, HarnessError>;

/// A metric of answered questions.
pub struct TaskMetric {
    /// Its name with the variant after `@`, such as `bbq.bias_ambiguous@lm-eval`.
    pub id: &'static str,
    /// The version of its definition; scores of different versions are not compared.
    pub version: u32,
    /// The objective that it speaks of.
    pub objective: Objective,
    /// The unit of its value.
    pub unit: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// What it says, in one sentence.
    pub definition: &'static str,
    /// The formula, in symbols that it explains.
    pub formula: &'static str,
    /// Paper, or repository and file, that the formula comes from.
    pub source: &'static str,
    /// How it differs from its other variants; empty where it is the only one.
    pub differs: &'static str,
    /// What is resampled together for its interval.
    pub cluster: &'static str,
    /// Per-item values, one sample a population (the whole task, a category, a subset).
    pub collect: Collect,
}

/// A metric as a task asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricUse {
    /// [`TaskMetric::id`].
    pub id: String,
    /// Its arguments, such as `ignore_case`.
    pub arguments: Map<String, Value>,
}

impl MetricUse {
    /// A metric without arguments.
    pub fn plain(id: &str) -> Self {
        Self { id: id.into(), arguments: Map::new() }
    }
}

/// All metrics of tasks, in the order in which they are listed: one slice a file.
pub static TASK_METRICS: &[&[TaskMetric]] = &[
    choice::ACCURACY,
    choice::TEXT,
    choice::LIKELIHOOD,
    choice::CALIBRATION,
    choice::OUTCOME,
    bias::BBQ,
    bias::CROWS_PAIRS,
    bias::STEREOSET,
    bias::WINOBIAS,
    bias::WINOGENDER,
    bias::HANS,
    bias::GROUP,
    bias::FAIRNESS,
    bias::COUNTERFACTUAL,
    bias::CONTRAST,
    bias::PROFESSIONS,
    bias::PREFERENCE,
    bias::GENERATION,
    perturbation::METRICS,
];

pub use perturbation::{
    Gate, SUITE_METRICS, SUITE_TEXT_METRICS, SentimentLexicon, cosine, embedding_similarity, gate, mean_hidden_states,
    wasserstein,
};

/// The metric of that name.
///
/// # Errors
/// [`HarnessError::Unknown`] with the nearest name.
pub fn task_metric(id: &str) -> Result<&'static TaskMetric, HarnessError> {
    let all = || TASK_METRICS.iter().copied().flatten();
    all().find(|metric| metric.id == id).ok_or_else(|| HarnessError::Unknown {
        what: "metric",
        given: id.into(),
        hint: suggestion(id, all().map(|metric| metric.id)).map(str::to_owned),
    })
}
