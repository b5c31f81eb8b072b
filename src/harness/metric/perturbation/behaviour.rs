//! CheckList's three kinds of behavioural tests.
//!
//! A test case passes if all its examples do; of invariance and direction the original does not count. What is not applicable is left out of the
//! rate and counted in the note.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::MetricUse;
use super::pairs::{Family, Pair, Population, answer, correct, expectation, item, populations, probabilities};
use crate::harness::HarnessError;
use crate::harness::perturb::Expectation;
use crate::harness::question::{Answered, Target};
use crate::stats::{Item, Statistic};
use crate::trust::metric::Sample;

type Samples = Result<Vec<Sample>, HarnessError>;

const TOLERANCE: f64 = 0.1;

pub fn mft(answered: &[Answered], _: &MetricUse) -> Samples {
    let mut tests: BTreeMap<&str, BTreeMap<&str, Vec<&Answered>>> = BTreeMap::new();
    for answer in answered.iter().filter(|answer| answer.question.column("kind") == Some("mft")) {
        let test = answer.question.column("test").unwrap_or("mft");
        let case = answer.question.column("case").unwrap_or(&answer.question.cluster);
        tests.entry(test).or_default().entry(case).or_default().push(answer);
    }
    let sample = |(test, cases): (&str, BTreeMap<&str, Vec<&Answered>>)| {
        let total = cases.len();
        let failed = |examples: Vec<&Answered>| {
            let hits: Vec<f64> = examples.iter().filter_map(|example| correct(example)).collect();
            let wrong = hits.contains(&0.0);
            let first = examples.first()?;
            (!hits.is_empty()).then(|| item(first, f64::from(u8::from(wrong))))
        };
        let items: Vec<Item> = cases.into_values().filter_map(failed).collect();
        let population = Population { name: test.to_owned(), families: vec![] };
        let note = note(total, items.len());
        population.sample(Statistic::Share, items, note)
    };
    Ok(tests.into_iter().map(sample).collect())
}

pub fn inv(answered: &[Answered], used: &MetricUse) -> Samples {
    judged(
        answered,
        used,
        "inv",
        |name| matches!(expectation(name), Expectation::Invariant | Expectation::Follows),
        invariant,
    )
}

pub fn dir(answered: &[Answered], used: &MetricUse) -> Samples {
    judged(answered, used, "dir", |name| expectation(name) == Expectation::Flips, directed)
}

type Judge = fn(&Answered, Pair<'_>, f64) -> Option<bool>;

/// Failure rates over cases of one kind: as a user declares them, or by what a perturbation expects.
fn judged(
    answered: &[Answered],
    used: &MetricUse,
    kind: &str,
    expected: impl Fn(&str) -> bool,
    judge: Judge,
) -> Samples {
    let mut samples = Vec::new();
    for population in populations(&used.id, answered)? {
        let of_kind = |pair: &Pair<'_>| match pair.variant.question.column("kind") {
            Some(declared) => declared == kind,
            None => expected(&pair.made.perturbation),
        };
        let cases: Vec<&Family<'_>> =
            population.families.iter().filter(|family| family.changed().any(|pair| of_kind(&pair))).collect();
        if cases.is_empty() {
            continue;
        }
        let failed = |family: &&Family<'_>| {
            let passes = |pair: Pair<'_>| judge(family.original, pair, tolerance(family.original, used));
            let applicable: Vec<bool> = family.changed().filter(of_kind).filter_map(passes).collect();
            let failed = applicable.iter().any(|passed| !passed);
            (!applicable.is_empty()).then(|| family.item(f64::from(u8::from(failed))))
        };
        let items: Vec<Item> = cases.iter().filter_map(failed).collect();
        let note = note(cases.len(), items.len());
        samples.push(population.sample(Statistic::Share, items, note));
    }
    Ok(samples)
}

fn note(cases: usize, applicable: usize) -> Option<String> {
    (cases > applicable).then(|| format!("{} of {cases} cases are not applicable.", cases - applicable))
}

/// The case's own tolerance, else the metric's, else 0.1.
fn tolerance(original: &Answered, used: &MetricUse) -> f64 {
    let own = original.question.column("tolerance").and_then(|text| text.parse().ok());
    own.or_else(|| used.arguments.get("tolerance").and_then(Value::as_f64)).unwrap_or(TOLERANCE)
}

/// The same answer, or another where the probability of the original's answer moved by no more than the tolerance.
fn invariant(original: &Answered, pair: Pair<'_>, tolerance: f64) -> Option<bool> {
    if answer(original)? == answer(pair.variant)? {
        return Some(true);
    }
    let chosen = original.chosen().filter(|_| tolerance > 0.0);
    let moved = chosen.and_then(|chosen| {
        Some((probabilities(pair.variant)?.get(chosen)? - probabilities(original)?.get(chosen)?).abs())
    });
    Some(moved.is_some_and(|moved| moved <= tolerance))
}

/// The probability of a choice moves the expected way, or against it by no more than the tolerance.
fn directed(original: &Answered, pair: Pair<'_>, tolerance: f64) -> Option<bool> {
    let column = |name: &str| original.question.column(name);
    let label = match (column("label").and_then(|label| label.parse::<usize>().ok()), &original.question.target) {
        (Some(label), _) => label,
        // A user's case speaks of the predicted choice where it names none.
        (None, _) if column("kind").is_some() => original.chosen()?,
        // A negation whose answer flips: the right choice must not become more likely.
        (None, Target::Choices { indexes }) if pair.variant.question.target != Target::None => *indexes.first()?,
        (None, _) => return None,
    };
    let (before, after) = (*probabilities(original)?.get(label)?, *probabilities(pair.variant)?.get(label)?);
    match column("expect") {
        Some("increase") => (before > tolerance).then_some(after - before + tolerance >= 0.0),
        _ => (before < 1.0 - tolerance).then_some(after - before - tolerance <= 0.0),
    }
}
