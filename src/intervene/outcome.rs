//! What is read off a run: one number a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use super::pair::TokenPair;
use super::plan::Side;
use crate::stats::EffectScale;

/// The number read off a run; a and b are the pair's contrasted answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// [`Outcome::LogitDifference`] where both answers are one token, else [`Outcome::LogOdds`]. The two are the same
    /// quantity there: both logits have the same normalizer.
    Contrast,
    /// logit(a) − logit(b) at the prompt's last position. Refused where an answer has several tokens.
    LogitDifference,
    /// log p(a) − log p(b), each the sum over the whole continuation, natural log.
    LogOdds,
    /// The same with each sum divided by the continuation's number of tokens (Vig et al.'s geometric mean).
    LogOddsPerToken,
    /// p(a), of the whole continuation.
    Probability,
    /// Σ p·(log p − log q) over the vocabulary at the prompt's last position: p the receiver's plain run, q the
    /// patched one, in nats. 0 for a plain run.
    Kl,
}

impl Outcome {
    /// The name in rows and records.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Contrast => "contrast",
            Outcome::LogitDifference => "logit_difference",
            Outcome::LogOdds => "log_odds",
            Outcome::LogOddsPerToken => "log_odds_per_token",
            Outcome::Probability => "probability",
            Outcome::Kl => "kl",
        }
    }

    /// What the outcome is on this pair: [`Outcome::Contrast`] decided by the answers' lengths.
    pub fn resolve(self, pair: &TokenPair) -> Result<Outcome, InterveneError> {
        let tokens = pair.answers(Side::Factual).map(<[u32]>::len);
        match (self, tokens) {
            (Outcome::Contrast, [1, 1]) => Ok(Outcome::LogitDifference),
            (Outcome::Contrast, _) => Ok(Outcome::LogOdds),
            (Outcome::LogitDifference, [a, b]) if a != 1 || b != 1 => {
                Err(InterveneError::NotOneToken { pair: pair.id.clone(), tokens })
            }
            (outcome, _) => Ok(outcome),
        }
    }

    /// The scale of differences of this outcome.
    pub fn scale(self) -> EffectScale {
        match self {
            Outcome::LogitDifference => EffectScale::LogitDifference,
            Outcome::Contrast | Outcome::LogOdds | Outcome::LogOddsPerToken => EffectScale::LogOdds,
            Outcome::Probability => EffectScale::Probability,
            Outcome::Kl => EffectScale::Kl,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
