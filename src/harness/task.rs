//! A task: its questions, and what is measured on them.

use serde_json::{Map, Value};

use super::metric::MetricUse;
use super::question::Question;
use crate::base::Digest;

/// What kind of request a task makes, under lm-eval's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputType {
    /// One log-likelihood a choice.
    MultipleChoice,
    /// One log-likelihood.
    Loglikelihood,
    /// The log-likelihood of a whole text.
    LoglikelihoodRolling,
    /// A text.
    GenerateUntil,
}

impl OutputType {
    /// lm-eval's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::MultipleChoice => "multiple_choice",
            Self::Loglikelihood => "loglikelihood",
            Self::LoglikelihoodRolling => "loglikelihood_rolling",
            Self::GenerateUntil => "generate_until",
        }
    }
}

/// A task, read and checked: nothing of it needs a model.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name, unique in a run.
    pub id: String,
    /// How tables call it, where that differs.
    pub alias: Option<String>,
    /// The version of its definition.
    pub version: String,
    /// What it asks for.
    pub output_type: OutputType,
    /// The questions in the order of their documents.
    pub questions: Vec<Question>,
    /// What is measured.
    pub metrics: Vec<MetricUse>,
    /// Examples before each question.
    pub num_fewshot: usize,
    /// The documents' digest: equal for equal data, whatever the file is called.
    pub digest: Digest,
    /// Documents in the split, before any limit.
    pub documents: usize,
    /// Rows that were left out because they could not be read, each with file, line, field and reason.
    pub bad_rows: Vec<String>,
    /// The resolved definition, as results files print it.
    pub config: Map<String, Value>,
}
