//! Runs of circuits on pairs, and what follows from them.

use std::collections::BTreeSet;

use super::ablation::even;
use super::edges::Circuit;
use super::kept::{KeptRuns, Runs};
use crate::base::seed::shuffle;
use crate::base::{Digest, Progress, Seed};
use crate::intervene::path::{Ablation, Edge, EdgeMask, PathRunner};
use crate::intervene::{Outcome, Side, TokenPair};
use crate::mediate::MediateError;
use crate::mediate::attribution::MetricSign;
use crate::mediate::joint::item;
use crate::stats::circuit::{CircuitEvaluation, Completeness, EdgeEffect};
use crate::stats::{
    Bootstrap, Distribution, Estimate, Item, Statistic, benjamini_hochberg, estimate, sign_flip, smallest_sign_flip,
};

/// Random sign patterns of a p-value.
const SIGN_PATTERNS: usize = 10_000;

/// Error rate that a family of tests is to hold.
const ALPHA: f64 = 0.05;

/// The mean with its interval, and the two-sided p-value of "it is 0": from flipping the signs of whole clusters where so
/// many clusters can resolve a family of so many tests, else by Student's t on clusters. `name` sets the draws apart.
pub(super) fn mean_and_p_value(
    items: &[Item],
    name: &str,
    family: usize,
    bootstrap: &Bootstrap,
) -> (Estimate, Option<f64>) {
    let seed = bootstrap.seed.fork(name);
    let bootstrap = Bootstrap { seed: seed.fork("bootstrap"), ..*bootstrap };
    let mean = estimate(items, &Statistic::Mean, &bootstrap);
    let resolved = smallest_sign_flip(mean.clusters) < ALPHA / family.max(1) as f64;
    let by_t = || Distribution::of(items, &Statistic::Mean, &bootstrap).ok().and_then(|found| found.t_test());
    let by_t = if resolved { None } else { by_t() };
    (mean, by_t.or_else(|| sign_flip(items, SIGN_PATTERNS, &seed.fork("signs"))))
}

/// One metric a pair, its sign applied.
pub type Metrics = Vec<f64>;

/// Runs circuits on some pairs under one ablation. The whole model's and the empty circuit's metrics are known from the
/// start.
pub struct Evaluator<'a> {
    runs: Runs<'a>,
    signs: Vec<f64>,
    /// m(M).
    pub whole: Metrics,
    /// m(∅).
    pub empty: Metrics,
}

impl<'a> Evaluator<'a> {
    /// Runs the whole model on both sides and the empty circuit.
    pub fn new(
        runner: &'a PathRunner<'a>,
        pairs: &'a [TokenPair],
        how: (Ablation<'a>, Outcome, MetricSign),
        progress: &'a dyn Progress,
    ) -> Result<Self, MediateError> {
        Self::start(Runs { runner, pairs, ablation: how.0, outcome: how.1, progress, keep: None }, how.2)
    }

    /// The same, with every run kept in a journal and those that it holds taken from there. The journal's request must
    /// cover the pairs that means were taken over; `adapter` is the digest of the adapter on the runner's model.
    pub fn keeping(
        runner: &'a PathRunner<'a>,
        pairs: &'a [TokenPair],
        how: (Ablation<'a>, Outcome, MetricSign),
        progress: &'a dyn Progress,
        (kept, adapter): (&'a KeptRuns, Option<&Digest>),
    ) -> Result<Self, MediateError> {
        let runs = Runs { runner, pairs, ablation: how.0, outcome: how.1, progress, keep: None };
        Self::start(runs.keeping(kept, adapter), how.2)
    }

    fn start(runs: Runs<'a>, sign: MetricSign) -> Result<Self, MediateError> {
        let (pairs, outcome) = (runs.pairs, runs.outcome);
        if pairs.is_empty() {
            return Err(MediateError::NoPairs { population: "circuit".into(), purpose: "evaluate a circuit on" });
        }
        even(pairs)?;
        let ends = [EdgeMask::whole(runs.runner.graph()), EdgeMask::empty(runs.runner.graph())];
        let own = runs.outcomes(&ends, Side::Factual, runs.ablation)?;
        // A divergence is from the run's own side, so its sign needs no other.
        let other = match (sign, outcome) {
            (MetricSign::Measured, Outcome::Kl) | (MetricSign::Declared | MetricSign::Plain, _) => own.clone(),
            _ => runs.outcomes(ends.get(..1).unwrap_or_default(), Side::Counterfactual, Ablation::Zero)?,
        };
        let (mut signs, mut whole, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for (pair, (own, other)) in pairs.iter().zip(own.iter().zip(&other)) {
            let (&[clean, cut], Some(&corrupted)) =
                (own.as_slice().first_chunk().unwrap_or(&[f64::NAN; 2]), other.first())
            else {
                continue;
            };
            let sign = sign.of(pair, outcome, clean, corrupted);
            signs.push(sign);
            whole.push(sign * clean);
            empty.push(sign * cut);
        }
        Ok(Self { runs, signs, whole, empty })
    }

    /// The pairs.
    pub fn pairs(&self) -> &'a [TokenPair] {
        self.runs.pairs
    }

    /// What each pair's outcome is multiplied by to be the metric.
    pub fn signs(&self) -> &[f64] {
        &self.signs
    }

    /// The runner.
    pub fn runner(&self) -> &'a PathRunner<'a> {
        self.runs.runner
    }

    /// The ablation's name.
    pub fn ablation(&self) -> &'static str {
        self.runs.ablation.name()
    }

    /// Metrics of every mask, one list a mask.
    pub fn metrics(&self, masks: &[EdgeMask]) -> Result<Vec<Metrics>, MediateError> {
        let by_pair = self.runs.outcomes(masks, Side::Factual, self.runs.ablation)?;
        let of_mask = |mask: usize| {
            let signed = by_pair.iter().zip(&self.signs);
            signed.map(|(values, sign)| sign * values.get(mask).copied().unwrap_or(f64::NAN)).collect()
        };
        Ok((0..masks.len()).map(of_mask).collect())
    }

    /// Σ (m − m(∅)) / Σ (m(M) − m(∅)); none where the total is 0.
    pub fn share(&self, metrics: &[f64]) -> Option<f64> {
        let above = |metrics: &[f64]| metrics.iter().zip(&self.empty).map(|(m, empty)| m - empty).sum::<f64>();
        let total = above(&self.whole);
        (total != 0.0).then(|| above(metrics) / total)
    }

    /// One item a pair.
    pub fn items(&self, value: impl Fn(usize) -> f64) -> Vec<Item> {
        self.runs.pairs.iter().enumerate().map(|(number, pair)| item(pair, value(number))).collect()
    }

    /// Means of metrics over each cluster of pairs, in the order of the clusters' names.
    pub fn by_cluster(&self, metrics: &[f64]) -> Vec<f64> {
        let mut sums: std::collections::BTreeMap<&str, (f64, f64)> = std::collections::BTreeMap::new();
        for (pair, value) in self.runs.pairs.iter().zip(metrics) {
            let (sum, count) = sums.entry(pair.cluster.as_str()).or_default();
            *sum += value;
            *count += 1.0;
        }
        sums.into_values().map(|(sum, count)| sum / count).collect()
    }

    fn mean(&self, metrics: &[f64], bootstrap: &Bootstrap) -> Estimate {
        let items = self.items(|pair| metrics.get(pair).copied().unwrap_or(f64::NAN));
        estimate(&items, &Statistic::Mean, bootstrap)
    }

    /// A faithfulness with its interval; undefined where the interval of the mean total effect covers 0.
    pub fn faithfulness(&self, metrics: &[f64], bootstrap: &Bootstrap) -> Estimate {
        let difference = |of: &[f64], pair: usize| match (of.get(pair), self.empty.get(pair)) {
            (Some(value), Some(empty)) => value - empty,
            _ => f64::NAN,
        };
        let total = estimate(&self.items(|pair| difference(&self.whole, pair)), &Statistic::Mean, bootstrap);
        if total.interval.is_some() && !total.excludes_zero() {
            let value = total.value.unwrap_or(f64::NAN);
            let reason = format!("the mean total effect, {value:.3}, may be 0: there is nothing to have a share of");
            return Estimate::undefined(reason, total.n, total.clusters);
        }
        let with_total = |(pair, item): (usize, Item)| Item { weight: Some(difference(&self.whole, pair)), ..item };
        let items = self.items(|pair| difference(metrics, pair)).into_iter().enumerate().map(with_total);
        estimate(&items.collect::<Vec<_>>(), &Statistic::Ratio, bootstrap)
    }

    /// Runs a circuit and its complement.
    pub fn evaluate(&self, circuit: &Circuit, bootstrap: &Bootstrap) -> Result<CircuitEvaluation, MediateError> {
        let metrics = self.metrics(&[circuit.mask(), circuit.knockout()])?;
        let [kept, cut] = metrics.as_slice() else { return Err(MediateError::EmptySweep) };
        let total: Vec<f64> = self.whole.iter().zip(&self.empty).map(|(whole, empty)| whole - empty).collect();
        Ok(CircuitEvaluation {
            edges: circuit.len(),
            ablation: self.ablation().to_owned(),
            whole: self.mean(&self.whole, bootstrap),
            empty: self.mean(&self.empty, bootstrap),
            circuit: self.mean(kept, bootstrap),
            complement: self.mean(cut, bootstrap),
            total: self.mean(&total, bootstrap),
            faithfulness: self.faithfulness(kept, bootstrap),
            complement_faithfulness: self.faithfulness(cut, bootstrap),
        })
    }

    /// Cuts random halves of the circuit, and all of it, out of the model and out of the circuit.
    pub fn completeness(&self, circuit: &Circuit, draws: usize, seed: Seed) -> Result<Completeness, MediateError> {
        let mut parts: Vec<BTreeSet<Edge>> = Vec::new();
        for draw in 0..draws {
            let mut edges: Vec<Edge> = circuit.edges().collect();
            shuffle(&mut seed.fork(&draw.to_string()).rng(), &mut edges);
            parts.push(edges.into_iter().take(circuit.len() / 2).collect());
        }
        parts.push(circuit.edges().collect());
        let graph = circuit.graph();
        let masks: Vec<EdgeMask> = parts
            .iter()
            .flat_map(|part| [EdgeMask::cutting(graph, part.iter().copied()), circuit.without(part).mask()])
            .collect();
        let metrics = self.metrics(&masks)?;
        let sum = |metrics: &[f64]| metrics.iter().sum::<f64>();
        let total = (sum(&self.whole) - sum(&self.empty)).abs();
        let gap = |both: &[Metrics]| match both {
            [model, circuit] => (sum(model) - sum(circuit)).abs() / total,
            _ => f64::NAN,
        };
        let gaps: Vec<f64> = metrics.chunks(2).map(gap).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
        Ok(Completeness { draws: gaps.len(), worst: gaps.iter().copied().fold(0.0, f64::max), mean, gaps })
    }

    /// Effects of single edges: cut out of the whole model (`circuit` absent) or out of a circuit (minimality).
    pub fn edge_effects(
        &self,
        edges: &[Edge],
        circuit: Option<&Circuit>,
        bootstrap: &Bootstrap,
    ) -> Result<Vec<EdgeEffect>, MediateError> {
        let graph = self.runs.runner.graph();
        let mask = |edge: &Edge| match circuit {
            None => EdgeMask::cutting(graph, [*edge]),
            Some(circuit) => circuit.without(&[*edge].into()).mask(),
        };
        let with = match circuit {
            None => self.whole.clone(),
            Some(circuit) => self.metrics(&[circuit.mask()])?.pop().unwrap_or_default(),
        };
        let masks: Vec<EdgeMask> = edges.iter().map(mask).collect();
        let mut effects = Vec::with_capacity(edges.len());
        for (edge, without) in edges.iter().zip(self.metrics(&masks)?) {
            let name = graph.name(*edge);
            let value = |pair: usize| match (with.get(pair), without.get(pair)) {
                (Some(with), Some(without)) => with - without,
                _ => f64::NAN,
            };
            let items = self.items(value);
            let (effect, p_value) = mean_and_p_value(&items, &name, edges.len(), bootstrap);
            effects.push(EdgeEffect { edge: name, effect, p_value, adjusted: None });
        }
        let p_values: Vec<f64> = effects.iter().map(|effect| effect.p_value.unwrap_or(f64::NAN)).collect();
        for (effect, adjusted) in effects.iter_mut().zip(benjamini_hochberg(&p_values)) {
            effect.adjusted = Some(adjusted).filter(|adjusted| !adjusted.is_nan());
        }
        Ok(effects)
    }
}
