//! A circuit against random ones, and the tests of the circuit hypothesis.

use super::edges::Circuit;
use super::evaluate::{Evaluator, Metrics};
use super::hypothesis::{equivalence_share, independence, share_below};
use super::select::{random_circuit, random_outside};
use crate::base::Seed;
use crate::intervene::path::{Edge, EdgeMask};
use crate::mediate::MediateError;
use crate::stats::benjamini_hochberg;
use crate::stats::circuit::{HypothesisTest, Judgement, RandomCircuits};

/// How a circuit is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgeSpec {
    /// Random circuits of the same size, and random inflations.
    pub random: usize,
    /// The share of random ones that is to be beaten.
    pub quantile: f64,
    /// What counts as a half in the equivalence test: ½ ± margin.
    pub margin: f64,
    /// Level of the tests.
    pub alpha: f64,
    /// Permutations of the independence test.
    pub permutations: usize,
    /// Edges of the circuit that are tested for minimality (a random choice where there are more).
    pub edges: usize,
    /// For all draws.
    pub seed: Seed,
}

impl JudgeSpec {
    /// The tests as their authors ran them: quantile 0.9, margin 0.1, level 0.05, 1000 permutations.
    pub fn new(random: usize, seed: Seed) -> Self {
        Self { random, quantile: 0.9, margin: 0.1, alpha: 0.05, permutations: 1000, edges: 50, seed }
    }
}

/// Mean |a − b| over pairs.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len().max(1) as f64
}

/// Judges a circuit. Cost: about 2 (random + edges) circuit runs a pair.
pub fn judge(evaluator: &Evaluator<'_>, circuit: &Circuit, spec: &JudgeSpec) -> Result<Judgement, MediateError> {
    let graph = circuit.graph();
    let own = evaluator.metrics(&[circuit.mask(), circuit.knockout()])?;
    let [kept, cut] = own.as_slice() else { return Err(MediateError::EmptySweep) };
    let seed = |number: usize| spec.seed.fork(&format!("random circuit {number}"));
    let drawn: Vec<Circuit> =
        (0..spec.random).map(|number| random_circuit(graph, circuit.len(), seed(number))).collect();
    let masks: Vec<EdgeMask> = drawn.iter().flat_map(|circuit| [circuit.mask(), circuit.knockout()]).collect();
    let random = evaluator.metrics(&masks)?;
    let random: Vec<(&Metrics, &Metrics)> = random.iter().step_by(2).zip(random.iter().skip(1).step_by(2)).collect();
    let whole = &evaluator.whole;
    let worse = random.iter().filter(|(kept_of, _)| distance(kept_of, whole) > distance(kept, whole)).count();
    let milder = random.iter().filter(|(_, cut_of)| distance(cut_of, whole) < distance(cut, whole)).count();
    let faithfulness: Vec<Option<f64>> = random.iter().map(|(kept, _)| evaluator.share(kept)).collect();
    let own_share = evaluator.share(kept);
    let as_good = faithfulness.iter().filter(|share| **share >= own_share).count();
    let (quantile, alpha) = (spec.quantile, spec.alpha);
    let [by_kept, by_cut, by_whole] = [kept, cut, whole].map(|metrics| evaluator.by_cluster(metrics));
    let tests = vec![
        equivalence_share(&by_kept, &by_whole, spec.margin, alpha),
        independence(&by_cut, &by_whole, spec.permutations, alpha, spec.seed.fork("independence")),
        share_below("sufficiency", worse, random.len(), quantile, alpha),
        share_below("partial_necessity", milder, random.len(), quantile, alpha),
    ];
    let minimality = minimality(evaluator, circuit, kept, spec)?;
    let p_values: Vec<f64> = minimality.iter().map(|(_, test)| test.p_value).collect();
    let adjusted = benjamini_hochberg(&p_values);
    let fallen = minimality.iter().zip(adjusted).filter(|(_, adjusted)| *adjusted < alpha);
    let superfluous = fallen.map(|((edge, _), _)| edge.clone()).collect();
    Ok(Judgement {
        random: RandomCircuits {
            edges: drawn.iter().map(Circuit::len).collect(),
            faithfulness,
            p_value: (1 + as_good) as f64 / (1 + spec.random) as f64,
        },
        tests,
        minimality,
        superfluous,
    })
}

/// Each edge's knock-out effect beside those of edges that were added at random: mean |m(C) − m(C∖e)| against
/// mean |m(C + e′) − m(C)|.
fn minimality(
    evaluator: &Evaluator<'_>,
    circuit: &Circuit,
    kept: &[f64],
    spec: &JudgeSpec,
) -> Result<Vec<(String, HypothesisTest)>, MediateError> {
    let mut edges: Vec<Edge> = circuit.edges().collect();
    crate::base::seed::shuffle(&mut spec.seed.fork("minimality").rng(), &mut edges);
    edges.truncate(spec.edges);
    edges.sort();
    let added = random_outside(circuit, spec.random, spec.seed.fork("inflation"));
    let inflated: Vec<EdgeMask> = added.iter().map(|edge| circuit.with(*edge).mask()).collect();
    let reference: Vec<f64> = evaluator.metrics(&inflated)?.iter().map(|metrics| distance(metrics, kept)).collect();
    let reduced: Vec<EdgeMask> = edges.iter().map(|edge| circuit.without(&[*edge].into()).mask()).collect();
    let metrics = evaluator.metrics(&reduced)?;
    let test = |metrics: &Metrics| {
        let effect = distance(metrics, kept);
        let below = reference.iter().filter(|other| **other < effect).count();
        share_below("minimality", below, reference.len(), spec.quantile, spec.alpha)
    };
    let graph = circuit.graph();
    Ok(edges.iter().zip(&metrics).map(|(edge, metrics)| (graph.name(*edge), test(metrics))).collect())
}
