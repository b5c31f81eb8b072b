//! What can go wrong while tuning, and what to change.

use std::path::PathBuf;

use crate::base::FileError;
use crate::intervene::InterveneError;
use crate::model::ModelError;

/// The errors of the tuning room.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The model refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A site or a pair's alignment was refused.
    #[error(transparent)]
    Intervene(#[from] InterveneError),
    /// A file was refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The tensor library refused.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A setting has no meaning.
    #[error("tuning setting `{field}`: {message}")]
    Spec {
        /// The setting.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A training example cannot be used.
    #[error("example {id}: {message}")]
    Example {
        /// The task item, pair or text.
        id: String,
        /// What is wrong with it, and what to change.
        message: String,
    },
    /// An objective has no examples to work on.
    #[error("arm {arm}: term `{term}` has weight {weight} but there are no {missing}; add some or set its weight to 0")]
    NoExamples {
        /// The arm.
        arm: String,
        /// The term.
        term: String,
        /// Its weight.
        weight: f64,
        /// What it needs.
        missing: &'static str,
    },
    /// There are fewer other sites than a control needs.
    #[error(
        "scenario {scenario}: {needed} random sites of kind {kind} are asked for, {found} stand outside the pathway; sweep more layers or positions"
    )]
    TooFewSites {
        /// The scenario.
        scenario: String,
        /// The kind of site.
        kind: String,
        /// How many the pathway has.
        needed: usize,
        /// How many there are beside it.
        found: usize,
    },
    /// A trainable tensor is cut off from the loss.
    #[error(
        "arm {arm}: trainable tensor {tensor} {what} after step {step}: the loss does not depend on it, or an operation cut the graph"
    )]
    NoGradient {
        /// The arm.
        arm: String,
        /// The tensor.
        tensor: String,
        /// "received no gradient" or "received only zero gradients".
        what: &'static str,
        /// The step, from 0.
        step: usize,
    },
    /// A loss or gradient is NaN or infinite.
    #[error("arm {arm} step {step}: {term} is {value}; {kept}; lower the learning rate or the weight of the term")]
    NotFinite {
        /// The arm.
        arm: String,
        /// The step, from 0.
        step: usize,
        /// The term of the objective, or the gradient.
        term: String,
        /// NaN or an infinity.
        value: f64,
        /// Where the state before this step was kept.
        kept: String,
    },
    /// A checkpoint was made by another request.
    #[error("{} belongs to another run: its {what} is {found}, this run's is {expected}; give another folder or remove the file", path.display())]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// The spec, the data or the base model.
        what: &'static str,
        /// The checkpoint's.
        found: String,
        /// This run's.
        expected: String,
    },
    /// A checkpoint or exported state cannot be read.
    #[error("training state: {name} {message}")]
    State {
        /// The tensor or field.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The user asked to stop.
    #[error("arm {arm} stopped after {done} of {steps} steps; {saved}")]
    Interrupted {
        /// The arm.
        arm: String,
        /// Steps that are finished.
        done: usize,
        /// Steps that were asked for.
        steps: usize,
        /// Where the state is.
        saved: String,
    },
}

impl TuneError {
    pub(crate) fn spec(field: &str, message: String) -> Self {
        Self::Spec { field: field.into(), message }
    }

    pub(crate) fn state(name: &str, message: String) -> Self {
        Self::State { name: name.into(), message }
    }

    pub(crate) fn example(id: &str, message: impl Into<String>) -> Self {
        Self::Example { id: id.into(), message: message.into() }
    }
}
