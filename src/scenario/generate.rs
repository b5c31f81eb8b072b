//! Draws items, counterfactual pairs and plain text from a scenario.
//!
//! Every draw hangs on an id: `seed.fork(id)` is the unit, its forks by variable name are the exogenous noise, so an
//! item is the same whatever else is drawn, in whatever order. Framings take turns, so that each has its share.
//! The resampling cluster is the framing: units within a framing share its wording, which is what varies least.

use std::collections::BTreeMap;

use super::error::ScenarioError;
use super::model::Scenario;
use super::pair::{CounterfactualPair, DoIntervention, DoKind, Expectation, Prompt, Provenance, Split, TaskItem};
use super::query::Contrast;
use super::scm::{TRAIN, Words};
use super::template::{Framing, Template};
use crate::base::Seed;
use crate::base::seed::index;
use crate::causal::Role;

/// The name under which a framing stands in interventions on the wording itself.
pub const FRAMING: &str = "framing";

/// Who asks for what: an environment, a split and a seed.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The environment whose mechanisms draw.
    pub environment: &'a str,
    /// Whose words and framings are used.
    pub split: Split,
    /// The root of the noise.
    pub seed: Seed,
}

impl Scenario {
    /// `n` labelled prompts. Answers without a label are left out.
    pub fn items(&self, environment: &str, split: Split, n: usize, seed: Seed) -> Result<Vec<TaskItem>, ScenarioError> {
        self.check_environment(environment)?;
        let framings = self.labelled_framings(split)?;
        let item = |(number, framing): (usize, &&Framing)| {
            let id = format!("{}/{environment}/{}/{number:04}", self.id, split_name(split));
            let noise = self.scm.noise(&seed.fork(&id));
            let world = self.scm.world(environment, Words::Of(split), &noise, &BTreeMap::new());
            let prompt = self.prompt(&framing.text, framing.answer, &world);
            TaskItem {
                scenario: self.id.clone(),
                environment: environment.to_owned(),
                split,
                template: framing.id.clone(),
                cluster: self.cluster(framing),
                group: self.group(framing.answer, &world),
                prompt,
                id,
            }
        };
        Ok((0..n).zip(framings.iter().cycle()).map(item).collect())
    }

    /// `n` pairs of one contrast. Where a counterfactual leaves the text as it is (a mediator that does not move this
    /// unit), the pair is kept: its effect is zero and belongs to the population mean.
    pub fn pairs(
        &self,
        draw: Draw<'_>,
        contrast: &Contrast,
        n: usize,
    ) -> Result<Vec<CounterfactualPair>, ScenarioError> {
        let framings = self.framings_for(draw, contrast)?;
        (0..n)
            .zip(framings.iter().cycle())
            .map(|(number, framing)| self.pair(draw, contrast, number, framing, None))
            .collect()
    }

    /// The pairs of [`Scenario::pairs`], rendered by the first paraphrase of their framing; each names the pair that
    /// it rephrases. Framings without a paraphrase are left out.
    pub fn paraphrases(
        &self,
        draw: Draw<'_>,
        contrast: &Contrast,
        n: usize,
    ) -> Result<Vec<CounterfactualPair>, ScenarioError> {
        let framings = self.framings_for(draw, contrast)?;
        let turns = (0..n).zip(framings.iter().cycle());
        let rephrased = turns.filter_map(|(number, framing)| Some((number, framing, framing.paraphrases.first()?)));
        rephrased.map(|(number, framing, text)| self.pair(draw, contrast, number, framing, Some(text))).collect()
    }

    /// `n` pairs whose sides say the same in other words: an intervention on the framing, expected to change nothing.
    pub fn reframed(&self, draw: Draw<'_>, n: usize) -> Result<Vec<CounterfactualPair>, ScenarioError> {
        self.check_environment(draw.environment)?;
        let framings = self.labelled_framings(draw.split)?;
        let turns = (0..n).zip(framings.iter().cycle());
        let pair = |(number, framing, text): (usize, &&Framing, &Template)| {
            let id = format!("{}/{}/{}/{FRAMING}/{number:04}", self.id, draw.environment, split_name(draw.split));
            let noise = self.scm.noise(&draw.seed.fork(&id));
            let world = self.scm.world(draw.environment, Words::Of(draw.split), &noise, &BTreeMap::new());
            let (variable, from) = (FRAMING.to_owned(), framing.id.clone());
            let intervention = DoIntervention { variable, to: format!("{from}/p1"), from, kind: DoKind::Regenerate };
            CounterfactualPair {
                id,
                scenario: self.id.clone(),
                environment: draw.environment.to_owned(),
                split: draw.split,
                template: framing.id.clone(),
                cluster: self.cluster(framing),
                factual: self.prompt(&framing.text, framing.answer, &world),
                counterfactual: self.prompt(text, framing.answer, &world),
                intervention: Some(intervention),
                expectation: Expectation::Invariant,
                path: self.answers.get(framing.answer).map(|answer| format!("{FRAMING} → {}", answer.name)),
                paraphrase_of: None,
                provenance: Provenance::Generated,
            }
        };
        Ok(turns.filter_map(|(n, framing)| Some((n, framing, framing.paraphrases.first()?))).map(pair).collect())
    }

    /// `n` plain texts (prompt, true answer, sentence end) over all framings, paraphrases and words of all splits:
    /// what a model is trained on that should know the scenario's language.
    pub fn corpus(&self, environment: &str, n: usize, seed: Seed) -> Result<Vec<String>, ScenarioError> {
        self.plain(environment, None, n, seed)
    }

    /// `n` plain texts in the words and framings of one split, such as held-out text for perplexity.
    pub fn texts(&self, environment: &str, split: Split, n: usize, seed: Seed) -> Result<Vec<String>, ScenarioError> {
        self.plain(environment, Some(split), n, seed)
    }

    fn plain(
        &self,
        environment: &str,
        split: Option<Split>,
        n: usize,
        seed: Seed,
    ) -> Result<Vec<String>, ScenarioError> {
        self.check_environment(environment)?;
        let labelled = |framing: &&Framing| self.answers.get(framing.answer).is_some_and(|a| a.label.is_some());
        let wanted = |framing: &&Framing| split.is_none_or(|split| framing.split == split);
        let framings = self.prompts.framings.iter().filter(labelled).filter(wanted);
        let templates: Vec<(usize, &Template)> = framings
            .flat_map(|framing| [&framing.text].into_iter().chain(&framing.paraphrases).map(|t| (framing.answer, t)))
            .collect();
        let words = split.map_or(Words::All, Words::Of);
        let name = split.map_or("corpus", split_name);
        let text = |number: usize| {
            let unit = seed.fork(&format!("{}/{environment}/{name}/text/{number}", self.id));
            let world = self.scm.world(environment, words, &self.scm.noise(&unit), &BTreeMap::new());
            let &(answer, template) = templates.get(index(&mut unit.fork(FRAMING).rng(), templates.len()))?;
            let prompt = self.prompt(template, answer, &world);
            let gold = prompt.label.and_then(|label| prompt.answers.get(label)).cloned().unwrap_or_default();
            Some(prompt.text + &gold + &self.prompts.end)
        };
        Ok((0..n).filter_map(text).collect())
    }

    /// A rendered world.
    pub(super) fn prompt(&self, template: &Template, answer: usize, world: &[usize]) -> Prompt {
        let (text, slots) = template.render(|variable| self.scm.text(variable, world));
        let observed = self.scm.variables().iter().enumerate().filter(|(_, v)| v.role != Role::Latent);
        let values = observed.map(|(i, v)| (v.name.clone(), self.scm.text(i, world).to_owned())).collect();
        let node = self.answers.get(answer);
        let label = node.and_then(|node| node.label).and_then(|label| world.get(label)).copied();
        Prompt { text, slots, values, answers: node.map(|node| node.texts.clone()).unwrap_or_default(), label }
    }

    /// `label/variable=value`.
    fn group(&self, answer: usize, world: &[usize]) -> String {
        let Some(answer) = self.answers.get(answer) else { return String::new() };
        let label = answer.label.map_or("", |label| self.scm.text(label, world));
        match answer.group {
            Some(group) => {
                let name = self.scm.variable(group).map_or("", |v| v.name.as_str());
                format!("{label}/{name}={}", self.scm.text(group, world))
            }
            None => label.to_owned(),
        }
    }

    pub(super) fn cluster(&self, framing: &Framing) -> String {
        format!("{}/{}", self.id, framing.id)
    }

    fn labelled_framings(&self, split: Split) -> Result<Vec<&Framing>, ScenarioError> {
        let labelled = |(_, answer): &(usize, &super::model::Answer)| answer.label.is_some();
        let answers = self.answers.iter().enumerate().filter(labelled);
        let framings: Vec<&Framing> = answers.flat_map(|(answer, _)| self.prompts.of(split, answer)).collect();
        self.some(framings, split)
    }

    fn framings_for(&self, draw: Draw<'_>, contrast: &Contrast) -> Result<Vec<&Framing>, ScenarioError> {
        self.check_environment(draw.environment)?;
        let answer = self.answer_index(&contrast.answer)?;
        self.some(self.prompts.of(draw.split, answer), draw.split)
    }

    fn some<'a>(&self, framings: Vec<&'a Framing>, split: Split) -> Result<Vec<&'a Framing>, ScenarioError> {
        match framings.is_empty() {
            true => Err(ScenarioError::request(
                &self.id,
                format!("no framing has split = \"{}\": add one to the prompt file", split_name(split)),
            )),
            false => Ok(framings),
        }
    }
}

/// The split as files spell it.
pub(super) fn split_name(split: Split) -> &'static str {
    match split {
        Split::Tuning => "tuning",
        Split::Discovery => "discovery",
        Split::Evaluation => "evaluation",
    }
}

impl<'a> Draw<'a> {
    /// A draw from the training environment.
    pub fn train(split: Split, seed: Seed) -> Self {
        Draw { environment: TRAIN, split, seed }
    }
}
