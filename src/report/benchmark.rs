//! The page of the pathway benchmark: which method recovers what, who falls into which trap, and whether claimed
//! false-discovery rates are the actual ones. Numbers only: the benchmark itself knows nothing of pages.

use super::html;
use super::sections::benchmark;
use crate::stats::{Estimate, PatchDirection};

/// What the page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchmarkPage {
    /// The models and pairs, the stream's digest, in one line.
    pub subtitle: String,
    /// Acceptance records of trained models, one sentence each.
    pub accepted: Vec<String>,
    /// Tables of methods.
    pub tables: Vec<MethodTable>,
    /// Traps.
    pub traps: Vec<Trap>,
    /// What a patch of the dormant direction finds, in words; empty where there is none.
    pub dormant: String,
    /// The calibration curve; empty where it was not asked for.
    pub calibration: Vec<CalibrationPoint>,
    /// The command that makes this page again.
    pub command: String,
}

/// Methods on one kind of units: means over models.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodTable {
    /// Which models and units, such as `compiled: nodes, structural truth`.
    pub title: String,
    /// Tasks, units, and what chance gives.
    pub note: String,
    /// One row a method.
    pub rows: Vec<MethodRow>,
    /// Pairs of methods that were compared, and how many differ at a false-discovery rate of 5 %.
    pub compared: Option<(usize, usize)>,
    /// The largest differences of AUROC.
    pub differences: Vec<MethodDifference>,
}

/// One method.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodRow {
    /// Its name.
    pub method: String,
    /// Rank AUROC.
    pub auroc: Estimate,
    /// Average precision.
    pub average_precision: Estimate,
    /// Precision at the true size.
    pub precision: Estimate,
    /// Recall at the true size.
    pub recall: Estimate,
}

/// Two methods on the same models.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodDifference {
    /// Which less which.
    pub methods: String,
    /// Of AUROC, paired by model.
    pub difference: Estimate,
    /// After Benjamini and Hochberg.
    pub adjusted: Option<f64>,
}

/// How methods treat the nodes of one trap.
#[derive(Debug, Clone, PartialEq)]
pub struct Trap {
    /// Which models.
    pub tier: String,
    /// The trap, or what the nodes are for.
    pub label: String,
    /// Whether the nodes lie on a pathway: wrong then means missed, else taken for one.
    pub on_pathway: bool,
    /// Nodes over all tasks.
    pub nodes: usize,
    /// By method, the share of them that is wrong at the true size.
    pub fallen: Vec<(String, f64)>,
}

/// One point of the calibration curve.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationPoint {
    /// Strength of the planted paths.
    pub strength: f64,
    /// Which run received.
    pub direction: PatchDirection,
    /// The claimed rate.
    pub claimed: f64,
    /// The actual one.
    pub actual: Estimate,
    /// Claims of a model, on average.
    pub discoveries: f64,
    /// The share of nodes with an effect that was claimed.
    pub power: Option<f64>,
}

impl BenchmarkPage {
    /// The page as HTML: no network, no external style, font, picture or script.
    pub fn html(&self) -> String {
        html::render(&benchmark::document(self))
    }
}
