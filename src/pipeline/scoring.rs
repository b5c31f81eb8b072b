//! One checkpoint on all eval sets.

use std::path::Path;

use super::error::PipelineError;
use super::population::EvalSet;
use super::recipe::EvaluateRecipe;
use crate::base::{Digest, Progress, Seed};
use crate::model::LanguageModel;
use crate::scenario::{Canary, CounterfactualPair, Split};
use crate::stats::{Bootstrap, MetricScore};
use crate::trust::answers::{counterfactual_name, factual_name};
use crate::trust::evaluate::{EvaluateInput, EvaluateSettings, evaluate};
use crate::trust::scoring::answer_table;
use crate::trust::{AnswerTable, Checkpoint, Pass, PathwayEvidence, ScoreStore};

/// A checkpoint to score: the model with its frozen adapter, and the adapter's digest.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model, a frozen adapter attached.
    pub model: &'a LanguageModel,
    /// The adapter's digest.
    pub adapter: Option<&'a Digest>,
}

impl<'a> Subject<'a> {
    fn checkpoint(&self) -> Checkpoint<'a> {
        Checkpoint { model: self.model, adapter: self.adapter }
    }
}

/// How a recipe scores.
pub struct Scorer<'a> {
    /// The eval sets.
    pub sets: &'a [EvalSet],
    /// The canaries.
    pub canaries: &'a [Canary],
    /// Sizes and intervals.
    pub recipe: &'a EvaluateRecipe,
    /// The run's seed.
    pub seed: Seed,
    /// Told of every batch.
    pub progress: &'a dyn Progress,
}

impl Scorer<'_> {
    /// The bootstrap of every interval.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            replicates: self.recipe.replicates,
            level: self.recipe.level,
            seed: self.seed.fork("bootstrap"),
        }
    }

    /// All metrics of one checkpoint. Finished scores are kept in `journal`, so that a stopped run goes on where it was.
    pub fn score(
        &self,
        subject: Subject<'_>,
        pathways: Vec<PathwayEvidence>,
        journal: &Path,
    ) -> Result<Vec<MetricScore>, PipelineError> {
        let texts: Vec<_> = self.sets.iter().flat_map(|set| set.texts.clone()).collect();
        let input = EvaluateInput {
            items: self.sets.iter().flat_map(|set| set.items_of(Split::Evaluation)).collect(),
            pairs: self.sets.iter().flat_map(|set| set.pairs_of(Split::Evaluation)).collect(),
            scenarios: self.sets.iter().filter_map(|set| set.scenario.as_ref()).collect(),
            texts: &texts,
            canaries: self.canaries,
            pathways,
        };
        let settings = EvaluateSettings {
            bootstrap: self.bootstrap(),
            batch_tokens: self.recipe.batch_tokens,
            split: Split::Evaluation,
            items: None,
            pairs: None,
        };
        let mut store = ScoreStore::open(journal)?;
        Ok(evaluate(subject.checkpoint(), &input, &settings, &mut store, self.progress)?)
    }

    /// The answers to both sides of some pairs.
    pub fn answers(
        &self,
        subject: Subject<'_>,
        pairs: &[&CounterfactualPair],
        journal: &Path,
    ) -> Result<AnswerTable, PipelineError> {
        let sides = |pair: &&'_ CounterfactualPair| {
            [(factual_name(pair), pair.factual.clone()), (counterfactual_name(pair), pair.counterfactual.clone())]
        };
        let prompts: Vec<_> = pairs.iter().flat_map(sides).collect();
        let named: Vec<_> = prompts.iter().map(|(name, prompt)| (name.clone(), prompt)).collect();
        let mut store = ScoreStore::open(journal)?;
        let batch_tokens = self.recipe.batch_tokens;
        let mut pass = Pass { store: &mut store, batch_tokens, progress: self.progress };
        Ok(answer_table(subject.checkpoint(), &named, &mut pass)?)
    }
}
