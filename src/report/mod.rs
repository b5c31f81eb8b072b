//! Reports from records: one self-contained HTML page, the same as Markdown, and tables for the terminal.
//!
//! A report is made in two steps: [`ReportData`] (numbers, read from a run folder) becomes a document without a format,
//! and the document becomes HTML or Markdown. Both therefore say the same. Numbers only: no weights are needed.

mod benchmark;
mod circuit_page;
mod comparison_page;
mod data;
mod diff;
mod document;
mod figure;
mod folder;
mod glossary;
mod html;
mod markdown;
mod number;
mod sections;
pub mod terminal;
mod tokens;
mod words;

pub use benchmark::{BenchmarkPage, CalibrationPoint, MethodDifference, MethodRow, MethodTable, Trap};
pub use circuit_page::CircuitPage;
pub use comparison_page::{ComparisonPage, ItemPair, ItemTable, TokenPair, TokenTable};
pub use data::{
    Arm, Canary, EdgeKind, ExampleKind, ExamplePair, ExampleResponse, GraphEdge, GraphNode, Headline, HeadlineRole,
    ReportGraph, RunSummary, SUMMARY_SCHEMA, Target, TargetStatus, TrainingCurve,
};
pub use figure::{CircuitFigure, FaithfulnessLine, circuit_svg};
pub use folder::ReportData;

use std::path::PathBuf;

use crate::base::FileError;
use crate::record::RecordError;

/// What can be wrong with the material of a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of the run folder could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record or the timings could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The path is neither a run folder nor a record.
    #[error(
        "{} holds neither `{}` nor `{}`; give the folder of a finished run, or the path of a record",
        path.display(), RunSummary::FILE, crate::record::RunRecord::FILE
    )]
    NothingToReport {
        /// What was given.
        path: PathBuf,
    },
    /// A later version of the program wrote the summary.
    #[error("{} has summary schema {found}, and this version of counterpath reads up to {SUMMARY_SCHEMA}; update counterpath", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema in the file.
        found: u32,
    },
    /// A record is not the one that the summary announces.
    #[error("{} is the record of `{found}`, but the summary lists it for arm `{expected}`; run `report` on an untouched folder", path.display())]
    WrongArm {
        /// The record's file.
        path: PathBuf,
        /// The arm that the summary names.
        expected: String,
        /// The arm that the record names.
        found: String,
    },
}

/// The report as one HTML page: no network, no external style, font, picture or script.
pub fn html(data: &ReportData) -> String {
    html::render(&sections::document(data))
}

/// An estimate as the report writes it: value, interval and unit with as many digits as the interval supports, or the
/// reason that there is none.
pub fn estimate_in_words(estimate: &crate::stats::Estimate, unit: &str) -> String {
    number::in_full(estimate, unit)
}

/// The report as Markdown; pictures become tables.
pub fn markdown(data: &ReportData) -> String {
    markdown::render(&sections::document(data))
}
