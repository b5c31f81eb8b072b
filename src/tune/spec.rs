//! What is asked of one tuning run: everything that its adapter's bytes hang on, beside the data and the base model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::optimizer::AdamWSpec;
use super::schedule::Schedule;
use crate::base::Digest;
use crate::intervene::{Site, SourceGradient};
use crate::model::{LoraSpec, TargetModules};

/// Examples in one micro-batch; a step sees [`TuneSpec::accumulation`] times as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSizes {
    /// Labelled prompts.
    pub task: usize,
    /// *Invariant* pairs.
    pub invariant: usize,
    /// *Follow* pairs.
    pub follow: usize,
    /// Included canary texts.
    pub canary: usize,
}

impl Default for BatchSizes {
    fn default() -> Self {
        Self { task: 32, invariant: 16, follow: 16, canary: 4 }
    }
}

/// The weight λ of each term; 0 leaves the term out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Cross entropy of the true answer.
    pub task: f64,
    /// Language-model loss on included canaries.
    pub canary: f64,
    /// Equal answers on both sides of *invariant* pairs.
    pub consistency: f64,
    /// The mechanism's answers on both sides of *follow* pairs.
    pub follow: f64,
    /// No effect through the penalised sites on *invariant* pairs.
    pub mediation: f64,
    /// Divergence from the frozen base.
    pub anchor: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { task: 1.0, canary: 1.0, consistency: 1.0, follow: 1.0, mediation: 1.0, anchor: 0.1 }
    }
}

/// How the consistency term compares the two sides of an *invariant* pair. With d the difference of log-odds between the
/// sides, and P and Q the sides' distributions over the answers:
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Distance {
    /// d². Where there are more than two answers: its mean over all pairs of answers.
    SquaredLogOdds,
    /// 2δ²(√(1 + d²/δ²) − 1): d² near 0, linear with slope 2δ beyond δ, so that one far pair does not rule the batch.
    PseudoHuber {
        /// Where the square gives way to the line, in nats.
        delta: f64,
    },
    /// KL(P‖Q) + KL(Q‖P).
    SymmetricKl,
    /// ½ KL(P‖M) + ½ KL(Q‖M), M their mean: bounded by ln 2.
    JensenShannon,
}

/// How the follow term asks for the mechanism's answer on *follow* pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum FollowLoss {
    /// Cross entropy of the expected label under the distribution over the answers, on both sides.
    CrossEntropy,
    /// softplus(m − s), s the movement of the log-odds towards the new label: nothing is asked beyond the margin. Pairs
    /// whose label stays count nothing.
    Margin {
        /// m, in nats.
        nats: f64,
    },
    /// The squared distance of each pair's movement of log-odds from the frozen base's: the legitimate effect is kept as
    /// it is, neither lost nor sharpened.
    KeepBase,
}

/// Where the KL anchor compares next-token distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorAt {
    /// At the task prompt's last token, where the answer is predicted. It holds the effects in place too.
    Answer,
    /// At the prompt's earlier tokens: language modelling stays, answers may change.
    Prompt,
    /// At both.
    Everywhere,
}

/// One arm's request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TuneSpec {
    /// The arm's name, for logs and errors.
    pub arm: String,
    /// The seed of the adapter's start and of the order of examples.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// Examples a micro-batch.
    pub batch: BatchSizes,
    /// Micro-batches whose gradients are summed before a step; the same as batches so many times as large.
    pub accumulation: usize,
    /// The adapter.
    pub lora: LoraSpec,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// AdamW's constants.
    pub optimizer: AdamWSpec,
    /// The learning rate over steps.
    pub schedule: Schedule,
    /// The largest global norm of the gradient; none for no clipping.
    pub clip: Option<f64>,
    /// The terms' weights.
    pub weights: Weights,
    /// The share of steps over which the weights of penalties rise from 0 (task, canary and anchor are there at once).
    pub ramp: f64,
    /// What consistency means.
    pub consistency: Distance,
    /// What following means.
    pub follow: FollowLoss,
    /// Where the anchor holds.
    pub anchor_at: AnchorAt,
    /// Whether the mediation penalty's patched-in values pass gradients back.
    pub mediation_source: SourceGradient,
    /// The sites that the mediation penalty patches jointly, by scenario.
    pub penalty_sites: BTreeMap<String, Vec<Site>>,
    /// Steps between checkpoints (where there is a folder to write them to).
    pub checkpoint_every: usize,
}

impl Default for TuneSpec {
    fn default() -> Self {
        Self {
            arm: "causal".into(),
            seed: 0,
            steps: 150,
            batch: BatchSizes::default(),
            accumulation: 1,
            lora: LoraSpec {
                rank: 8,
                alpha: 16.0,
                target_modules: TargetModules::Pattern("all-linear".into()),
                rslora: false,
            },
            learning_rate: 2e-3,
            optimizer: AdamWSpec::default(),
            schedule: Schedule::default(),
            clip: Some(1.0),
            weights: Weights::default(),
            ramp: 0.15,
            consistency: Distance::SquaredLogOdds,
            follow: FollowLoss::CrossEntropy,
            anchor_at: AnchorAt::Prompt,
            mediation_source: SourceGradient::Attached,
            penalty_sites: BTreeMap::new(),
            checkpoint_every: 50,
        }
    }
}

impl TuneSpec {
    /// Refuses settings without a meaning, each by its name.
    pub fn check(&self) -> Result<(), TuneError> {
        let positive = |field: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(TuneError::spec(field, format!("{value} is not above 0")))
            }
        };
        positive("steps", self.steps as f64)?;
        positive("batch.task", self.batch.task as f64)?;
        positive("accumulation", self.accumulation as f64)?;
        positive("checkpoint_every", self.checkpoint_every as f64)?;
        positive("learning_rate", self.learning_rate)?;
        if let Some(limit) = self.clip {
            positive("clip", limit)?;
        }
        let Weights { task, canary, consistency, follow, mediation, anchor } = self.weights;
        let weights = [task, canary, consistency, follow, mediation, anchor];
        for (name, weight) in
            ["task", "canary", "consistency", "follow", "mediation", "anchor"].into_iter().zip(weights)
        {
            if !weight.is_finite() || weight < 0.0 {
                return Err(TuneError::spec(&format!("weights.{name}"), format!("{weight} is below 0 or not finite")));
            }
        }
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(TuneError::spec("weights", "all are 0: there is nothing to minimise".into()));
        }
        if !(0.0..=1.0).contains(&self.ramp) {
            return Err(TuneError::spec("ramp", format!("{} is outside [0, 1]", self.ramp)));
        }
        if let Distance::PseudoHuber { delta } = self.consistency {
            positive("consistency.delta", delta)?;
        }
        self.optimizer.check()?;
        self.schedule.check()
    }

    /// The digest of the whole request.
    pub fn digest(&self) -> Result<Digest, TuneError> {
        let text = serde_json::to_vec(self).map_err(|error| TuneError::spec("spec", error.to_string()))?;
        Ok(Digest::of(&text))
    }
}
