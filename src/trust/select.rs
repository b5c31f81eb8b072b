//! Which items and pairs a metric speaks of, and how their values become samples.

use std::collections::BTreeMap;

use super::answers::{Answers, counterfactual_name};
use super::error::TrustError;
use super::metric::{Cause, Evidence, Sample};
use crate::scenario::{CounterfactualPair, DoKind, Expectation, Prompt, TaskItem};
use crate::stats::{Item, Statistic};

/// An item's value, group and weight, as [`Item`] has them.
pub(super) type Value = (f64, Option<String>, Option<f64>);

/// A pair with its two answers.
pub(super) struct PairAnswers<'a> {
    pub pair: &'a CounterfactualPair,
    pub factual: Answers<'a>,
    pub counterfactual: Answers<'a>,
}

impl PairAnswers<'_> {
    /// The total effect of the pair's `do` on the log-odds of one answer, nats.
    pub fn log_odds_effect(&self, answer: usize) -> f64 {
        self.counterfactual.log_odds(answer) - self.factual.log_odds(answer)
    }

    /// 1 where the model's answer changes, else 0.
    pub fn flipped(&self) -> f64 {
        if self.factual.chosen() == self.counterfactual.chosen() { 0.0 } else { 1.0 }
    }
}

/// How errors call an item.
pub(super) fn item_name(item: &TaskItem) -> String {
    format!("item {}", item.id)
}

/// Scenario and environment of an item.
pub(super) fn item_population(item: &TaskItem) -> String {
    format!("{}/{}", item.scenario, item.environment)
}

/// Scenario and environment of a pair. Paraphrased pairs are a population of their own, and so are bare word swaps: a weaker
/// intervention than a `do` whose descendants follow.
pub(super) fn pair_population(pair: &CounterfactualPair) -> String {
    let mut population = format!("{}/{}", pair.scenario, pair.environment);
    if let Some(intervention) = pair.intervention.as_ref().filter(|i| i.kind == DoKind::WordSwap) {
        population.push_str(&format!("/word swap of {}", intervention.variable));
    }
    if pair.paraphrase_of.is_some() {
        population.push_str("/paraphrase");
    }
    population
}

/// The true label of a prompt.
pub(super) fn label_of(name: &str, prompt: &Prompt) -> Result<usize, TrustError> {
    prompt.label.filter(|&label| label < prompt.answers.len()).ok_or_else(|| TrustError::Label {
        item: name.into(),
        found: prompt.label.map_or_else(|| "missing".into(), |label| label.to_string()),
        answers: prompt.answers.len(),
    })
}

/// 1 where the model's answer is the item's label, else 0.
pub(super) fn hit(evidence: &Evidence<'_>, item: &TaskItem) -> Result<f64, TrustError> {
    let name = item_name(item);
    let label = label_of(&name, &item.prompt)?;
    let chosen = evidence.answers.of(&name, &item.prompt)?.chosen();
    Ok(if chosen == label { 1.0 } else { 0.0 })
}

/// One sample a scenario and environment, from a value an item.
pub(super) fn task_samples(
    evidence: &Evidence<'_>,
    statistic: Statistic,
    value: impl Fn(&TaskItem) -> Result<Value, TrustError>,
) -> Result<Vec<Sample>, TrustError> {
    let mut populations = Populations::default();
    for &item in &evidence.items {
        populations.add(item_population(item), &item.id, &item.cluster, value(item)?);
    }
    Ok(populations.samples(&statistic))
}

/// One sample a population, from a value a pair, over the pairs that `chosen` lets through.
pub(super) fn pair_samples<'e>(
    evidence: &'e Evidence<'_>,
    statistic: Statistic,
    chosen: impl Fn(&CounterfactualPair) -> bool,
    value: impl Fn(&PairAnswers<'e>) -> Result<f64, TrustError>,
) -> Result<Vec<Sample>, TrustError> {
    let mut populations = Populations::default();
    for &pair in evidence.pairs.iter().filter(|pair| chosen(pair)) {
        let (factual, counterfactual) = evidence.answers.sides(pair)?;
        let value = value(&PairAnswers { pair, factual, counterfactual })?;
        populations.add(pair_population(pair), &pair.id, &pair.cluster, (value, None, None));
    }
    Ok(populations.samples(&statistic))
}

/// The label that a *follow* pair expects on its counterfactual side.
pub(super) fn expected_label(pair: &CounterfactualPair) -> Result<Option<usize>, TrustError> {
    match pair.expectation {
        Expectation::Invariant => Ok(None),
        Expectation::Follow { label } if label < pair.counterfactual.answers.len() => Ok(Some(label)),
        Expectation::Follow { label } => Err(TrustError::Label {
            item: counterfactual_name(pair),
            found: label.to_string(),
            answers: pair.counterfactual.answers.len(),
        }),
    }
}

impl Evidence<'_> {
    /// What the variable that a pair's `do` sets is to the answer; `None` where nobody said.
    pub(super) fn cause(&self, pair: &CounterfactualPair) -> Option<Cause> {
        let variable = &pair.intervention.as_ref()?.variable;
        self.causes.get(&(pair.scenario.clone(), variable.clone())).copied()
    }

    /// Whether the pair asks if a protected attribute moves the answer. A declared pair that must not move the answer and
    /// does not say what it changed counts here too: equal treatment is what its author asked for.
    pub(super) fn asks_fairness(&self, pair: &CounterfactualPair) -> bool {
        pair.expectation == Expectation::Invariant
            && matches!(self.cause(pair), Some(Cause::Protected | Cause::Proxy) | None)
    }

    /// Whether the pair asks if another spurious cause moves the answer.
    pub(super) fn asks_robustness(&self, pair: &CounterfactualPair) -> bool {
        pair.expectation == Expectation::Invariant && self.cause(pair) == Some(Cause::Spurious)
    }

    /// Whether the pair asks if other words for the same move the answer.
    pub(super) fn asks_paraphrase(&self, pair: &CounterfactualPair) -> bool {
        pair.expectation == Expectation::Invariant && self.cause(pair) == Some(Cause::Wording)
    }

    /// Whether the pair moves a protected attribute through legitimate mediators alone.
    pub(super) fn is_mediated(&self, pair: &CounterfactualPair) -> bool {
        pair.expectation != Expectation::Invariant && self.cause(pair) == Some(Cause::Protected)
    }

    /// By pair, +1 or −1, so that pairs of one contrast written in opposite directions (female to male, male to female) count
    /// the same way whatever the model says. A swapped proxy counts in the direction of the protected value that its factual
    /// side was drawn under. Pairs that do not say what they changed have no entry.
    pub(super) fn contrasts(&self) -> BTreeMap<&str, f64> {
        self.pairs.iter().filter_map(|pair| Some((pair.id.as_str(), self.contrast(pair)?))).collect()
    }

    fn contrast(&self, pair: &CounterfactualPair) -> Option<f64> {
        let intervention = pair.intervention.as_ref()?;
        let backwards = match self.cause(pair) {
            Some(Cause::Proxy) => {
                let mut protected = self.causes.iter().filter(|(_, cause)| **cause == Cause::Protected);
                let ((_, variable), _) = protected.find(|((scenario, _), _)| *scenario == pair.scenario)?;
                let drawn = pair.factual.values.get(variable)?;
                let of_scenario = self.pairs.iter().filter(|other| other.scenario == pair.scenario);
                of_scenario.filter_map(|other| other.factual.values.get(variable)).any(|value| value < drawn)
            }
            _ => intervention.from > intervention.to,
        };
        Some(if backwards { -1.0 } else { 1.0 })
    }
}

/// Items gathered by population.
#[derive(Default)]
pub(super) struct Populations(BTreeMap<String, Vec<Item>>);

impl Populations {
    /// Adds one item to a population.
    pub fn add(&mut self, population: String, id: &str, cluster: &str, (value, group, weight): Value) {
        let item = Item { id: id.into(), cluster: cluster.into(), value, group, weight };
        self.0.entry(population).or_default().push(item);
    }

    /// The populations in the order of their names, each with its items in the order of their ids.
    pub fn samples(self, statistic: &Statistic) -> Vec<Sample> {
        self.0
            .into_iter()
            .map(|(population, mut items)| {
                items.sort_by(|a, b| a.id.cmp(&b.id));
                Sample {
                    population,
                    statistic: statistic.clone(),
                    items,
                    denominator: None,
                    undefined: None,
                    note: None,
                }
            })
            .collect()
    }
}
