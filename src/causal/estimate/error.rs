//! What can be wrong with an estimation.

use crate::causal::table::TableError;
use crate::stats::design::RegressionError;

/// Why there is no estimate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EstimateError {
    /// The table or a column is wrong.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A regression has no answer.
    #[error(transparent)]
    Regression(#[from] RegressionError),
    /// Folds without rows.
    #[error("{0} folds leave a fold or its training rows empty: ask for 2 or more, and for fewer than there are rows")]
    Folds(usize),
    /// Fewer clusters than folds.
    #[error(
        "{clusters} clusters cannot be dealt out to {folds} folds: ask for fewer folds, or say what else may vary together"
    )]
    TooFewClusters {
        /// Clusters.
        clusters: usize,
        /// Folds.
        folds: usize,
    },
    /// All clusters hold one row.
    #[error("every cluster of `{0}` holds one row: leave the cluster column out, or name one that groups rows")]
    SingleRowClusters(String),
    /// An arm without training rows.
    #[error("fold {fold} has no training rows of one treatment arm: ask for fewer folds, or stratify them")]
    EmptyArm {
        /// The fold, from 1.
        fold: usize,
    },
    /// Nothing of the treatment is left.
    #[error("the covariates predict the treatment exactly: nothing of it is left to learn an effect from")]
    NoVariation,
    /// Treated and untreated units cannot be compared.
    #[error(
        "no overlap: {reason}. Treated and untreated units differ so much that an effect would be a guess; restrict the rows to where both occur, or ask a coarser question"
    )]
    NoOverlap {
        /// What the diagnostics found.
        reason: String,
    },
    /// A spec that contradicts itself.
    #[error("{0}")]
    Spec(String),
}
