//! What is written beside a trained model.

use serde::{Deserialize, Serialize};

use super::acceptance::Acceptance;
use super::siit::StepLosses;
use super::spec::SiitSpec;

/// What stands beside a trained model's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedRecord {
    /// The model's name.
    pub name: String,
    /// The command that makes it.
    pub command: String,
    /// Means over the last hundred steps, before their weights, in nats².
    pub losses: StepLosses,
    /// The same as they entered the loss.
    pub weighted_losses: StepLosses,
    /// What was measured.
    pub acceptance: Acceptance,
    /// How it was trained.
    pub spec: SiitSpec,
}
