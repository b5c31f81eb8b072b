//! What stands in for a cut edge, and which pairs that asks for.

use serde::{Deserialize, Serialize};

use crate::intervene::path::{Ablation, SenderMeans};
use crate::intervene::{Side, TokenPair};
use crate::mediate::MediateError;
use crate::model::LanguageModel;

/// What a cut edge brings, as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AblationKind {
    /// The pair's other side.
    Counterfactual,
    /// Nothing.
    Zero,
    /// The mean over positions and prompts.
    Mean,
    /// The mean over prompts at the same position.
    MeanPositional,
}

impl AblationKind {
    /// All of them.
    pub const ALL: [AblationKind; 4] =
        [AblationKind::Counterfactual, AblationKind::Zero, AblationKind::Mean, AblationKind::MeanPositional];

    /// The means that it needs, over both sides of `pairs`.
    pub fn means(self, model: &LanguageModel, pairs: &[TokenPair]) -> Result<Option<SenderMeans>, MediateError> {
        Ok(match self {
            AblationKind::Counterfactual | AblationKind::Zero => None,
            AblationKind::Mean => Some(SenderMeans::over(model, pairs)?),
            AblationKind::MeanPositional => Some(SenderMeans::by_position(model, pairs)?),
        })
    }

    /// The ablation with the means that [`AblationKind::means`] gave.
    pub fn with(self, means: Option<&SenderMeans>) -> Ablation<'_> {
        match (self, means) {
            (AblationKind::Zero, _) => Ablation::Zero,
            (_, Some(means)) => Ablation::Mean(means),
            (_, None) => Ablation::Counterfactual,
        }
    }

    /// Refuses pairs that it cannot run on: a mean by position exists where every prompt has a token, and what is fed
    /// behind a prompt stands beyond.
    pub fn check(self, pairs: &[&[TokenPair]]) -> Result<(), MediateError> {
        let mut all = pairs.iter().flat_map(|pairs| pairs.iter());
        let (AblationKind::MeanPositional, Some(first)) = (self, pairs.iter().find_map(|pairs| pairs.first())) else {
            return Ok(());
        };
        let length = |pair: &TokenPair| pair.factual.ids.len();
        let refuse = |reason: String| {
            let what = "mean_positional ablation needs prompts of one length and answers of one token";
            let message = format!("{what}, {reason}: use mean ablation, or leave the pair out");
            Err(MediateError::Circuit { message })
        };
        if let Some(pair) = all.clone().find(|pair| length(pair) != length(first)) {
            let (one, other) = (length(first), length(pair));
            return refuse(format!("pair {:?} has {one} tokens and pair {:?} {other}", first.id, pair.id));
        }
        match all.find(|pair| pair.answers(Side::Factual).iter().any(|answer| answer.len() != 1)) {
            Some(pair) => {
                let [a, b] = pair.answers(Side::Factual).map(<[u32]>::len);
                refuse(format!("pair {:?} has answers of {a} and {b} tokens", pair.id))
            }
            None => Ok(()),
        }
    }
}

/// Refuses pairs that no circuit can run on.
pub(super) fn even(pairs: &[TokenPair]) -> Result<(), MediateError> {
    match pairs.iter().find(|pair| !pair.alignment().is_whole()) {
        Some(pair) => Err(MediateError::uneven(pair, "a circuit replaces activations position by position")),
        None => Ok(()),
    }
}
