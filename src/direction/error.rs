//! What can be wrong with a direction, and what to change.

use std::path::PathBuf;

use crate::base::FileError;
use crate::intervene::InterveneError;
use crate::model::ModelError;

/// Everything that this room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum DirectionError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A site or a pair was refused.
    #[error(transparent)]
    Intervene(InterveneError),
    /// A rank that the site cannot have.
    #[error(
        "rank {rank} at {site}: a subspace there has between 1 and {width} dimensions, the width of the activation"
    )]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The site.
        site: String,
        /// Its width.
        width: usize,
    },
    /// A rank that the classes of a concept do not span.
    #[error("rank {rank} by {method}: {classes} classes span at most {most} direction(s); ask for fewer, or use das")]
    RankOfClasses {
        /// The rank asked for.
        rank: usize,
        /// The method.
        method: String,
        /// How many classes the items have.
        classes: usize,
        /// The most that they span.
        most: usize,
    },
    /// A site at which no single activation stands.
    #[error("site {site}: {message}")]
    Site {
        /// The site.
        site: String,
        /// What is wrong, and what to write.
        message: String,
    },
    /// Too little to learn from or to judge on.
    #[error("{found} {what}, at least {needed} are needed: give more pairs")]
    TooFew {
        /// Of what.
        what: String,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Items that are not of two classes.
    #[error("{items} items are of {classes} class(es): a concept needs items of at least two, numbered from 0")]
    Classes {
        /// How many items there are.
        items: usize,
        /// Of how many classes.
        classes: usize,
    },
    /// A concept that no activation varies with.
    #[error("no activation of the {items} items varies together with the concept: there is nothing to erase")]
    NothingToErase {
        /// How many items there are.
        items: usize,
    },
    /// Pairs whose prompts have unlike numbers of answers.
    #[error(
        "pair {pair:?} has {found} answers, the first one {expected}: interchange compares the same answers on all"
    )]
    Answers {
        /// The pair.
        pair: String,
        /// Its answers.
        found: usize,
        /// The first pair's.
        expected: usize,
    },
    /// A variable that no pair moves.
    #[error("no pair sets {variable:?}; the pairs set {known}")]
    Variable {
        /// The variable asked for.
        variable: String,
        /// Those that the pairs set.
        known: String,
    },
    /// A basis lost its orthonormality while it was trained.
    #[error("after {step} steps the basis is off by {defect:.1e} from orthonormal; lower the rate")]
    NotOrthonormal {
        /// The step.
        step: usize,
        /// The largest entry of BᵀB − I.
        defect: f64,
    },
    /// A direction's folder does not hold what it should.
    #[error("{}: {message}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A direction of another model.
    #[error("the direction belongs to {expected}, this is {found}; {hint}")]
    OtherModel {
        /// What it was fitted on.
        expected: String,
        /// What it meets.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// An eraser that no weights can hold.
    #[error("the eraser at {site} cannot be folded into the weights: {reason}; apply it as an intervention")]
    CannotFold {
        /// The site.
        site: String,
        /// Why.
        reason: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<InterveneError> for DirectionError {
    fn from(error: InterveneError) -> Self {
        match error {
            InterveneError::Interrupted => DirectionError::Interrupted,
            other => DirectionError::Intervene(other),
        }
    }
}

impl From<ModelError> for DirectionError {
    fn from(error: ModelError) -> Self {
        InterveneError::from(error).into()
    }
}
