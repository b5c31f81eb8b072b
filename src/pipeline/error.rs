//! Why a run stopped.

use std::path::PathBuf;

use crate::base::FileError;
use crate::compare::CompareError;
use crate::intervene::InterveneError;
use crate::mediate::MediateError;
use crate::model::ModelError;
use crate::record::RecordError;
use crate::report::ReportError;
use crate::scenario::ScenarioError;
use crate::trust::TrustError;
use crate::tune::TuneError;

/// Everything that can stop a run. What was finished before stays in the run's folder.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A checkpoint or an adapter is wrong.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An intervention cannot be carried out.
    #[error(transparent)]
    Intervene(#[from] InterveneError),
    /// A metric cannot be had.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Mediation failed.
    #[error(transparent)]
    Mediate(#[from] MediateError),
    /// Training failed.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Records cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The report cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// An eval set is neither shipped nor a folder nor a file.
    #[error(
        "`{given}` is no eval set: shipped are {}; a folder needs a scenario.toml; declared pairs are a .jsonl file",
        known.join(", ")
    )]
    UnknownEvalSet {
        /// What was asked for.
        given: String,
        /// The shipped ones.
        known: Vec<String>,
    },
    /// An eval set lacks what a stage needs.
    #[error("eval set `{set}` has no {what}; {hint}")]
    Lacking {
        /// The eval set.
        set: String,
        /// What is missing.
        what: String,
        /// What to change.
        hint: String,
    },
    /// The folder holds a run of another request.
    #[error(
        "{} holds the run of another request ({what} differs); choose another --output, or remove that folder",
        folder.display()
    )]
    OtherRun {
        /// The run's folder.
        folder: PathBuf,
        /// What differs.
        what: String,
    },
    /// The user asked to stop.
    #[error("interrupted after {done}; finished work is kept in {}, and the same command resumes it", folder.display())]
    Interrupted {
        /// The last finished stage.
        done: String,
        /// The run's folder.
        folder: PathBuf,
    },
}
