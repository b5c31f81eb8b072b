//! A circuit in a record: how it was found, what it is made of, and its numbers on pairs that its choice has not seen.

use serde::{Deserialize, Serialize};

use super::run::Finite;
use super::{RecordError, RunRecord};
use crate::stats::circuit::{
    CircuitComparison, CircuitEdge, CircuitEvaluation, CircuitReport, EdgeEffect, FaithfulnessCurve,
};

/// A circuit on one checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitRecord {
    /// Of which pairs: an eval set's id, or a file of pairs.
    pub population: String,
    /// How edges were scored, such as `eap_ig_inputs`; empty where the circuit came from a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Pairs that edges were scored on; 0 where the circuit came from a file.
    #[serde(default)]
    pub discovery_pairs: usize,
    /// Whether it was measured on those same pairs; its numbers are then too good.
    #[serde(default)]
    pub same_pairs: bool,
    /// Edges of the decoder.
    pub decoder_edges: usize,
    /// Edges with their scores, the strongest first; of a large circuit only the strongest.
    pub edges: Vec<CircuitEdge>,
    /// Its numbers and tests.
    pub report: CircuitReport,
    /// Faithfulness over size, by signed score (CPR) and by absolute score (CMD).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<FaithfulnessCurve>,
    /// What the screen may have missed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
    /// The same circuit under other ablations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<CircuitEvaluation>,
}

/// The base's circuit on this checkpoint beside the base, pair by pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitChange {
    /// Of which pairs.
    pub population: String,
    /// Before, after, and the paired differences.
    pub comparison: CircuitComparison,
}

impl CircuitRecord {
    /// Refuses NaN and infinities; `record` names the record.
    pub(super) fn validate(&self, finite: &mut Finite<'_>) -> Result<(), RecordError> {
        let place = |what: &str| format!("circuit of {}: {what}", self.population);
        evaluation(finite, &place("evaluation"), &self.report.evaluation)?;
        for other in &self.sensitivity {
            evaluation(finite, &place("other ablation"), other)?;
        }
        for edge in &self.edges {
            finite.number(&place(&format!("{} → {}", edge.from, edge.to)), edge.effect)?;
        }
        for EdgeEffect { edge, effect, p_value, adjusted } in &self.report.minimality {
            finite.estimate(&place(edge), effect)?;
            finite.number(&place(edge), *p_value)?;
            finite.number(&place(edge), *adjusted)?;
        }
        if let Some(completeness) = &self.report.completeness {
            for gap in completeness.gaps.iter().chain([&completeness.mean, &completeness.worst]) {
                finite.number(&place("completeness"), *gap)?;
            }
        }
        if let Some(judgement) = &self.report.judgement {
            let by_edge = judgement.minimality.iter().map(|(_, test)| test);
            for test in judgement.tests.iter().chain(by_edge) {
                finite.number(&place(&test.name), test.statistic)?;
                finite.number(&place(&test.name), test.p_value)?;
            }
            for share in &judgement.random.faithfulness {
                finite.number(&place("random circuits"), *share)?;
            }
        }
        for curve in &self.curves {
            for point in &curve.points {
                finite.estimate(&place("curve"), &point.faithfulness)?;
            }
            for areas in [curve.fixed, curve.realised, curve.log].into_iter().flatten() {
                finite.number(&place("area"), areas.cpr)?;
                finite.number(&place("area"), areas.cmd)?;
            }
        }
        Ok(())
    }
}

impl CircuitChange {
    /// Refuses NaN and infinities.
    pub(super) fn validate(&self, finite: &mut Finite<'_>) -> Result<(), RecordError> {
        let place = |what: &str| format!("circuit of {} before and after: {what}", self.population);
        evaluation(finite, &place("before"), &self.comparison.before)?;
        evaluation(finite, &place("after"), &self.comparison.after)?;
        for contrast in &self.comparison.contrasts {
            finite.estimate(&place(&contrast.quantity), &contrast.difference)?;
            finite.number(&place(&contrast.quantity), contrast.p_value)?;
        }
        Ok(())
    }
}

impl RunRecord {
    /// The circuit that was found for a population.
    pub fn circuit(&self, population: &str) -> Option<&CircuitRecord> {
        self.circuits.iter().find(|circuit| circuit.population == population)
    }
}

fn evaluation(finite: &mut Finite<'_>, place: &str, of: &CircuitEvaluation) -> Result<(), RecordError> {
    let CircuitEvaluation { whole, empty, circuit, complement, total, faithfulness, complement_faithfulness, .. } = of;
    for estimate in [whole, empty, circuit, complement, total, faithfulness, complement_faithfulness] {
        finite.estimate(place, estimate)?;
    }
    Ok(())
}
