//! What a metric is: a named function from scored evidence to per-item values, and the list of all of them.

use std::collections::BTreeMap;

use super::answers::AnswerTable;
use super::error::TrustError;
use super::{accuracy, calibration, explainability, fairness, perplexity, privacy, robustness, sensitivity};
use crate::base::suggestion;
use crate::scenario::{CounterfactualPair, TaskItem};
use crate::stats::{Direction, Item, Objective, Statistic};

/// One metric: what it is called, what it means, and how it reads the evidence.
pub struct Metric {
    /// Its name with the variant after `@`.
    pub id: &'static str,
    /// The version of its definition; scores of different versions are not compared.
    pub version: u32,
    /// The objective that it speaks of.
    pub objective: Objective,
    /// The unit of its value.
    pub unit: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// The definition in one sentence.
    pub definition: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
    /// Per-item values, one sample a population; an empty list where the evidence holds nothing that it speaks of.
    pub collect: fn(&Evidence<'_>) -> Result<Vec<Sample>, TrustError>,
}

/// All metrics, in the order in which reports list them.
pub static METRICS: &[Metric] = &[
    accuracy::EXACT,
    perplexity::PERPLEXITY,
    fairness::GAP,
    fairness::GAP_LOG_ODDS,
    fairness::FLIP_RATE,
    fairness::DIRECT,
    fairness::INDIRECT,
    robustness::GAP_LOG_ODDS,
    robustness::CONSISTENCY,
    robustness::PARAPHRASE_CONSISTENCY,
    robustness::WORST_GROUP,
    robustness::SHIFT_DROP,
    explainability::PATHWAY_SHARE,
    explainability::REDISCOVERED_SHARE,
    explainability::SUFFICIENCY,
    explainability::NECESSITY,
    privacy::MEMBERSHIP_EFFECT,
    privacy::MEMBERSHIP_AUC,
    calibration::BRIER,
    calibration::ECE,
    sensitivity::FOLLOW_EFFECT,
    sensitivity::FOLLOW_RATE,
];

/// The metric of that name.
///
/// # Errors
/// [`TrustError::UnknownMetric`] with the nearest name.
pub fn metric(id: &str) -> Result<&'static Metric, TrustError> {
    METRICS.iter().find(|metric| metric.id == id).ok_or_else(|| TrustError::UnknownMetric {
        given: id.into(),
        hint: suggestion(id, METRICS.iter().map(|metric| metric.id)).map(str::to_owned),
    })
}

/// The per-item values of one metric on one population.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Eval set and environment, such as `hiring/shifted`; `…/paraphrase` for paraphrased pairs.
    pub population: String,
    /// How the items become the value.
    pub statistic: Statistic,
    /// The items, in the order of their ids.
    pub items: Vec<Item>,
    /// A share's total effects, each turned by what the pair changed and not by what the model said: the share is
    /// undefined where the interval of their mean covers 0.
    pub denominator: Option<Vec<Item>>,
    /// Why there can be no value, whatever the items are.
    pub undefined: Option<String>,
    /// What a reader must know beyond the metric's definition.
    pub note: Option<String>,
}

impl Sample {
    /// A population without items.
    pub(super) fn empty(population: &str, statistic: Statistic) -> Self {
        Self { population: population.into(), statistic, items: vec![], denominator: None, undefined: None, note: None }
    }
}

/// What a variable is to the answer, as the scenario's causal graph declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An attribute by which nobody may be treated differently.
    Protected,
    /// A word that a protected attribute is read from.
    Proxy,
    /// Any other cause that must not move the answer.
    Spurious,
    /// The wording of the whole prompt.
    Wording,
    /// A cause that the answer should follow.
    Legitimate,
}

/// A text with the likelihood that the model gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredText {
    /// Its id.
    pub id: String,
    /// The resampling unit.
    pub cluster: String,
    /// The corpus that it belongs to.
    pub population: String,
    /// log p(text), nats, summed.
    pub loglikelihood: f64,
    /// Tokens that were scored.
    pub tokens: usize,
}

/// Whether a canary stood in the tuning data, as its recorded coin fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It was tuned on.
    Included,
    /// It was kept out.
    Excluded,
}

/// A canary with the likelihood that the model gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredCanary {
    /// The text and its likelihood.
    pub text: ScoredText,
    /// How its coin fell.
    pub membership: Membership,
}

/// Per-pair effects of one pathway, log-odds, each raw: the same orientation for all three of a pair.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PathwayEffects {
    /// y(x′) − y(x).
    pub total: Vec<Item>,
    /// y(x, pathway ← x′) − y(x): the factual run receives the counterfactual's activations.
    pub noised: Vec<Item>,
    /// y(x′) − y(x′, pathway ← x): what the counterfactual run loses when it receives the factual's activations.
    pub denoised: Vec<Item>,
}

/// What mediation analysis found on held-out pairs, handed over by the pipeline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PathwayEvidence {
    /// The pairs' population.
    pub population: String,
    /// Through the pathway that was found on the base model.
    pub base: Option<PathwayEffects>,
    /// Through the pathway that was found anew on this checkpoint.
    pub rediscovered: Option<PathwayEffects>,
}

/// Everything that metrics read: items and pairs of the eval sets, and what one checkpoint said to them.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// Labelled prompts.
    pub items: Vec<&'a TaskItem>,
    /// Counterfactual pairs, paraphrases among them.
    pub pairs: Vec<&'a CounterfactualPair>,
    /// By scenario and variable, what the variable is to the answer.
    pub causes: BTreeMap<(String, String), Cause>,
    /// The environment whose mechanisms made the tuning data.
    pub training_environment: String,
    /// The answers to all prompts above.
    pub answers: AnswerTable,
    /// Held-out texts.
    pub texts: Vec<ScoredText>,
    /// Canaries.
    pub canaries: Vec<ScoredCanary>,
    /// Mediation results, where there are any.
    pub pathways: Vec<PathwayEvidence>,
}
