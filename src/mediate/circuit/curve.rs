//! Faithfulness over the size of the circuit, and the areas under it.

use super::evaluate::Evaluator;
use super::select::{Rule, Selection, select};
use crate::mediate::MediateError;
use crate::mediate::attribution::EdgeScores;
use crate::stats::Bootstrap;
use crate::stats::circuit::{Areas, CurvePoint, FaithfulnessCurve, Ranking};

/// The shares of edges at which circuits are taken (MIB).
pub const FRACTIONS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// Trapezoids over points (k, f) in ascending order of k. From .001 on, a perfect circuit has CPR 0.999 and CMD 0.
pub fn areas(points: &[(f64, f64)]) -> Areas {
    let mut areas = Areas { cpr: 0.0, cmd: 0.0 };
    for (&(x, f), &(y, g)) in points.iter().zip(points.iter().skip(1)) {
        areas.cpr += (y - x) * (f + g) / 2.0;
        areas.cmd += (y - x) * ((1.0 - f).abs() + (1.0 - g).abs()) / 2.0;
    }
    areas
}

/// The same over ln k, as MIB's `log_scale` has it: every doubling of the circuit counts alike. From .001 on, a perfect
/// circuit has CPR ln 1000 = 6.908 and CMD 0. Points at k = 0 have no place on that axis and are left out.
pub fn log_areas(points: &[(f64, f64)]) -> Areas {
    let on_log: Vec<(f64, f64)> = points.iter().filter(|(k, _)| *k > 0.0).map(|(k, f)| (k.ln(), *f)).collect();
    areas(&on_log)
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
    let on = |place: &dyn Fn(&CurvePoint) -> f64| -> Option<Vec<(f64, f64)>> {
        points.iter().map(|point| Some((place(point), point.faithfulness.value?))).collect()
    };
    let asked = on(&|point| point.fraction);
    let left = on(&|point| point.realised as f64 / total.max(1) as f64);
    let [fixed, log] = [areas, log_areas].map(|area| asked.as_deref().map(area));
    let realised = left.as_deref().map(areas);
    let ablation = evaluator.ablation().to_owned();
    Ok(FaithfulnessCurve { ranking, ablation, edges: total, points, fixed, realised, log })
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
        // The same points through the loop of MIB's evaluation.py with log_scale (x becomes math.log(x)), in Python.
        let found = log_areas(&points);
        assert!((found.cpr - 5.168966076827644).abs() < 1e-12, "{found:?}");
        assert!((found.cmd - 1.7387892021544924).abs() < 1e-12, "{found:?}");
        assert!((found.cpr + found.cmd - 1000f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_empty_circuit_has_no_place_on_the_log_axis() {
        let found = log_areas(&[(0.0, 0.3), (0.1, 1.0), (1.0, 1.0)]);
        assert!((found.cpr - 10f64.ln()).abs() < 1e-12 && found.cmd == 0.0, "{found:?}");
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
