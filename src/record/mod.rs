//! Run records: everything that one checkpoint's run measured, with the identity of everything that went in.
//!
//! A record is JSON with a `schema` number. The same request gives the same bytes: what a clock or a machine decides
//! (seconds, memory, thread counts) is kept apart in [`Timings`], in a file of its own. A record of a newer schema is
//! refused, never guessed at. Numbers only: reading, comparing and reporting records needs no weights.

mod circuit;
pub mod export;
mod identity;
pub mod import;
mod run;
mod timings;

pub use circuit::{CircuitChange, CircuitRecord};
pub use identity::{AdapterIdentity, EvalSetIdentity, ModelIdentity, Request, Versions};
pub use run::{RunRecord, SCHEMA, SiteSweep};
pub use timings::{StageTiming, Timings};

use std::path::PathBuf;

use crate::base::FileError;

/// What can be wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read or written, or is not the JSON of a record.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is JSON, but not of ours.
    #[error("{} has no `schema` number, so it is not a run record; give the `record.json` of a run", path.display())]
    NoSchema {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error(
        "{} has record schema {found}, and this version of counterpath reads up to {known}; update counterpath to read it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema in the file.
        found: u64,
        /// The newest schema that this version reads.
        known: u32,
    },
    /// A value that JSON cannot hold and nobody should have recorded.
    #[error(
        "record `{record}`: {place} is {value}; a number that does not exist is recorded as undefined, with its reason"
    )]
    NotFinite {
        /// The record's name.
        record: String,
        /// Where in the record: metric, population and item, or effect and field.
        place: String,
        /// `NaN` or an infinity.
        value: f64,
    },
}
