//! What a run works on: of each eval set, the frozen part that claims are made on, and what discovery and tuning may
//! see, drawn from the same scenario in other words and framings; or pairs that a user declared.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::PipelineError;
use super::recipe::Recipe;
use crate::base::{Digest, Seed, files};
use crate::causal::Role;
use crate::record::EvalSetIdentity;
use crate::scenario::declared::{read_declared, split_by_cluster};
use crate::scenario::eval_set::{EvalSet, is_reframed, is_word_swap};
use crate::scenario::{CounterfactualPair, Draw, Expectation, Scenario, Split, TRAIN, TaskItem};
use crate::trust::evaluate::HeldOutText;

/// How much a run draws beside the frozen part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
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
    /// What a recipe asks for. Tuning prompts suffice for every step to see new ones, up to 2000 a set.
    pub fn of(recipe: &Recipe) -> Self {
        let windows = recipe.tune.steps * recipe.tune.accumulation;
        let each = |n: usize| (windows * n).div_ceil(recipe.eval_sets.len().max(1));
        Self {
            discovery: recipe.mediate.pairs,
            tuning_items: each(recipe.tune.batch).min(2000),
            tuning_pairs: each(recipe.tune.pairs).min(400),
            texts: recipe.evaluate.texts,
        }
    }
}

/// One eval set with what the other stages may see.
#[derive(Debug, Clone)]
pub struct Population {
    /// The eval set's id.
    pub id: String,
    /// The causal model behind it; none for declared pairs.
    pub scenario: Option<Scenario>,
    /// Labelled prompts of the evaluation and the tuning split.
    pub items: Vec<TaskItem>,
    /// Pairs of all splits, paraphrases and rewordings among them.
    pub pairs: Vec<CounterfactualPair>,
    /// Held-out texts.
    pub texts: Vec<HeldOutText>,
    digest: Digest,
}

impl Population {
    /// A shipped set by its name, a folder with a `scenario.toml`, or a JSONL file of declared pairs; relative paths
    /// are tried below `near` first.
    pub fn open(name: &str, near: Option<&Path>, sizes: Sizes, seed: Seed) -> Result<Self, PipelineError> {
        if Scenario::builtin_ids().any(|id| id == name) {
            return Self::of_scenario(EvalSet::builtin(name)?, sizes, seed);
        }
        let beside = near.map(|folder| folder.join(name)).filter(|path| files::exists(path));
        let path = beside.unwrap_or_else(|| Path::new(name).to_path_buf());
        if files::exists(&path.join("scenario.toml")) {
            return Self::of_scenario(EvalSet::open(&path)?, sizes, seed);
        }
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            return Self::declared(&path, seed);
        }
        let known = Scenario::builtin_ids().map(str::to_owned).collect();
        Err(PipelineError::UnknownEvalSet { given: name.to_owned(), known })
    }

    /// The frozen evaluation part, and tuning and discovery material drawn from the training environment.
    fn of_scenario(set: EvalSet, sizes: Sizes, seed: Seed) -> Result<Self, PipelineError> {
        let EvalSet { scenario, mut items, mut pairs, digest } = set;
        let seed = seed.fork("population").fork(&scenario.id);
        items.extend(scenario.items(TRAIN, Split::Tuning, sizes.tuning_items, seed)?);
        for (split, n) in [(Split::Tuning, sizes.tuning_pairs), (Split::Discovery, sizes.discovery)] {
            for contrast in scenario.contrasts() {
                pairs.extend(scenario.pairs(Draw::train(split, seed), &contrast, n)?);
            }
        }
        let texts = scenario
            .texts(TRAIN, Split::Evaluation, sizes.texts, seed)?
            .into_iter()
            .enumerate()
            .map(|(n, text)| {
                let id = format!("{}/text/{n:04}", scenario.id);
                HeldOutText { cluster: id.clone(), id, population: format!("{}/{TRAIN}", scenario.id), text }
            })
            .collect();
        Ok(Self { id: scenario.id.clone(), scenario: Some(scenario), items, pairs, texts, digest })
    }

    /// Declared pairs: in the splits that the file names, else dealt out by cluster. Where a pair has a label, its factual
    /// side is a labelled prompt too.
    fn declared(path: &Path, seed: Seed) -> Result<Self, PipelineError> {
        let mut pairs = read_declared(path)?;
        if pairs.iter().all(|pair| pair.split == Split::Evaluation) {
            split_by_cluster(&mut pairs, seed);
        }
        let items = labelled_prompts(&pairs);
        let id = pairs.first().map_or_else(String::new, |pair| pair.scenario.clone());
        let digest = Digest::of(&files::read(path, files::TEXT_LIMIT)?);
        Ok(Self { id, scenario: None, items, pairs, texts: Vec::new(), digest })
    }

    /// The items of one split.
    pub fn items_of(&self, split: Split) -> impl Iterator<Item = &TaskItem> {
        self.items.iter().filter(move |item| item.split == split)
    }

    /// The pairs of one split.
    pub fn pairs_of(&self, split: Split) -> impl Iterator<Item = &CounterfactualPair> {
        self.pairs.iter().filter(move |pair| pair.split == split)
    }

    /// The pairs of one split whose effect a penalty may close: invariant, in their framing's first wording, the
    /// descendants following (no bare word swaps, no rewordings), of a variable that goes along with something.
    pub fn closable(&self, split: Split) -> Vec<&CounterfactualPair> {
        self.pairs_of(split)
            .filter(|pair| pair.expectation == Expectation::Invariant && pair.paraphrase_of.is_none())
            .filter(|pair| !is_word_swap(pair) && !is_reframed(pair) && !self.moves_nuisance(pair))
            .filter(|pair| pair.factual.text != pair.counterfactual.text)
            .collect()
    }

    /// The pairs of one split whose answer should follow.
    pub fn follows(&self, split: Split) -> Vec<&CounterfactualPair> {
        self.pairs_of(split)
            .filter(|pair| matches!(pair.expectation, Expectation::Follow { .. }) && pair.paraphrase_of.is_none())
            .filter(|pair| !is_word_swap(pair) && pair.factual.text != pair.counterfactual.text)
            .collect()
    }

    /// Whether the pair moves a variable that goes along with nothing, so that no effect is to be expected of it.
    fn moves_nuisance(&self, pair: &CounterfactualPair) -> bool {
        let (Some(scenario), Some(done)) = (&self.scenario, &pair.intervention) else { return false };
        scenario.graph().nodes().iter().any(|node| node.name == done.variable && node.role == Role::Nuisance)
    }

    /// The environment in which effects and repairs are claimed: where the shortcut holds, or the first that declared
    /// pairs name.
    pub fn home(&self) -> &str {
        let declared = self.pairs.first().filter(|_| self.scenario.is_none());
        declared.map_or(TRAIN, |pair| pair.environment.as_str())
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

/// The factual sides that have a label, each text once a split.
fn labelled_prompts(pairs: &[CounterfactualPair]) -> Vec<TaskItem> {
    let mut seen = BTreeSet::new();
    let item = |pair: &CounterfactualPair| {
        let label = pair.factual.label?;
        seen.insert((pair.split, pair.factual.text.clone())).then(|| TaskItem {
            id: format!("{}#factual", pair.id),
            scenario: pair.scenario.clone(),
            environment: pair.environment.clone(),
            split: pair.split,
            template: pair.template.clone(),
            cluster: pair.cluster.clone(),
            group: pair.factual.answers.get(label).map(|answer| answer.trim().to_owned()).unwrap_or_default(),
            prompt: pair.factual.clone(),
        })
    };
    pairs.iter().filter_map(item).collect()
}
