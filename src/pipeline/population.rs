//! The eval sets of a run: what each stage may see of them, generated from one scenario or declared by a user.

use std::path::Path;

use super::error::PipelineError;
use super::recipe::Recipe;
use crate::base::digest::Hasher;
use crate::base::seed::uniform;
use crate::base::{Digest, Seed};
use crate::causal::Role;
use crate::record::EvalSetIdentity;
use crate::scenario::generate::FRAMING;
use crate::scenario::{CounterfactualPair, Draw, Expectation, Provenance, Scenario, Split, TRAIN, TaskItem};
use crate::trust::evaluate::HeldOutText;

/// How much of each kind a run draws from a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Evaluation items of each environment.
    pub items: usize,
    /// Evaluation pairs of each contrast.
    pub pairs: usize,
    /// Discovery pairs of each contrast.
    pub discovery: usize,
    /// Labelled prompts of the training environment to tune on.
    pub tuning_items: usize,
    /// Pairs of each contrast to tune on.
    pub tuning_pairs: usize,
    /// Held-out texts.
    pub texts: usize,
}

impl Sizes {
    /// What a recipe asks for. Tuning prompts suffice for every step to see new ones.
    pub fn of(recipe: &Recipe) -> Self {
        let windows = recipe.tune.steps * recipe.tune.accumulation;
        Self {
            items: recipe.evaluate.items,
            pairs: recipe.evaluate.pairs,
            discovery: recipe.mediate.pairs,
            tuning_items: (windows * recipe.tune.batch).div_ceil(recipe.eval_sets.len().max(1)).min(2000),
            tuning_pairs: (windows * recipe.tune.pairs).div_ceil(recipe.eval_sets.len().max(1)).min(400),
            texts: recipe.evaluate.texts,
        }
    }
}

/// One eval set, drawn.
#[derive(Debug, Clone)]
pub struct EvalSet {
    /// Its id.
    pub id: String,
    /// The causal model behind it; none for declared pairs.
    pub scenario: Option<Scenario>,
    /// Labelled prompts of all splits.
    pub items: Vec<TaskItem>,
    /// Pairs of all splits, paraphrases and rewordings among them.
    pub pairs: Vec<CounterfactualPair>,
    /// Held-out texts.
    pub texts: Vec<HeldOutText>,
    digest: Digest,
}

impl EvalSet {
    /// A shipped set by its name, a folder with a `scenario.toml`, or a JSONL file of declared pairs; relative paths
    /// are tried below `near` first.
    pub fn open(name: &str, near: Option<&Path>, sizes: Sizes, seed: Seed) -> Result<Self, PipelineError> {
        if Scenario::builtin_ids().any(|id| id == name) {
            return Self::draw(Scenario::builtin(name)?, sizes, seed);
        }
        let beside = near.map(|folder| folder.join(name)).filter(|path| path.exists());
        let path = beside.unwrap_or_else(|| Path::new(name).to_path_buf());
        if path.join("scenario.toml").exists() {
            return Self::draw(Scenario::load(&path)?, sizes, seed);
        }
        if path.extension().is_some_and(|extension| extension == "jsonl") && path.is_file() {
            return Self::declared(&path, seed);
        }
        let known = Scenario::builtin_ids().map(str::to_owned).collect();
        Err(PipelineError::UnknownEvalSet { given: name.to_owned(), known })
    }

    /// Draws a scenario: items in every environment for evaluation and in the training environment for tuning, pairs
    /// of every contrast in the training environment for all three splits.
    pub fn draw(scenario: Scenario, sizes: Sizes, seed: Seed) -> Result<Self, PipelineError> {
        let seed = seed.fork("eval set").fork(&scenario.id);
        let mut items = scenario.items(TRAIN, Split::Tuning, sizes.tuning_items, seed)?;
        for environment in scenario.environments() {
            items.extend(scenario.items(&environment, Split::Evaluation, sizes.items, seed)?);
        }
        let mut pairs = Vec::new();
        let splits = [
            (Split::Tuning, sizes.tuning_pairs),
            (Split::Discovery, sizes.discovery),
            (Split::Evaluation, sizes.pairs),
        ];
        for (split, n) in splits {
            for contrast in scenario.contrasts() {
                pairs.extend(scenario.pairs(Draw::train(split, seed), &contrast, n)?);
            }
        }
        let held_out = Draw::train(Split::Evaluation, seed);
        for contrast in scenario.contrasts() {
            pairs.extend(scenario.paraphrases(held_out, &contrast, sizes.pairs)?);
        }
        pairs.extend(scenario.reframed(held_out, sizes.pairs)?);
        let texts = scenario
            .texts(TRAIN, Split::Evaluation, sizes.texts, seed)?
            .into_iter()
            .enumerate()
            .map(|(n, text)| {
                let id = format!("{}/text/{n:04}", scenario.id);
                HeldOutText { cluster: id.clone(), id, population: format!("{}/{TRAIN}", scenario.id), text }
            })
            .collect();
        Ok(Self::sealed(scenario.id.clone(), Some(scenario), items, pairs, texts))
    }

    /// Declared pairs. A pair that names no split is put into one by its cluster, so that no cluster stands on both
    /// sides: half for tuning, a quarter each for discovery and evaluation.
    fn declared(path: &Path, seed: Seed) -> Result<Self, PipelineError> {
        let mut pairs: Vec<CounterfactualPair> = Vec::new(); let _ = path;
        let id = pairs.first().map_or_else(String::new, |pair| pair.scenario.clone());
        for pair in &mut pairs {
            pair.split = match uniform(&mut seed.fork("declared split").fork(&pair.cluster).rng()) {
                draw if draw < 0.5 => Split::Tuning,
                draw if draw < 0.75 => Split::Discovery,
                _ => Split::Evaluation,
            };
        }
        Ok(Self::sealed(id, None, Vec::new(), pairs, Vec::new()))
    }

    fn sealed(
        id: String,
        scenario: Option<Scenario>,
        items: Vec<TaskItem>,
        pairs: Vec<CounterfactualPair>,
        texts: Vec<HeldOutText>,
    ) -> Self {
        let mut hasher = Hasher::default();
        hasher.part("id", id.as_bytes());
        if let Some(scenario) = &scenario {
            hasher.part("scenario", scenario.digest().as_str().as_bytes());
        }
        // What is scored decides whether two records speak of the same set; what is tuned on does not.
        let scored = items.iter().filter(|item| item.split == Split::Evaluation);
        scored.for_each(|item| hasher.part(&item.id, item.prompt.text.as_bytes()));
        for pair in pairs.iter().filter(|pair| pair.split == Split::Evaluation) {
            hasher.part(&pair.id, format!("{}\n{}", pair.factual.text, pair.counterfactual.text).as_bytes());
        }
        texts.iter().for_each(|text| hasher.part(&text.id, text.text.as_bytes()));
        Self { id, scenario, items, pairs, texts, digest: hasher.finish() }
    }

    /// The items of one split.
    pub fn items_of(&self, split: Split) -> impl Iterator<Item = &TaskItem> {
        self.items.iter().filter(move |item| item.split == split)
    }

    /// The pairs of one split.
    pub fn pairs_of(&self, split: Split) -> impl Iterator<Item = &CounterfactualPair> {
        self.pairs.iter().filter(move |pair| pair.split == split)
    }

    /// The pairs of one split whose effect a penalty may close: invariant, in their own framing's first wording, the
    /// descendants following (no bare word swaps, no rewordings), of a variable that predicts the label.
    pub fn closable(&self, split: Split) -> Vec<&CounterfactualPair> {
        let regenerated = |pair: &CounterfactualPair| match &pair.intervention {
            Some(done) => done.kind == crate::scenario::DoKind::Regenerate && done.variable != FRAMING,
            None => pair.provenance == Provenance::Declared,
        };
        self.pairs_of(split)
            .filter(|pair| pair.expectation == Expectation::Invariant && pair.paraphrase_of.is_none())
            .filter(|pair| regenerated(pair) && !self.moves_nuisance(pair))
            .filter(|pair| pair.factual.text != pair.counterfactual.text)
            .collect()
    }

    /// Whether the pair moves a variable that goes along with nothing, so that no effect is to be expected of it.
    fn moves_nuisance(&self, pair: &CounterfactualPair) -> bool {
        let (Some(scenario), Some(done)) = (&self.scenario, &pair.intervention) else { return false };
        scenario.graph().nodes().iter().any(|node| node.name == done.variable && node.role == Role::Nuisance)
    }

    /// Its name, digest and size for the record.
    pub fn identity(&self) -> EvalSetIdentity {
        EvalSetIdentity {
            id: self.id.clone(),
            digest: self.digest.clone(),
            items: self.items_of(Split::Evaluation).count(),
            pairs: self.pairs_of(Split::Evaluation).count(),
            provenance: if self.scenario.is_some() { "generated".into() } else { "declared".into() },
        }
    }
}
