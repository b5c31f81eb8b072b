//! One checkpoint, all metrics: what is measured, scored once.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::{AnswerTable, counterfactual_name, factual_name};
use super::error::TrustError;
use super::measure::{check_ids, measure};
use super::metric::{Cause, Evidence, Membership, PathwayEvidence, ScoredCanary, ScoredText};
use super::scoring::{Checkpoint, Pass, answer_table, score_requests, score_texts};
use super::select::item_name;
use super::store::ScoreStore;
use crate::base::{Digest, Progress};
use crate::causal::Role;
use crate::model::split_text;
use crate::scenario::generate::FRAMING;
use crate::scenario::{Canary, CounterfactualPair, DoKind, Expectation, Prompt, Scenario, Split, TRAIN, TaskItem};
use crate::stats::{Bootstrap, MetricScore};

/// A text that no checkpoint was tuned on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOutText {
    /// Unique among the texts.
    pub id: String,
    /// The resampling unit.
    pub cluster: String,
    /// The corpus: `hiring/train`, a file's name.
    pub population: String,
    /// The text.
    pub text: String,
}

/// What a checkpoint is measured on. Everything may be empty; metrics without evidence give no score.
#[derive(Clone, Default)]
pub struct EvaluateInput<'a> {
    /// Labelled prompts of any split.
    pub items: Vec<&'a TaskItem>,
    /// Counterfactual pairs of any split, paraphrases among them.
    pub pairs: Vec<&'a CounterfactualPair>,
    /// The scenarios behind them: they say what each variable is to the answer. Declared pairs have none.
    pub scenarios: Vec<&'a Scenario>,
    /// Held-out texts.
    pub texts: &'a [HeldOutText],
    /// Canaries with their coins.
    pub canaries: &'a [Canary],
    /// Mediation results on this checkpoint.
    pub pathways: Vec<PathwayEvidence>,
}

/// What a checkpoint said, and what that means.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// All metrics.
    pub scores: Vec<MetricScore>,
    /// The answers behind them.
    pub answers: AnswerTable,
}

/// How a checkpoint is measured.
#[derive(Debug, Clone, Copy)]
pub struct EvaluateSettings {
    /// How intervals are made.
    pub bootstrap: Bootstrap,
    /// The most tokens that one batch runs, padding included.
    pub batch_tokens: usize,
    /// The split whose items and pairs are read.
    pub split: Split,
    /// At most so many items of each scenario and environment; all where absent.
    pub items: Option<usize>,
    /// At most so many pairs of each scenario, environment, intervention and expectation, paraphrases counted apart; all
    /// where absent.
    pub pairs: Option<usize>,
}

/// Measures one checkpoint: every distinct prompt, text and canary is run once (or taken from `store`), and all metrics read the
/// same answers. Deterministic for equal input and settings.
///
/// # Errors
/// All of [`measure`] and of the passes; [`TrustError::Interrupted`], with finished scores kept in `store`.
pub fn evaluate(
    checkpoint: Checkpoint<'_>,
    input: &EvaluateInput<'_>,
    settings: &EvaluateSettings,
    store: &mut ScoreStore,
    progress: &dyn Progress,
) -> Result<Evaluation, TrustError> {
    check_ids("item", input.items.iter().map(|item| item.id.as_str()))?;
    check_ids("pair", input.pairs.iter().map(|pair| pair.id.as_str()))?;
    let mut pass = Pass { store, batch_tokens: settings.batch_tokens, progress };
    let items = chosen_items(input, settings);
    let pairs = chosen_pairs(input, settings);
    let mut prompts: Vec<(String, &Prompt)> = items.iter().map(|item| (item_name(item), &item.prompt)).collect();
    for pair in &pairs {
        prompts.push((factual_name(pair), &pair.factual));
        prompts.push((counterfactual_name(pair), &pair.counterfactual));
    }
    let evidence = Evidence {
        answers: match prompts.is_empty() {
            true => Default::default(),
            false => answer_table(checkpoint, &prompts, &mut pass)?,
        },
        items,
        pairs,
        causes: input.scenarios.iter().flat_map(|scenario| causes(scenario)).collect(),
        training_environment: TRAIN.into(),
        texts: scored_texts(checkpoint, input.texts, &mut pass)?,
        canaries: scored_canaries(checkpoint, input.canaries, &mut pass)?,
        pathways: input.pathways.clone(),
    };
    let scores = measure(&evidence, &settings.bootstrap)?;
    Ok(Evaluation { scores, answers: evidence.answers })
}

/// What each variable of a scenario is to the answer, by scenario and variable.
pub fn causes(scenario: &Scenario) -> Vec<((String, String), Cause)> {
    let cause = |role: Role| match role {
        Role::Protected => Some(Cause::Protected),
        Role::Proxy => Some(Cause::Proxy),
        Role::Spurious | Role::Nuisance => Some(Cause::Spurious),
        Role::Causal | Role::Mediator => Some(Cause::Legitimate),
        Role::Label | Role::Answer | Role::Latent | Role::Plain => None,
    };
    let key = |variable: &str| (scenario.id.clone(), variable.to_owned());
    let named = scenario.scm().variables().iter().filter_map(|v| Some((key(&v.name), cause(v.role)?)));
    named.chain([(key(FRAMING), Cause::Wording)]).collect()
}

fn chosen_items<'a>(input: &EvaluateInput<'a>, settings: &EvaluateSettings) -> Vec<&'a TaskItem> {
    let items = input.items.iter().copied().filter(|item| item.split == settings.split);
    at_most(settings.items, items, |item| (&item.id, (&item.scenario, &item.environment)))
}

/// Pairs first, then the paraphrases of those that were chosen: a paraphrase is measured against the wording that it rephrases.
fn chosen_pairs<'a>(input: &EvaluateInput<'a>, settings: &EvaluateSettings) -> Vec<&'a CounterfactualPair> {
    let pairs = || input.pairs.iter().copied().filter(|pair| pair.split == settings.split);
    let originals = pairs().filter(|pair| pair.paraphrase_of.is_none());
    let mut chosen = at_most(settings.pairs, originals, |pair| {
        let intervention = pair.intervention.as_ref().map(|i| (i.variable.as_str(), i.kind == DoKind::WordSwap));
        let follows = pair.expectation != Expectation::Invariant;
        (&pair.id, ((&pair.scenario, &pair.environment), intervention, follows))
    });
    let kept: BTreeSet<&str> = chosen.iter().map(|pair| pair.id.as_str()).collect();
    let rephrases_kept = |pair: &&CounterfactualPair| {
        let original = pair.paraphrase_of.as_deref();
        original.is_some_and(|original| settings.pairs.is_none() || kept.contains(original))
    };
    chosen.extend(pairs().filter(rephrases_kept));
    chosen
}

/// At most so many of each group, in the order of their ids' digests: a choice that neither the order of a file nor what else
/// is in it moves. `name` gives a one's id and group.
fn at_most<'a, T, G: Ord + 'a>(
    most: Option<usize>,
    all: impl Iterator<Item = &'a T>,
    name: impl Fn(&'a T) -> (&'a String, G),
) -> Vec<&'a T> {
    let Some(most) = most else { return all.collect() };
    let mut groups: BTreeMap<G, Vec<(Digest, &'a T)>> = BTreeMap::new();
    for one in all {
        let (id, group) = name(one);
        groups.entry(group).or_default().push((Digest::of(id.as_bytes()), one));
    }
    let first = |mut group: Vec<(Digest, &'a T)>| {
        group.sort_by(|a, b| a.0.cmp(&b.0));
        group.into_iter().take(most).map(|(_, one)| one)
    };
    groups.into_values().flat_map(first).collect()
}

fn scored_texts(
    checkpoint: Checkpoint<'_>,
    texts: &[HeldOutText],
    pass: &mut Pass<'_>,
) -> Result<Vec<ScoredText>, TrustError> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let named: Vec<(String, &str)> =
        texts.iter().map(|text| (format!("text {}", text.id), text.text.as_str())).collect();
    let scores = score_texts(checkpoint, &named, pass)?;
    let scored = texts.iter().zip(scores).map(|(text, (loglikelihood, tokens))| ScoredText {
        id: text.id.clone(),
        cluster: text.cluster.clone(),
        population: text.population.clone(),
        loglikelihood,
        tokens,
    });
    Ok(scored.collect())
}

/// The secret part of each canary, given the part before it.
fn scored_canaries(
    checkpoint: Checkpoint<'_>,
    canaries: &[Canary],
    pass: &mut Pass<'_>,
) -> Result<Vec<ScoredCanary>, TrustError> {
    if canaries.is_empty() {
        return Ok(Vec::new());
    }
    let tokenizer = checkpoint.model.tokenizer()?;
    let mut requests = Vec::with_capacity(canaries.len());
    for canary in canaries {
        let name = format!("canary {}", canary.id);
        let context = canary.text.get(..canary.secret_start);
        let secret = canary.text.get(canary.secret_start..);
        let (Some(context), Some(secret)) = (context, secret) else {
            let (field, target) = ("secret_start".into(), canary.secret_start.to_string());
            return Err(TrustError::Dangling { item: name, field, target });
        };
        match split_text(tokenizer, context, secret) {
            Ok(request) => requests.push((name, request)),
            Err(source) => return Err(TrustError::Prompt { item: name, source }),
        }
    }
    let scores = score_requests(checkpoint, &requests, pass)?;
    let scored = canaries.iter().zip(scores).map(|(canary, score)| ScoredCanary {
        text: ScoredText {
            id: canary.id.clone(),
            cluster: canary.id.clone(),
            population: "canaries".into(),
            loglikelihood: score.loglikelihood,
            tokens: score.num_tokens,
        },
        membership: if canary.included { Membership::Included } else { Membership::Excluded },
    });
    Ok(scored.collect())
}
