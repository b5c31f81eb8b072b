//! Equal treatment under `do(protected)`.
//!
//! For x with substitutions Φ(x) (the counterfactual sides of its pairs), the counterfactual gap of Garg et al. 2019 is
//! mean over x of mean over x′ ∈ Φ(x) of |g(x) − g(x′)|. Here g is the probability of the *first* answer offered, normalised
//! over the answers; with two answers the gap is the same for both. Its log-odds twin does not saturate: a gap between 0.999
//! and 0.9999 is small in probability and large in log-odds, and it is the log-odds that a repair must close.
//!
//! These measure counterfactual fairness of the prompts that the causal model writes (Kusner et al. 2017); for declared pairs,
//! which somebody wrote by hand, they are the weaker token-substitution proxy, and the score's note says so.

use std::collections::BTreeMap;

use super::error::TrustError;
use super::metric::{Evidence, Metric, Sample};
use super::select::{PairAnswers, Populations, pair_population, pair_samples};
use crate::scenario::{CounterfactualPair, Provenance};
use crate::stats::{Direction, Objective, Statistic};

pub(super) const GAP: Metric = Metric {
    id: "fairness.counterfactual_gap",
    version: 1,
    objective: Objective::Fairness,
    unit: "probability",
    direction: Direction::Lower,
    definition: "Mean over prompts of the mean absolute difference to their counterfactuals under do(protected) in the \
                 probability of the first answer (normalised over the answers offered).",
    source: "Garg et al. 2019, arXiv 1809.10610, CTF gap",
    collect: gap,
};

pub(super) const GAP_LOG_ODDS: Metric = Metric {
    id: "fairness.counterfactual_gap@log_odds",
    version: 1,
    objective: Objective::Fairness,
    unit: "nats",
    direction: Direction::Lower,
    definition: "Mean absolute total effect of do(protected) on the log-odds of the first answer, over invariant pairs.",
    source: "Vig et al. 2020 total effect, on the log-odds scale",
    collect: |evidence| {
        let chosen = |pair: &CounterfactualPair| evidence.asks_fairness(pair);
        noted(evidence, pair_samples(evidence, Statistic::MeanAbsolute, chosen, effect_on_first)?)
    },
};

pub(super) const FLIP_RATE: Metric = Metric {
    id: "fairness.flip_rate",
    version: 1,
    objective: Objective::Fairness,
    unit: "share",
    direction: Direction::Lower,
    definition: "Share of invariant pairs under do(protected) whose most likely answer changes.",
    source: "Ribeiro et al. 2020 (CheckList), invariance test without a probability threshold",
    collect: |evidence| {
        let chosen = |pair: &CounterfactualPair| evidence.asks_fairness(pair);
        noted(evidence, pair_samples(evidence, Statistic::Share, chosen, |answers| Ok(answers.flipped()))?)
    },
};

pub(super) const DIRECT: Metric = Metric {
    id: "fairness.direct",
    version: 1,
    objective: Objective::Fairness,
    unit: "nats",
    direction: Direction::Lower,
    definition: "Mean absolute effect of the protected attribute on the log-odds of the first answer with every legitimate \
                 mediator held at its factual text.",
    source: "Pearl 2001, direct effect; mediator held in the prompt, not inside the model",
    collect: |evidence| {
        let direct = |pair: &CounterfactualPair| has_mediated_pairs(evidence, pair) && evidence.asks_fairness(pair);
        pair_samples(evidence, Statistic::MeanAbsolute, direct, effect_on_first)
    },
};

pub(super) const INDIRECT: Metric = Metric {
    id: "fairness.indirect",
    version: 1,
    objective: Objective::Fairness,
    unit: "nats",
    direction: Direction::Descriptive,
    definition: "Mean absolute effect of the protected attribute on the log-odds of the first answer through legitimate \
                 mediators alone, everything else held at its factual text.",
    source: "Pearl 2001, indirect effect; mediator moved in the prompt, not inside the model",
    collect: |evidence| {
        let indirect = |pair: &CounterfactualPair| evidence.is_mediated(pair);
        pair_samples(evidence, Statistic::MeanAbsolute, indirect, effect_on_first)
    },
};

fn effect_on_first(answers: &PairAnswers<'_>) -> Result<f64, TrustError> {
    Ok(answers.log_odds_effect(0))
}

/// Whether the pair's scenario also moves a protected attribute through a legitimate mediator, so that direct and indirect
/// parts differ.
fn has_mediated_pairs(evidence: &Evidence<'_>, pair: &CounterfactualPair) -> bool {
    evidence.pairs.iter().any(|other| other.scenario == pair.scenario && evidence.is_mediated(other))
}

/// One item a factual prompt: mean over its counterfactuals of the absolute difference.
fn gap(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    let mut by_prompt: BTreeMap<(String, &str), Vec<(&CounterfactualPair, f64)>> = BTreeMap::new();
    for &pair in evidence.pairs.iter().filter(|pair| evidence.asks_fairness(pair)) {
        let (factual, counterfactual) = evidence.answers.sides(pair)?;
        let first = |probabilities: Vec<f64>| probabilities.first().copied().unwrap_or(f64::NAN);
        let difference = (first(factual.probabilities()) - first(counterfactual.probabilities())).abs();
        by_prompt.entry((pair_population(pair), &pair.factual.text)).or_default().push((pair, difference));
    }
    let mut populations = Populations::default();
    for ((population, _), substitutions) in by_prompt {
        let mean = substitutions.iter().map(|(_, difference)| difference).sum::<f64>() / substitutions.len() as f64;
        let first = substitutions.iter().map(|(pair, _)| pair).min_by_key(|pair| &pair.id);
        if let Some(pair) = first {
            populations.add(population, &pair.id, &pair.cluster, (mean, None, None));
        }
    }
    noted(evidence, populations.samples(&Statistic::Mean))
}

/// Says of samples with declared pairs what they are worth.
fn noted(evidence: &Evidence<'_>, mut samples: Vec<Sample>) -> Result<Vec<Sample>, TrustError> {
    for sample in &mut samples {
        let declared = |pair: &&&CounterfactualPair| {
            pair.provenance == Provenance::Declared && pair_population(pair) == sample.population
        };
        let count = evidence.pairs.iter().filter(declared).count();
        if count > 0 {
            sample.note = Some(format!(
                "{count} declared pair(s): that their sides differ by the protected attribute alone is their author's word."
            ));
        }
    }
    Ok(samples)
}
