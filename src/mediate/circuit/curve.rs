//! Faithfulness over the size of the circuit, and the areas under it.

use serde::{Deserialize, Serialize};

use super::evaluate::Evaluator;
use super::select::{Ranking, Rule, Selection, select};
use crate::mediate::MediateError;
use crate::mediate::attribution::EdgeScores;
use crate::stats::{Bootstrap, Estimate};

/// The shares of edges at which circuits are taken (MIB).
pub const FRACTIONS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// What stands on the horizontal axis. Part of an area's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// The share of edges that was asked for.
    Fixed,
    /// The share that is left after pruning.
    Realised,
}

/// Areas between the first and the last size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Areas {
    /// ∫ f dk, more is better.
    pub cpr: f64,
    /// ∫ |1 − f| dk, less is better.
    pub cmd: f64,
}

/// Trapezoids over points (k, f) in ascending order of k. From .001 on, a perfect circuit has CPR 0.999 and CMD 0.
pub fn areas(points: &[(f64, f64)]) -> Areas {
    let mut areas = Areas { cpr: 0.0, cmd: 0.0 };
    for (&(x, f), &(y, g)) in points.iter().zip(points.iter().skip(1)) {
        areas.cpr += (y - x) * (f + g) / 2.0;
        areas.cmd += (y - x) * ((1.0 - f).abs() + (1.0 - g).abs()) / 2.0;
    }
    areas
}

/// One circuit of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Share of edges asked for.
    pub fraction: f64,
    /// Edges that were taken.
    pub requested: usize,
    /// Edges after pruning.
    pub realised: usize,
    /// f(C).
    pub faithfulness: Estimate,
}

/// Circuits of growing size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaithfulnessCurve {
    /// Ranking of the edges.
    pub ranking: Ranking,
    /// What a cut edge brings.
    pub ablation: String,
    /// Edges of the decoder.
    pub edges: usize,
    /// By size.
    pub points: Vec<CurvePoint>,
    /// On the axis of what was asked for; none where a faithfulness is undefined.
    pub fixed: Option<Areas>,
    /// On the axis of what is left.
    pub realised: Option<Areas>,
}

impl FaithfulnessCurve {
    /// The areas on one axis.
    pub fn areas(&self, axis: Axis) -> Option<Areas> {
        match axis {
            Axis::Fixed => self.fixed,
            Axis::Realised => self.realised,
        }
    }
}

/// Takes circuits greedily at `fractions` of the edges and runs them. Cost: one circuit run a pair and size.
pub fn faithfulness_curve(
    evaluator: &Evaluator<'_>,
    scores: &EdgeScores,
    ranking: Ranking,
    fractions: &[f64],
    bootstrap: &Bootstrap,
) -> Result<FaithfulnessCurve, MediateError> {
    let total = scores.graph.edge_count();
    let number = |fraction: &f64| ((fraction * total as f64) as usize).min(total);
    let taken: Vec<Selection> =
        fractions.iter().map(|fraction| select(scores, ranking, Rule::Greedy { edges: number(fraction) })).collect();
    let masks: Vec<_> = taken.iter().map(|selection| selection.circuit.mask()).collect();
    let metrics = evaluator.metrics(&masks)?;
    let points: Vec<CurvePoint> = fractions
        .iter()
        .zip(taken.iter().zip(&metrics))
        .map(|(&fraction, (selection, metrics))| CurvePoint {
            fraction,
            requested: selection.requested,
            realised: selection.realised,
            faithfulness: evaluator.faithfulness(metrics, bootstrap),
        })
        .collect();
    let on = |place: &dyn Fn(&CurvePoint) -> f64| {
        let pairs: Option<Vec<(f64, f64)>> =
            points.iter().map(|point| Some((place(point), point.faithfulness.value?))).collect();
        pairs.map(|pairs| areas(&pairs))
    };
    let fixed = on(&|point| point.fraction);
    let realised = on(&|point| point.realised as f64 / total.max(1) as f64);
    Ok(FaithfulnessCurve { ranking, ablation: evaluator.ablation().to_owned(), edges: total, points, fixed, realised })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_meet_the_golden_vector() {
        // The shared reference, from the notebook of the MIB circuit track: CPR and CMD to their six digits.
        let f = [0.023235, 0.239347, 0.498787, 0.802995, 0.881251, 0.920282, 0.935666, 0.967239, 0.978128, 1.0];
        let points: Vec<(f64, f64)> = FRACTIONS.into_iter().zip(f).collect();
        let found = areas(&points);
        assert!((found.cpr - 0.967818).abs() < 1e-6, "{found:?}");
        assert!((found.cmd - 0.031182).abs() < 1e-6, "{found:?}");
        // f never exceeds 1 there, so the two share 0.999.
        assert!((found.cpr + found.cmd - 0.999).abs() < 1e-9);
    }

    #[test]
    fn a_perfect_circuit_and_an_overshoot() {
        let perfect: Vec<(f64, f64)> = FRACTIONS.into_iter().map(|k| (k, 1.0)).collect();
        assert!((areas(&perfect).cpr - 0.999).abs() < 1e-12 && areas(&perfect).cmd == 0.0);
        // Twice the effect counts for CPR and against CMD.
        let over = areas(&[(0.0, 2.0), (1.0, 2.0)]);
        assert_eq!((over.cpr, over.cmd), (2.0, 1.0));
        // Points that stand on one another add nothing.
        assert_eq!(areas(&[(0.5, 0.1), (0.5, 0.9)]), Areas { cpr: 0.0, cmd: 0.0 });
    }
}
