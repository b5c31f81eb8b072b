//! What can be wrong with a benchmark of planted pathways, and what to change.

use std::path::PathBuf;

use crate::base::FileError;
use crate::intervene::InterveneError;
use crate::mediate::MediateError;
use crate::model::ModelError;
use crate::tune::TuneError;

/// Everything that this room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum PlantedError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A model was refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A plan was refused, or a run failed.
    #[error(transparent)]
    Intervene(#[from] InterveneError),
    /// A measurement failed.
    #[error(transparent)]
    Mediate(#[from] MediateError),
    /// Training failed.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A tensor operation failed.
    #[error("a tensor operation of the benchmark failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file of scores does not fit the benchmark.
    #[error("{}: {message}", path.display())]
    Scores {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// A request without a meaning.
    #[error("{0}")]
    Request(String),
    /// The caller asked to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}
