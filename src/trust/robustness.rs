//! Stable answers: under spurious edits, under paraphrase, in every group, and where the shortcut no longer holds.
//!
//! A spurious edit sets a cause that the graph calls spurious (and not protected: that is fairness) and regenerates what
//! hangs on it. Groups are label × spurious value (Sagawa et al. 2020); the smallest group's accuracy is a minimum of
//! noisy shares and therefore reads low in small samples, which its resampled interval shows.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::{counterfactual_name, factual_name};
use super::error::TrustError;
use super::metric::{Evidence, Metric, Sample};
use super::select::{PairAnswers, Populations, hit, pair_population, pair_samples, task_samples};
use crate::scenario::{CounterfactualPair, TaskItem};
use crate::stats::{Direction, Objective, Statistic};

pub(super) const GAP_LOG_ODDS: Metric = Metric {
    id: "robustness.counterfactual_gap@log_odds",
    version: 1,
    objective: Objective::Robustness,
    unit: "nats",
    direction: Direction::Lower,
    definition: "Mean absolute total effect of a spurious edit on the log-odds of the first answer, over invariant pairs whose \
                 edited cause is not protected.",
    source: "Vig et al. 2020 total effect, on the log-odds scale",
    collect: |evidence| {
        let effect = |pair: &PairAnswers<'_>| Ok(pair.log_odds_effect(0));
        pair_samples(evidence, Statistic::MeanAbsolute, |pair| evidence.asks_robustness(pair), effect)
    },
};

pub(super) const CONSISTENCY: Metric = Metric {
    id: "robustness.consistency",
    version: 1,
    objective: Objective::Robustness,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of invariant pairs, the edited cause not protected, whose most likely answer stays the same.",
    source: "Ribeiro et al. 2020 (CheckList), invariance test without a probability threshold",
    collect: |evidence| {
        let same = |pair: &PairAnswers<'_>| Ok(1.0 - pair.flipped());
        pair_samples(evidence, Statistic::Share, |pair| evidence.asks_robustness(pair), same)
    },
};

pub(super) const PARAPHRASE_CONSISTENCY: Metric = Metric {
    id: "robustness.paraphrase_consistency",
    version: 1,
    objective: Objective::Robustness,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of rephrased prompts whose most likely answer equals that of the wording that they rephrase; for \
                 paraphrased pairs, of both sides.",
    source: "Elazar et al. 2021, consistency of paraphrases",
    collect: paraphrase_consistency,
};

pub(super) const WORST_GROUP: Metric = Metric {
    id: "robustness.worst_group",
    version: 1,
    objective: Objective::Robustness,
    unit: "share",
    direction: Direction::Higher,
    definition: "Accuracy of the worst group, groups being true label × spurious value; no adjustment by training frequency.",
    source: "Sagawa et al. 2020 (group DRO), worst-group accuracy",
    collect: worst_group,
};

pub(super) const SHIFT_DROP: Metric = Metric {
    id: "robustness.shift_drop",
    version: 1,
    objective: Objective::Robustness,
    unit: "share",
    direction: Direction::Lower,
    definition: "Accuracy in the training environment less accuracy in an environment with changed mechanisms.",
    source: "accuracy.exact, difference of environments",
    collect: shift_drop,
};

fn paraphrase_consistency(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    let same = |pair: &PairAnswers<'_>| Ok(1.0 - pair.flipped());
    let mut samples = pair_samples(evidence, Statistic::Share, |pair| evidence.asks_paraphrase(pair), same)?;
    samples.append(&mut paraphrased_pairs(evidence)?);
    Ok(samples)
}

/// Both sides of each paraphrased pair against the pair that it rephrases.
fn paraphrased_pairs(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    let by_id: BTreeMap<&str, &CounterfactualPair> =
        evidence.pairs.iter().map(|pair| (pair.id.as_str(), *pair)).collect();
    let mut populations = Populations::default();
    for &pair in &evidence.pairs {
        let Some(original) = &pair.paraphrase_of else { continue };
        let original = by_id.get(original.as_str()).ok_or_else(|| TrustError::Dangling {
            item: format!("pair {}", pair.id),
            field: "paraphrase_of".into(),
            target: original.clone(),
        })?;
        let sides = [
            ("factual", factual_name(pair), &pair.factual, factual_name(original), &original.factual),
            (
                "counterfactual",
                counterfactual_name(pair),
                &pair.counterfactual,
                counterfactual_name(original),
                &original.counterfactual,
            ),
        ];
        for (side, name, prompt, original_name, original_prompt) in sides {
            let answer = evidence.answers.of(&name, prompt)?.chosen();
            let original_answer = evidence.answers.of(&original_name, original_prompt)?.chosen();
            let same = if answer == original_answer { 1.0 } else { 0.0 };
            populations.add(pair_population(pair), &format!("{}#{side}", pair.id), &pair.cluster, (same, None, None));
        }
    }
    Ok(populations.samples(&Statistic::Share))
}

fn worst_group(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    let samples = task_samples(evidence, Statistic::WorstGroup, |item| {
        Ok((hit(evidence, item)?, Some(item.group.clone()), None))
    })?;
    // One group alone has no worst: its accuracy is accuracy.exact.
    Ok(samples.into_iter().filter(|sample| distinct_groups(sample) > 1).map(with_group_counts).collect())
}

fn distinct_groups(sample: &Sample) -> usize {
    sample.items.iter().filter_map(|item| item.group.as_deref()).collect::<BTreeSet<_>>().len()
}

/// Says how many items each group has: a minimum over tiny groups means little.
fn with_group_counts(mut sample: Sample) -> Sample {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for group in sample.items.iter().filter_map(|item| item.group.as_deref()) {
        *counts.entry(group).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(group, count)| format!("{group} {count}")).collect();
    sample.note = Some(format!("Items a group: {}.", counts.join(", ")));
    sample
}

fn shift_drop(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    let training = evidence.training_environment.as_str();
    let mut by_scenario: BTreeMap<&str, BTreeMap<&str, Vec<&TaskItem>>> = BTreeMap::new();
    for &item in &evidence.items {
        by_scenario.entry(&item.scenario).or_default().entry(&item.environment).or_default().push(item);
    }
    let mut samples = Vec::new();
    for (scenario, environments) in &by_scenario {
        let Some(trained) = environments.get(training) else { continue };
        for (environment, shifted) in environments.iter().filter(|(environment, _)| **environment != training) {
            let mut populations = Populations::default();
            for &item in trained.iter().chain(shifted) {
                let value = hit(evidence, item)?;
                let population = format!("{scenario}/{training} to {environment}");
                populations.add(population, &item.id, &item.cluster, (value, Some(item.environment.clone()), None));
            }
            let statistic =
                Statistic::GroupDifference { minuend: training.to_owned(), subtrahend: (*environment).to_owned() };
            samples.extend(populations.samples(&statistic));
        }
    }
    Ok(samples)
}
