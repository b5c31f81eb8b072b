//! Screen by attribution, confirm exactly, and bound what the screen has missed.
//!
//! The edges with the largest scores are run exactly. Of the rest, cut into strata by the size of their scores, a
//! random sample of each is run too; an edge of the sample whose exact effect reaches the limit is a false negative of
//! the screen. With x of n sampled in a stratum of N edges, Clopper and Pearson's upper limit at 1 − α/strata gives at
//! most N·u missed edges there, and their sum holds for all strata at once with confidence 1 − α (Bonferroni).

use serde::{Deserialize, Serialize};

use super::evaluate::Evaluator;
use crate::base::seed::shuffle;
use crate::intervene::path::Edge;
use crate::mediate::MediateError;
use crate::mediate::attribution::EdgeScores;
use crate::stats::circuit::EdgeEffect;
use crate::stats::{Bootstrap, clopper_pearson_upper};

/// How a screen is confirmed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfirmSpec {
    /// Edges that are run exactly, by the size of their score.
    pub top: usize,
    /// Strata of the rest.
    pub strata: usize,
    /// Edges sampled from each.
    pub sample: usize,
    /// The exact effect, as a share of the total effect, from which on an edge matters; none takes the smallest that a
    /// discovery among the top ones has.
    pub limit: Option<f64>,
    /// The level of the false-discovery rate, and the bound's 1 − confidence.
    pub alpha: f64,
    /// For intervals and draws.
    pub bootstrap: Bootstrap,
}

/// An edge that was run exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfirmedEdge {
    /// What the screen said.
    pub score: f64,
    /// What cutting it out of the whole model does.
    #[serde(flatten)]
    pub exact: EdgeEffect,
    /// Whether it counts as a discovery: adjusted p at most α.
    pub discovered: bool,
}

/// Edges with scores of similar size that the screen put aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// Sizes of scores in it.
    pub scores: [f64; 2],
    /// Its edges.
    pub edges: usize,
    /// Edges run exactly.
    pub sampled: usize,
    /// Of those, edges that matter.
    pub missed: usize,
    /// The share that matters is below this.
    pub upper: f64,
}

/// A confirmed screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The top edges, by the size of their score.
    pub top: Vec<ConfirmedEdge>,
    /// The rest.
    pub strata: Vec<Stratum>,
    /// The exact effect from which on an edge matters, in the metric's unit.
    pub limit: f64,
    /// At most so many edges of the rest matter,
    pub missed_at_most: usize,
    /// with this confidence.
    pub confidence: f64,
    /// In words.
    pub statement: String,
}

/// Confirms the top of a screen and bounds its false negatives. Cost: one circuit run a pair and edge tested.
pub fn confirm(evaluator: &Evaluator<'_>, scores: &EdgeScores, spec: &ConfirmSpec) -> Result<Confirmed, MediateError> {
    let mut ranked: Vec<(Edge, f64)> = scores.iter().collect();
    ranked.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    let (top, rest) = ranked.split_at(spec.top.min(ranked.len()));
    let run = |edges: &[(Edge, f64)]| {
        let edges: Vec<Edge> = edges.iter().map(|(edge, _)| *edge).collect();
        evaluator.edge_effects(&edges, None, &spec.bootstrap)
    };
    let confirmed: Vec<ConfirmedEdge> = top
        .iter()
        .zip(run(top)?)
        .map(|((_, score), exact)| ConfirmedEdge {
            score: *score,
            discovered: exact.adjusted.is_some_and(|adjusted| adjusted <= spec.alpha),
            exact,
        })
        .collect();
    let limit = limit(evaluator, &confirmed, spec);
    let each = rest.len().div_ceil(spec.strata.max(1)).max(1);
    let strata_level = 1.0 - spec.alpha / rest.chunks(each).count().max(1) as f64;
    let mut strata = Vec::new();
    for (number, stratum) in rest.chunks(each).enumerate() {
        let mut drawn = stratum.to_vec();
        shuffle(&mut spec.bootstrap.seed.fork(&format!("stratum {number}")).rng(), &mut drawn);
        drawn.truncate(spec.sample);
        let effects = run(&drawn)?;
        let missed = effects.iter().filter(|effect| effect.effect.value.is_some_and(|v| v.abs() >= limit)).count();
        strata.push(Stratum {
            scores: [stratum.last(), stratum.first()].map(|edge| edge.map_or(0.0, |(_, score)| score.abs())),
            edges: stratum.len(),
            sampled: drawn.len(),
            missed,
            upper: upper(missed, drawn.len(), stratum.len(), strata_level),
        });
    }
    let missed_at_most =
        strata.iter().map(|stratum| (stratum.upper * stratum.edges as f64 + 1e-9).floor() as usize).sum();
    let (sampled, confidence) = (strata.iter().map(|stratum| stratum.sampled).sum::<usize>(), 1.0 - spec.alpha);
    let statement = format!(
        "of {} edges that were not confirmed one by one, at most {missed_at_most} have an exact effect of {limit:.4} or more, with confidence {confidence} (Clopper–Pearson in {} strata, {sampled} edges sampled)",
        rest.len(),
        strata.len()
    );
    Ok(Confirmed { top: confirmed, strata, limit, missed_at_most, confidence, statement })
}

/// The upper limit of a stratum's share; what was counted in full is known.
fn upper(missed: usize, sampled: usize, edges: usize, level: f64) -> f64 {
    if sampled >= edges {
        return missed as f64 / edges.max(1) as f64;
    }
    clopper_pearson_upper(missed, sampled, level)
}

fn limit(evaluator: &Evaluator<'_>, confirmed: &[ConfirmedEdge], spec: &ConfirmSpec) -> f64 {
    let pairs = evaluator.whole.len().max(1) as f64;
    let total = evaluator.whole.iter().zip(&evaluator.empty).map(|(whole, empty)| whole - empty).sum::<f64>() / pairs;
    let discovered = confirmed.iter().filter(|edge| edge.discovered);
    let smallest = discovered.filter_map(|edge| edge.exact.effect.value).map(f64::abs).reduce(f64::min);
    match (spec.limit, smallest) {
        (Some(share), _) => share * total.abs(),
        (None, Some(smallest)) => smallest,
        // Nothing was discovered: a hundredth of the total effect.
        (None, None) => 0.01 * total.abs(),
    }
}
