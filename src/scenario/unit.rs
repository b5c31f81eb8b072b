//! One unit under one contrast: its two worlds, the value that it is set to, and what is expected of an answer.

use std::collections::BTreeMap;

use super::error::ScenarioError;
use super::generate::{Draw, split_name};
use super::model::Scenario;
use super::pair::{CounterfactualPair, DoIntervention, DoKind, Expectation, Provenance};
use super::query::{Contrast, Expected, Moved};
use super::scm::{Mechanism, Words, World};
use super::spec::PathKind;
use super::template::{Framing, Template};
use crate::base::Seed;
use crate::base::seed::index;

impl Scenario {
    /// Two sides of one unit.
    pub(super) fn pair(
        &self,
        draw: Draw<'_>,
        contrast: &Contrast,
        number: usize,
        framing: &Framing,
        rephrased: Option<&Template>,
    ) -> Result<CounterfactualPair, ScenarioError> {
        let Draw { environment, split, seed } = draw;
        let id = format!("{}/{environment}/{}/{}/{number:04}", self.id, split_name(split), contrast.name());
        let unit = seed.fork(&id);
        let noise = self.scm.noise(&unit);
        let words = Words::Of(split);
        let factual = self.scm.world(environment, words, &noise, &BTreeMap::new());
        let variable = self.observed(&contrast.variable)?;
        let value = self.target(draw, variable, framing.answer, &factual, &unit).ok_or_else(|| {
            ScenarioError::request(&self.id, format!("`{}` has no second value to be set to", contrast.variable))
        })?;
        let counterfactual =
            self.counterfactual(draw, contrast.moved, framing.answer, &noise, &factual, (variable, value));
        let template = rephrased.unwrap_or(&framing.text);
        let kind = if contrast.moved == Moved::Word { DoKind::WordSwap } else { DoKind::Regenerate };
        let to = self.scm.variable(variable).and_then(|v| v.values.get(value)).cloned().unwrap_or_default();
        Ok(CounterfactualPair {
            scenario: self.id.clone(),
            environment: environment.to_owned(),
            split,
            template: framing.id.clone(),
            cluster: self.cluster(framing),
            factual: self.prompt(template, framing.answer, &factual),
            counterfactual: self.prompt(template, framing.answer, &counterfactual),
            intervention: Some(DoIntervention {
                variable: contrast.variable.clone(),
                from: self.scm.text(variable, &factual).to_owned(),
                to,
                kind,
            }),
            expectation: self.pair_expectation(variable, contrast, framing.answer, &counterfactual)?,
            path: Some(self.moved_paths(variable, framing.answer, contrast.moved).join(", ")),
            paraphrase_of: rephrased.map(|_| id.clone()),
            provenance: Provenance::Generated,
            id: if rephrased.is_some() { format!("{id}/p1") } else { id },
        })
    }

    /// The world of the unit under the contrast.
    fn counterfactual(
        &self,
        Draw { environment, split, .. }: Draw<'_>,
        moved: Moved,
        answer: usize,
        noise: &[f64],
        factual: &[usize],
        (variable, value): (usize, usize),
    ) -> World {
        let words = Words::Of(split);
        if moved == Moved::All {
            return self.scm.world(environment, words, noise, &BTreeMap::from([(variable, value)]));
        }
        let following = self.moved(variable, answer, moved);
        let rest = following.without(variable);
        let mut world = self.scm.path_world((environment, words), noise, factual, (variable, value), rest);
        if following.contains(variable) {
            world.iter_mut().skip(variable).take(1).for_each(|slot| *slot = value);
        }
        world
    }

    /// The value that a unit's variable is set to: for a word of several lists, the word at the same place of another
    /// list; else another value, preferring those that change what legitimate causes speak for. Drawn evenly from
    /// the candidates by the unit's own stream `do`.
    fn target(&self, draw: Draw<'_>, variable: usize, answer: usize, factual: &[usize], unit: &Seed) -> Option<usize> {
        let node = self.scm.variable(variable)?;
        let current = *factual.get(variable)?;
        let allowed: Vec<usize> = match self.scm.mechanism(draw.environment, variable)? {
            Mechanism::Table(_) => (0..node.values.len()).collect(),
            Mechanism::Choice(rows) => {
                let range = |row: &[usize]| node.pools.as_ref().map_or(0..row.len(), |pools| pools.of(draw.split));
                let place = rows
                    .iter()
                    .find_map(|row| range(row).find(|&at| row.get(at) == Some(&current)).filter(|_| rows.len() > 1));
                match place {
                    Some(place) => rows.iter().filter_map(|row| row.get(place)).copied().collect(),
                    None => rows.iter().flat_map(|row| row.get(range(row)).unwrap_or(&[])).copied().collect(),
                }
            }
        };
        let others: Vec<usize> = allowed.into_iter().filter(|&value| value != current).collect();
        let legitimate = self.answers.get(answer).is_some_and(|node| node.legitimate().any(|index| index == variable));
        let now = self.legitimate_label(answer, factual);
        let speaks = |value: &usize| {
            let mut world = factual.to_vec();
            world.iter_mut().skip(variable).take(1).for_each(|slot| *slot = *value);
            legitimate && self.legitimate_label(answer, &world) != now
        };
        let telling: Vec<usize> = others.iter().copied().filter(speaks).collect();
        let candidates = if telling.is_empty() { others } else { telling };
        candidates.get(index(&mut unit.fork("do").rng(), candidates.len())).copied()
    }

    /// What a pair expects: see [`Scenario::legitimate_label`] for the label of a *follow* pair.
    fn pair_expectation(
        &self,
        variable: usize,
        contrast: &Contrast,
        answer: usize,
        counterfactual: &[usize],
    ) -> Result<Expectation, ScenarioError> {
        let refuse = |message: String| Err(ScenarioError::request(&self.id, message));
        let (name, output) = (&contrast.variable, &contrast.answer);
        let invariant = match (self.expected(variable, answer), contrast.moved) {
            (Expected::NoPath, _) => {
                return refuse(format!("`{name}` has no path to `{output}`: choose one of its causes"));
            }
            (Expected::Recanting { witness }, Moved::Spurious | Moved::Legitimate) => {
                return refuse(format!(
                    "the paths of `{name}` to `{output}` cannot be told apart: `{witness}` lies on spurious and on legitimate ones; take one of its edges out, or intervene on it"
                ));
            }
            (Expected::Split | Expected::Recanting { .. }, Moved::All) => {
                return refuse(format!(
                    "`{name}` moves `{output}` on spurious and on legitimate paths, so its total effect has no expectation: ask for the spurious or the legitimate part"
                ));
            }
            (Expected::Invariant, Moved::Legitimate) | (Expected::Follow, Moved::Spurious) => {
                return refuse(format!("`{name}` has no path of that kind to `{output}`"));
            }
            (Expected::Invariant, _) | (_, Moved::Spurious) => true,
            (Expected::Follow, _) | (_, Moved::Legitimate) => false,
            (_, Moved::Word) => {
                let parents = self.answers.get(answer).map(|answer| &answer.parents);
                parents.and_then(|parents| parents.get(&variable)) == Some(&PathKind::Spurious)
            }
        };
        if invariant {
            return Ok(Expectation::Invariant);
        }
        match self.legitimate_label(answer, counterfactual) {
            Some(label) => Ok(Expectation::Follow { label }),
            None => refuse(format!("`{output}` has no label for `{name}` to move: name one under [{output}]")),
        }
    }
}
