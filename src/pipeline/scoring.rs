//! One checkpoint on all eval sets: answers, texts and canaries, then every metric.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::PipelineError;
use super::population::EvalSet;
use super::recipe::EvaluateRecipe;
use crate::base::{Digest, Progress, Seed};
use crate::model::LanguageModel;
use crate::scenario::canary::Canary;
use crate::scenario::{CounterfactualPair, Split, TRAIN};
use crate::stats::MetricScore;
use crate::stats::bootstrap::Bootstrap;
use crate::trust::answers::{counterfactual_name, factual_name};
use crate::trust::metric::{Evidence, Membership, PathwayEvidence, ScoredCanary, ScoredText};
use crate::trust::scoring::{Checkpoint, Pass, answer_table, score_texts};
use crate::trust::{AnswerTable, ScoreStore, measure};

/// A checkpoint to score.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model, a frozen adapter attached.
    pub model: &'a LanguageModel,
    /// The adapter's digest.
    pub adapter: Option<&'a Digest>,
}

/// What a checkpoint said, and what that means.
pub struct Scored {
    /// All metrics.
    pub scores: Vec<MetricScore>,
    /// The answers behind them.
    pub answers: AnswerTable,
}

/// The bootstrap of a recipe.
pub fn bootstrap(recipe: &EvaluateRecipe, seed: Seed) -> Bootstrap {
    Bootstrap { replicates: recipe.replicates, level: recipe.level, seed: seed.fork("bootstrap") }
}

/// Scores a checkpoint. Finished scores are kept in `journal`, so that a stopped run goes on where it was.
pub fn score_checkpoint(
    subject: Subject<'_>,
    sets: &[EvalSet],
    canaries: &[Canary],
    pathways: Vec<PathwayEvidence>,
    (recipe, seed): (&EvaluateRecipe, Seed),
    journal: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Scored, PipelineError> {
    let mut store = match journal {
        Some(path) => ScoreStore::open(path)?,
        None => ScoreStore::in_memory(),
    };
    let mut pass = Pass { store: &mut store, batch_tokens: recipe.batch_tokens, progress };
    let checkpoint = Checkpoint { model: subject.model, adapter: subject.adapter };
    let pairs: Vec<&CounterfactualPair> = sets.iter().flat_map(|set| set.pairs_of(Split::Evaluation)).collect();
    let items: Vec<_> = sets.iter().flat_map(|set| set.items_of(Split::Evaluation)).collect();
    let mut prompts: Vec<(String, _)> = items.iter().map(|item| (format!("item {}", item.id), &item.prompt)).collect();
    for pair in &pairs {
        prompts.push((factual_name(pair), &pair.factual));
        prompts.push((counterfactual_name(pair), &pair.counterfactual));
    }
    let answers = answer_table(checkpoint, &prompts, &mut pass)?;
    let texts = held_out(checkpoint, sets, &mut pass)?;
    let canaries = canary_scores(checkpoint, canaries, &mut pass)?;
    let mut evidence = Evidence {
        items,
        pairs,
        causes: causes(sets),
        training_environment: TRAIN.to_owned(),
        answers,
        texts,
        canaries,
        ..Evidence::default()
    };
    evidence.pathways = pathways;
    let scores = measure(&evidence, &bootstrap(recipe, seed))?;
    Ok(Scored { scores, answers: evidence.answers })
}

fn causes(sets: &[EvalSet]) -> BTreeMap<(String, String), crate::trust::Cause> {
    let of = |set: &EvalSet| {
        let id = set.id.clone();
        set.causes.iter().map(|(variable, cause)| ((id.clone(), variable.clone()), *cause)).collect::<Vec<_>>()
    };
    sets.iter().flat_map(of).collect()
}

fn held_out(
    checkpoint: Checkpoint<'_>,
    sets: &[EvalSet],
    pass: &mut Pass<'_>,
) -> Result<Vec<ScoredText>, PipelineError> {
    let texts: Vec<_> = sets.iter().flat_map(|set| &set.texts).collect();
    let requests: Vec<(String, &str)> = texts.iter().map(|text| (text.id.clone(), text.text.as_str())).collect();
    let scored = score_texts(checkpoint, &requests, pass)?;
    let scored_text = |(text, (loglikelihood, tokens)): (&&super::population::HeldOutText, (f64, usize))| ScoredText {
        id: text.id.clone(),
        cluster: text.id.clone(),
        population: text.population.clone(),
        loglikelihood,
        tokens,
    };
    Ok(texts.iter().zip(scored).map(scored_text).collect())
}

fn canary_scores(
    checkpoint: Checkpoint<'_>,
    canaries: &[Canary],
    pass: &mut Pass<'_>,
) -> Result<Vec<ScoredCanary>, PipelineError> {
    let requests: Vec<(String, &str)> =
        canaries.iter().map(|canary| (canary.id.clone(), canary.text.as_str())).collect();
    let scored = score_texts(checkpoint, &requests, pass)?;
    let scored_canary = |(canary, (loglikelihood, tokens)): (&Canary, (f64, usize))| ScoredCanary {
        text: ScoredText {
            id: canary.id.clone(),
            cluster: canary.id.clone(),
            population: "canaries".into(),
            loglikelihood,
            tokens,
        },
        membership: if canary.included { Membership::Included } else { Membership::Excluded },
    };
    Ok(canaries.iter().zip(scored).map(scored_canary).collect())
}
