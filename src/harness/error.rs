//! What can be wrong with a task, its data or its answers.

use std::path::PathBuf;

use crate::base::FileError;
use crate::model::ModelError;
use crate::trust::TrustError;

/// An error of this room. Each names what, where, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A pass.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The model or its tokenizer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A row of a data set that cannot be used.
    #[error("{}, line {line}: field {field:?}: {message}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// Python that a task file names and that is not known here.
    #[error("task {task}: `{function}` of {} is Python, which is not run; write the task without it, or use one whose functions are built in", file.display())]
    Function {
        /// The task.
        task: String,
        /// The function.
        function: String,
        /// The Python file that it stands in.
        file: PathBuf,
    },
    /// A row of a data set that cannot be read at all.
    #[error("{}, line {line}: {message}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// More rows that cannot be used than may be left out.
    #[error(
        "{}: {found} rows cannot be used, and at most {allowed} may be left out; the first:\n  {}",
        path.display(),
        first.join("\n  ")
    )]
    BadRows {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: usize,
        /// The first of them, each with line, field and reason.
        first: Vec<String>,
    },
    /// A task that cannot be run as it is written.
    #[error("task {task}: {message}")]
    Task {
        /// The task.
        task: String,
        /// What is wrong, and what to change.
        message: String,
    },
    /// A name that nothing has.
    #[error("no {what} is called {given:?}{}", hint.as_deref().map(|hint| format!("; did you mean {hint:?}?")).unwrap_or_default())]
    Unknown {
        /// Task, metric, perturbation.
        what: &'static str,
        /// What was asked for.
        given: String,
        /// The nearest name.
        hint: Option<String>,
    },
    /// A perturbation that cannot be done as it is asked for.
    #[error("perturbation {perturbation}: {message}")]
    Perturbation {
        /// The perturbation, or the list that should name one.
        perturbation: String,
        /// What is wrong, and what to change.
        message: String,
    },
    /// A metric that was asked of answers it cannot read.
    #[error("metric {metric}, question {question}: {message}")]
    Metric {
        /// The metric.
        metric: String,
        /// The question.
        question: String,
        /// What is missing.
        message: String,
    },
}
