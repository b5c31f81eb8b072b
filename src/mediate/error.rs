//! What can be wrong with a mediation analysis, and what to change.

use std::path::PathBuf;

use crate::base::FileError;
use crate::intervene::InterveneError;
use crate::model::ModelError;

/// Everything that this room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum MediateError {
    /// A file could not be read or written, or a line of it is malformed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A plan, a site or a pair was refused, or a run failed.
    #[error(transparent)]
    Intervene(InterveneError),
    /// There is nothing to analyse.
    #[error("{population}: no pairs to {purpose}; give at least one")]
    NoPairs {
        /// Of which pairs.
        population: String,
        /// What they are needed for.
        purpose: &'static str,
    },
    /// An attribution that cannot be made.
    #[error("attribution: {message}")]
    Attribution {
        /// What is wrong, and what to change.
        message: String,
    },
    /// A circuit that cannot be read, run or compared.
    #[error("circuit: {message}")]
    Circuit {
        /// What is wrong, and what to change.
        message: String,
    },
    /// A sweep over nothing.
    #[error("a sweep needs at least one kind of site and one direction")]
    EmptySweep,
    /// A plan of ablations that cannot be carried out.
    #[error("the plan cannot be carried out: {message}")]
    Plan {
        /// What is wrong, and what to change.
        message: String,
    },
    /// An unfinished sweep of another request stands in the way.
    #[error("{} holds an unfinished sweep of another request ({found}, this one is {asked}); remove it, or write to another file", path.display())]
    OtherSweep {
        /// The journal.
        path: PathBuf,
        /// The digest of the request that it belongs to.
        found: String,
        /// The digest of this request.
        asked: String,
    },
    /// There are not enough sites outside the pathway to draw controls from.
    #[error("{wanted} random {kind} site(s) are needed outside the pathway, the model has {available}")]
    TooFewSites {
        /// The kind of site.
        kind: String,
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        available: usize,
    },
    /// The user asked to stop; what is finished is in the journal.
    #[error("interrupted")]
    Interrupted,
}

impl From<InterveneError> for MediateError {
    fn from(error: InterveneError) -> Self {
        match error {
            InterveneError::Interrupted => MediateError::Interrupted,
            other => MediateError::Intervene(other),
        }
    }
}

impl From<ModelError> for MediateError {
    fn from(error: ModelError) -> Self {
        InterveneError::from(error).into()
    }
}
