//! Originals with their variants, and what a base metric says of each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::{MetricUse, task_metric};
use crate::harness::HarnessError;
use crate::harness::perturb::{Expectation, SUITES, perturbation};
use crate::harness::question::{Answered, Target, Variant};
use crate::stats::{Direction, Item, Statistic};
use crate::trust::metric::Sample;

/// A variant with what it was made of.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub variant: &'a Answered,
    pub made: &'a Variant,
}

/// An original with the variants of a population.
pub struct Family<'a> {
    pub original: &'a Answered,
    pub variants: Vec<Pair<'a>>,
}

impl<'a> Family<'a> {
    /// The variants that differ in something that the model reads.
    pub fn changed(&self) -> impl Iterator<Item = Pair<'a>> + '_ {
        self.variants.iter().copied().filter(|pair| pair.made.changed)
    }

    /// An item of this original.
    pub fn item(&self, value: f64) -> Item {
        item(self.original, value)
    }
}

/// An item of a question.
pub fn item(of: &Answered, value: f64) -> Item {
    Item { id: of.question.id.clone(), cluster: of.question.cluster.clone(), value, group: None, weight: None }
}

/// A perturbation, or several together: the originals with its variants, those without any among them.
pub struct Population<'a> {
    pub name: String,
    pub families: Vec<Family<'a>>,
}

impl Population<'_> {
    /// A sample of this population.
    pub fn sample(&self, statistic: Statistic, items: Vec<Item>, note: Option<String>) -> Sample {
        let undefined = items.is_empty().then(|| "no question of this population can be measured".to_owned());
        Sample { population: self.name.clone(), statistic, items, denominator: None, undefined, note }
    }
}

/// What is declared of a perturbation; user's tests expect the same answer.
pub fn expectation(name: &str) -> Expectation {
    perturbation(name).map_or(Expectation::Invariant, |perturbation| perturbation.expectation)
}

/// Every perturbation by itself; where there are several, all together that expect the answer to stay or to go with a swap, and of these, where that
/// is not all, those of robustness and those of fairness.
///
/// # Errors
/// A variant whose original is not among the answers.
pub fn populations<'a>(metric: &str, answered: &'a [Answered]) -> Result<Vec<Population<'a>>, HarnessError> {
    let is_original = |answer: &&Answered| answer.question.variant.is_none();
    let originals: Vec<&Answered> = answered.iter().filter(is_original).collect();
    let known: BTreeSet<&str> = originals.iter().map(|answer| answer.question.id.as_str()).collect();
    let mut pairs: BTreeMap<&str, Vec<Pair<'a>>> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    for variant in answered {
        let Some(made) = &variant.question.variant else { continue };
        if !known.contains(made.of.as_str()) {
            let message = format!("it was made of {:?}, which is not among the answers", made.of);
            return Err(HarnessError::Metric { metric: metric.into(), question: variant.question.id.clone(), message });
        }
        if !names.contains(&made.perturbation.as_str()) {
            names.push(&made.perturbation);
        }
        pairs.entry(&made.of).or_default().push(Pair { variant, made });
    }
    let population = |(name, members): (String, Vec<&str>)| Population {
        name,
        families: originals
            .iter()
            .map(|original| {
                let own = pairs.get(original.question.id.as_str()).into_iter().flatten();
                let variants = own.filter(|pair| members.contains(&pair.made.perturbation.as_str())).copied().collect();
                Family { original, variants }
            })
            .collect(),
    };
    Ok(grouped(&names).into_iter().map(population).collect())
}

/// Populations by name with the perturbations in them.
fn grouped<'a>(names: &[&'a str]) -> Vec<(String, Vec<&'a str>)> {
    let mut groups: Vec<(String, Vec<&'a str>)> = names.iter().map(|name| ((*name).to_owned(), vec![*name])).collect();
    let held: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| matches!(expectation(name), Expectation::Invariant | Expectation::Follows))
        .collect();
    let member = |suites: &[&str], name: &str| {
        SUITES.iter().any(|(suite, members)| suites.contains(suite) && members.contains(&name))
    };
    let of = |suites: &[&str]| held.iter().copied().filter(|name| member(suites, name)).collect::<Vec<_>>();
    let sets = [
        ("all", held.clone()),
        ("robustness", of(&["robustness", "helm-robustness"])),
        ("fairness", of(&["fairness", "helm-fairness"])),
    ];
    for (name, members) in sets {
        if members.len() > 1 && !groups.iter().any(|(_, known)| *known == members) {
            groups.push((name.to_owned(), members));
        }
    }
    groups
}

/// What a base metric says, by question id, and which way is better.
pub struct Base {
    pub values: BTreeMap<String, f64>,
    pub direction: Direction,
    pub name: String,
}

impl Base {
    /// The base metric that the use names as `of`, with `of_arguments` for its own arguments; correctness where it names none.
    ///
    /// # Errors
    /// Unknown metrics, metrics of suites themselves, and what the base metric cannot read.
    pub fn of(answered: &[Answered], used: &MetricUse) -> Result<Self, HarnessError> {
        let Some(of) = used.arguments.get("of").and_then(Value::as_str) else {
            let value = |answer: &Answered| Some((answer.question.id.clone(), correct(answer)?));
            let values = answered.iter().filter_map(value).collect();
            return Ok(Self { values, direction: Direction::Higher, name: "correctness".into() });
        };
        let metric = task_metric(of)?;
        if ["perturbation.", "checklist.", "counterfactual.", "shift."].iter().any(|own| of.starts_with(own)) {
            let message = "a metric of suites cannot be the base of another; name one of single questions".into();
            return Err(HarnessError::Metric { metric: used.id.clone(), question: of.into(), message });
        }
        let arguments = match used.arguments.get("of_arguments") {
            Some(Value::Object(arguments)) => arguments.clone(),
            _ => Map::new(),
        };
        let samples = (metric.collect)(answered, &MetricUse { id: of.into(), arguments })?;
        let mut values = BTreeMap::new();
        for sample in samples {
            let share = |item: &Item| match sample.statistic {
                Statistic::Ratio | Statistic::ExpRatio => item.value / item.weight.unwrap_or(1.0),
                _ => item.value,
            };
            for item in &sample.items {
                values.entry(item.id.clone()).or_insert_with(|| share(item));
            }
        }
        Ok(Self { values, direction: metric.direction, name: of.into() })
    }

    /// The value of a question, where it has one.
    pub fn value(&self, of: &Answered) -> Option<f64> {
        self.values.get(&of.question.id).copied()
    }
}

/// 1 where the answer is right, 0 where it is not or is no answer; `None` where nothing is right.
pub fn correct(answered: &Answered) -> Option<f64> {
    let right = match &answered.question.target {
        Target::Choices { indexes } => answered.chosen().is_some_and(|chosen| indexes.contains(&chosen)),
        Target::Texts { texts } => {
            let said = text(answered);
            said.is_some_and(|said| texts.iter().any(|text| text.trim() == said.trim()))
        }
        Target::None => return None,
    };
    Some(f64::from(u8::from(right)))
}

/// The generated text: under the filter `none`, else the first filter, else as it was.
pub fn text(answered: &Answered) -> Option<&str> {
    let filtered = answered.filtered.get("none").or_else(|| answered.filtered.values().next());
    let filtered = filtered.and_then(|texts| texts.first()).map(String::as_str);
    filtered.or_else(|| answered.responses.iter().find_map(|response| response.text()))
}

/// What was answered: the choice by its place in the original, or the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Choice(usize),
    Text(String),
}

/// The answer of a question; `None` where it is neither choice nor text.
pub fn answer(answered: &Answered) -> Option<Answer> {
    if answered.question.choices.is_empty() {
        return text(answered).map(|text| Answer::Text(text.trim().to_owned()));
    }
    let chosen = answered.chosen()?;
    let place = answered.question.variant.as_ref().map_or(chosen, |made| made.original_choice(chosen));
    Some(Answer::Choice(place))
}

/// The softmax of the choices' log-likelihoods, by the choices' places in the original.
pub fn probabilities(answered: &Answered) -> Option<Vec<f64>> {
    let scores = answered.choice_loglikelihoods();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if scores.len() < 2 || scores.iter().any(|score| score.is_nan()) || !highest.is_finite() {
        return None;
    }
    let odds: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let total: f64 = odds.iter().sum();
    let mut shares = vec![0.0; odds.len()];
    for (index, share) in odds.iter().enumerate() {
        let place = answered.question.variant.as_ref().map_or(index, |made| made.original_choice(index));
        shares.iter_mut().skip(place).take(1).for_each(|slot| *slot = share / total);
    }
    Some(shares)
}
