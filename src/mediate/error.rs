//! What can be wrong with a mediation analysis, and what to change.

use std::path::PathBuf;

use crate::base::FileError;
use crate::intervene::{InterveneError, TokenPair};
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
    /// A pair whose prompts do not stand side by side token by token, where a method needs that.
    #[error(
        "pair {pair:?} has {factual} and {counterfactual} tokens, and {why}: give prompts of equally many tokens, or leave the pair out"
    )]
    Uneven {
        /// The pair.
        pair: String,
        /// Tokens of its factual prompt.
        factual: usize,
        /// Tokens of its counterfactual prompt.
        counterfactual: usize,
        /// Why they must be equally many.
        why: String,
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
    /// Unfinished work of another request stands in the way.
    #[error("{} holds the unfinished runs of another request ({found}, this one is {asked}); remove it, or write to another file", path.display())]
    OtherRequest {
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

impl MediateError {
    /// The refusal of a pair whose prompts do not stand side by side token by token, and why they must.
    pub(super) fn uneven(pair: &TokenPair, why: &str) -> Self {
        let [factual, counterfactual] = [&pair.factual, &pair.counterfactual].map(|prompt| prompt.ids.len());
        MediateError::Uneven { pair: pair.id.clone(), factual, counterfactual, why: why.to_owned() }
    }
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
