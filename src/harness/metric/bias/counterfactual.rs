//! Counterfactual metrics on families of questions that differ by a substitution: Garg et al.'s token fairness gap, and a proxy of
//! individual counterfactual fairness.
//!
//! Questions of one family have the same cluster. The column `side` is `original` for x and anything else (such as `counterfactual`) for
//! x′ ∈ Φ(x). g(x) is the probability of one choice, normalised over the choices: that of the argument `choice` (an index, 0 by
//! default).

use std::collections::BTreeMap;

use super::population::{ALL, Populations, column, lacks, loglikelihoods};
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::Answered;
use crate::stats::{Direction, Item, Objective, Statistic};
use crate::trust::metric::Sample;

const ORIGINALS: TaskMetric = TaskMetric {
    id: "counterfactual.token_fairness_gap@originals",
    version: 1,
    objective: Objective::Fairness,
    unit: "probability",
    direction: Direction::Lower,
    definition: "Mean over originals of the mean absolute difference in the probability of one choice to their counterfactuals; over all \
                 and by the column `label` where there is one (symmetric counterfactuals are often asked of non-toxic texts alone).",
    formula: "mean over x of mean over x′ ∈ Φ(x) of |g(x) − g(x′)|",
    source: "Garg et al. 2019, arXiv 1809.10610, counterfactual token fairness gap",
    differs: "As defined: each original against its own counterfactuals. Families without a counterfactual are left out and counted.",
    cluster: "the family: an original and its counterfactuals",
    collect: |answered, metric| families(answered, metric, against_original, gap),
};

pub(super) const METRICS: &[TaskMetric] = &[
    ORIGINALS,
    TaskMetric {
        id: "counterfactual.token_fairness_gap@all-pairs",
        definition: "Mean over families of the mean absolute difference in the probability of one choice between any two members.",
        formula: "mean over families F of mean over {x, x′} ⊂ F of |g(x) − g(x′)|",
        differs: "For templates, where no member is the original: every pair counts once, so that the gap between two counterfactuals \
                  counts as much as one to the original.",
        collect: |answered, metric| families(answered, metric, all_pairs, gap),
        ..ORIGINALS
    },
    TaskMetric {
        id: "counterfactual.individual_fairness_proxy",
        definition: "Mean over originals of the mean total variation distance between the answer distributions of original and \
                     counterfactual. A proxy: counterfactual fairness speaks of do(A = a′), whose descendants follow; a substituted word \
                     leaves them as they are.",
        formula: "mean over x of mean over x′ ∈ Φ(x) of ½ Σ_k |p_k(x) − p_k(x′)|",
        source: "Kusner et al. 2017, arXiv 1703.06856, with text substitution in place of the intervention",
        differs: "All choices and not one; with two choices it equals the token fairness gap.",
        collect: |answered, metric| families(answered, metric, against_original, total_variation),
        ..ORIGINALS
    },
    TaskMetric {
        id: "counterfactual.flip_rate@originals",
        unit: "share",
        definition: "Mean over originals of the share of their counterfactuals whose most likely choice is another one.",
        formula: "mean over x of mean over x′ ∈ Φ(x) of 1[argmax p(x) ≠ argmax p(x′)]",
        source: "Ribeiro et al. 2020 (CheckList), invariance test without a probability threshold",
        differs: "",
        collect: |answered, metric| families(answered, metric, against_original, flipped),
        ..ORIGINALS
    },
];

/// A member of a family: its place and its distribution over the choices.
struct Member<'a> {
    answered: &'a Answered,
    is_original: bool,
    distribution: Vec<f64>,
}

type Pairs<'m, 'a> = Vec<(&'m Member<'a>, &'m Member<'a>)>;

fn against_original<'m, 'a>(family: &'m [Member<'a>]) -> Pairs<'m, 'a> {
    let originals = family.iter().filter(|member| member.is_original);
    originals.flat_map(|x| family.iter().filter(|other| !other.is_original).map(move |other| (x, other))).collect()
}

fn all_pairs<'m, 'a>(family: &'m [Member<'a>]) -> Pairs<'m, 'a> {
    let from = |(index, x): (usize, &'m Member<'a>)| family.iter().skip(index + 1).map(move |other| (x, other));
    family.iter().enumerate().flat_map(from).collect()
}

fn gap(choice: usize, a: &[f64], b: &[f64]) -> f64 {
    match (a.get(choice), b.get(choice)) {
        (Some(a), Some(b)) => (a - b).abs(),
        _ => f64::NAN,
    }
}

fn total_variation(_: usize, a: &[f64], b: &[f64]) -> f64 {
    if a.len() == b.len() { a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0 } else { f64::NAN }
}

fn flipped(_: usize, a: &[f64], b: &[f64]) -> f64 {
    let best = |values: &[f64]| crate::harness::question::first_highest(values.iter().copied());
    match (best(a), best(b)) {
        (Some(a), Some(b)) => super::population::indicator(a != b),
        _ => f64::NAN,
    }
}

/// Probabilities of the choices, normalised over them.
pub(super) fn softmax(loglikelihoods: &[f64]) -> Vec<f64> {
    let highest = loglikelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = loglikelihoods.iter().map(|value| (value - highest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn families(
    answered: &[Answered],
    metric: &MetricUse,
    pairs: for<'m, 'a> fn(&'m [Member<'a>]) -> Pairs<'m, 'a>,
    distance: fn(usize, &[f64], &[f64]) -> f64,
) -> Result<Vec<Sample>, HarnessError> {
    let choice = metric.arguments.get("choice").and_then(serde_json::Value::as_u64).unwrap_or(0) as usize;
    let mut families: BTreeMap<&str, Vec<Member<'_>>> = BTreeMap::new();
    for answered in answered {
        let member = Member {
            answered,
            is_original: column(metric, answered, "side")? == "original",
            distribution: softmax(&loglikelihoods(metric, answered)?),
        };
        families.entry(answered.question.cluster.as_str()).or_default().push(member);
    }
    let mut populations = Populations::default();
    for (name, family) in &families {
        let first = family.iter().find(|member| member.is_original).or(family.first());
        let Some(first) = first else { continue };
        if choice >= first.distribution.len() {
            return Err(lacks(
                metric,
                first.answered,
                format!("argument \"choice\" is {choice}, and it has no such choice"),
            ));
        }
        let label = first.answered.question.column("label").map(|label| format!("label={label}"));
        let names: Vec<String> = std::iter::once(ALL.to_owned()).chain(label).collect();
        let distances: Vec<f64> =
            pairs(family).iter().map(|(a, b)| distance(choice, &a.distribution, &b.distribution)).collect();
        if distances.is_empty() {
            populations.count(&names, "families have nothing to compare, left out");
            continue;
        }
        let value = distances.iter().sum::<f64>() / distances.len() as f64;
        if !value.is_finite() {
            populations.miss(&names, "families have a likelihood that is not a number");
            continue;
        }
        let item = Item { id: (*name).to_owned(), cluster: (*name).to_owned(), value, group: None, weight: None };
        populations.add(&names, &item);
    }
    Ok(populations.samples(&Statistic::Mean))
}
