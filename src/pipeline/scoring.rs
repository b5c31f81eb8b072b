//! One checkpoint on all eval sets.

use std::path::Path;

use super::error::PipelineError;
use super::population::Population;
use super::recipe::EvaluateRecipe;
use crate::base::{Digest, Progress, Seed};
use crate::model::LanguageModel;
use crate::scenario::{Canary, Split};
use crate::stats::Bootstrap;
use crate::trust::evaluate::{EvaluateInput, EvaluateSettings, Evaluation, evaluate};
use crate::trust::{Checkpoint, PathwayEvidence, ScoreStore};

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
    pub sets: &'a [Population],
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
        Bootstrap { replicates: self.recipe.replicates, level: self.recipe.level, seed: self.seed.fork("bootstrap") }
    }

    /// All metrics of one checkpoint, and the answers behind them. Finished scores are kept in `journal`, so that a stopped run goes on where it was.
    pub fn score(
        &self,
        subject: Subject<'_>,
        pathways: Vec<PathwayEvidence>,
        journal: &Path,
    ) -> Result<Evaluation, PipelineError> {
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
            items: self.recipe.items,
            pairs: self.recipe.pairs,
        };
        let mut store = ScoreStore::open(journal)?;
        Ok(evaluate(subject.checkpoint(), &input, &settings, &mut store, self.progress)?)
    }
}
