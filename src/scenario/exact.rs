//! Exact enumeration of the causal model, and what the best predictors on it can reach.
//!
//! Only ancestors of the variables asked for are enumerated; the cost is the product of their numbers of values.

use std::collections::BTreeMap;

use super::model::Scenario;
use super::scm::{Scm, TRAIN, Words};
use super::spec::PathKind;
use crate::causal::NodeSet;

/// Probabilities by the values of the queried variables, in query order.
pub type Distribution = BTreeMap<Vec<usize>, f64>;

/// The most likely label and its joint probability, by the values of the legitimate parents.
pub(super) type LabelTable = BTreeMap<Vec<usize>, (usize, f64)>;

/// What a predictor may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// All that the prompt shows.
    All,
    /// Only legitimate causes.
    Legitimate,
    /// Only spurious ones.
    Spurious,
}

impl Scm {
    /// The joint distribution of `query` under `do(set)`, by enumeration.
    pub fn distribution(
        &self,
        environment: &str,
        words: Words,
        set: &BTreeMap<usize, usize>,
        query: &[usize],
    ) -> Distribution {
        let mut needed: NodeSet = query.iter().copied().collect();
        for (index, variable) in self.variables().iter().enumerate().rev() {
            if needed.contains(index) && !set.contains_key(&index) {
                needed |= variable.parents.iter().copied().collect();
            }
        }
        let mut found = Distribution::new();
        let mut world = vec![0; self.variables().len()];
        let order: Vec<usize> = needed.iter().collect();
        self.enumerate((environment, words), set, &order, 1.0, &mut world, &mut |world, p| {
            let key = query.iter().map(|&index| world.get(index).copied().unwrap_or(0)).collect();
            *found.entry(key).or_insert(0.0) += p;
        });
        found
    }

    fn enumerate(
        &self,
        setting: (&str, Words),
        set: &BTreeMap<usize, usize>,
        order: &[usize],
        p: f64,
        world: &mut Vec<usize>,
        visit: &mut impl FnMut(&[usize], f64),
    ) {
        let Some((&index, rest)) = order.split_first() else { return visit(world, p) };
        let choices: Vec<(usize, f64)> = match set.get(&index) {
            Some(&value) => vec![(value, 1.0)],
            None => {
                let parents = self.variables().get(index).map_or(&[][..], |v| v.parents.as_slice());
                let parents: Vec<usize> = parents.iter().map(|&at| world.get(at).copied().unwrap_or(0)).collect();
                self.probabilities(setting.0, setting.1, index, &parents).into_iter().enumerate().collect()
            }
        };
        for (value, share) in choices.into_iter().filter(|(_, share)| *share > 0.0) {
            world.iter_mut().skip(index).take(1).for_each(|slot| *slot = value);
            self.enumerate(setting, set, rest, p * share, world, visit);
        }
    }
}

impl Scenario {
    /// The best prediction of the label from the given features in the environment `trained_in`, and its expected
    /// accuracy in `tested_in`: what a perfect learner of the former reaches in the latter. `None` where the answer
    /// has no label or an environment does not exist. Ties go to the first value.
    pub fn bayes_accuracy(&self, answer: usize, features: Features, trained_in: &str, tested_in: &str) -> Option<f64> {
        let answer = self.answers.get(answer)?;
        let label = answer.label?;
        self.check_environment(trained_in).and_then(|()| self.check_environment(tested_in)).ok()?;
        let seen = answer.parents.iter().filter(|(_, kind)| match features {
            Features::All => true,
            Features::Legitimate => **kind == PathKind::Legitimate,
            Features::Spurious => **kind == PathKind::Spurious,
        });
        let query: Vec<usize> = seen.map(|(&index, _)| index).chain([label]).collect();
        let joint = |environment: &str| self.scm.distribution(environment, Words::All, &BTreeMap::new(), &query);
        let mut best: BTreeMap<Vec<usize>, (usize, f64)> = BTreeMap::new();
        for (key, p) in joint(trained_in) {
            let Some((&value, seen)) = key.split_last() else { continue };
            let entry = best.entry(seen.to_vec()).or_insert((value, p));
            if p > entry.1 {
                *entry = (value, p);
            }
        }
        let right = |(key, p): (Vec<usize>, f64)| match key.split_last() {
            Some((value, seen)) if best.get(seen).is_some_and(|(guess, _)| guess == value) => p,
            _ => 0.0,
        };
        Some(joint(tested_in).into_iter().map(right).sum())
    }

    /// How much accuracy in `environment` the shortcut was worth: best predictor with everything less best predictor
    /// with legitimate causes alone, both fitted to the training environment.
    pub fn shortcut_worth(&self, answer: usize, environment: &str) -> Option<f64> {
        let with = self.bayes_accuracy(answer, Features::All, TRAIN, environment)?;
        Some(with - self.bayes_accuracy(answer, Features::Legitimate, TRAIN, environment)?)
    }

    /// The label that legitimate causes speak for: argmax of P(label | the answer's legitimate parents as in
    /// `world`) in the training environment, everything else marginalised, over all words. This, and not the drawn
    /// label, is what a *follow* pair expects: the drawn label carries noise that no prompt shows. Ties go to the
    /// first value; `None` without a label or where the training environment never shows such parents.
    pub fn legitimate_label(&self, answer: usize, world: &[usize]) -> Option<usize> {
        let node = self.answers.get(answer)?;
        let seen: Vec<usize> = node.legitimate().map(|index| world.get(index).copied().unwrap_or(0)).collect();
        let tables =
            self.labels.get_or_init(|| (0..self.answers.len()).map(|answer| self.label_table(answer)).collect());
        tables.get(answer)?.get(&seen).map(|(value, _)| *value)
    }

    /// The most likely label, with its joint probability, by the values of the legitimate parents.
    fn label_table(&self, answer: usize) -> LabelTable {
        let mut best = LabelTable::new();
        let Some((answer, label)) = self.answers.get(answer).and_then(|answer| Some((answer, answer.label?))) else {
            return best;
        };
        let query: Vec<usize> = answer.legitimate().chain([label]).collect();
        for (key, p) in self.scm.distribution(TRAIN, Words::All, &BTreeMap::new(), &query) {
            let Some((&value, seen)) = key.split_last() else { continue };
            let entry = best.entry(seen.to_vec()).or_insert((value, p));
            if p > entry.1 {
                *entry = (value, p);
            }
        }
        best
    }
}
