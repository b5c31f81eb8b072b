//! What is attributed to what, and how.

use serde::{Deserialize, Serialize};

use crate::intervene::{Outcome, TokenPair};
use crate::mediate::MediateError;

/// Which ends of the line from the corrupted to the clean activations are evaluated, of n steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grid {
    /// k/n for k = 0 … n − 1: the corrupted end, never the clean one.
    FromCorrupted,
    /// k/n for k = 1 … n: the clean end, never the corrupted one.
    ToClean,
}

/// Where the gradient is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// On the clean prompt: attribution patching of nodes, EAP of edges.
    Gradient,
    /// The mean over input embeddings on the line from the corrupted to the clean prompt: EAP-IG (inputs). The package
    /// of that name evaluates [`Grid::FromCorrupted`] for edges and [`Grid::ToClean`] for nodes.
    IntegratedInputs {
        /// Points on the line.
        steps: usize,
        /// Which ones.
        grid: Grid,
    },
    /// The mean over runs of the clean prompt in which one sub-layer's output (input, all heads of a block, an MLP) is
    /// put on the line: EAP-IG (activations), [`Grid::ToClean`] in its package.
    IntegratedActivations {
        /// Points on each line.
        steps: usize,
        /// Which ones.
        grid: Grid,
    },
    /// The mean of both prompts' gradients.
    CleanCorrupted,
    /// No gradient: [`super::information_flow`]. Edges alone.
    InformationFlow,
}

impl Method {
    /// EAP-IG (inputs) as its paper has it.
    pub fn integrated(steps: usize) -> Self {
        Method::IntegratedInputs { steps, grid: Grid::FromCorrupted }
    }

    /// The name in records and tables.
    pub fn name(self) -> &'static str {
        match self {
            Method::Gradient => "eap",
            Method::IntegratedInputs { .. } => "eap_ig_inputs",
            Method::IntegratedActivations { .. } => "eap_ig_activations",
            Method::CleanCorrupted => "clean_corrupted",
            Method::InformationFlow => "information_flow",
        }
    }

    /// The shares of the clean end along a line.
    pub(super) fn shares(self) -> Vec<f64> {
        let line = |steps: usize, grid: Grid| {
            let first = usize::from(grid == Grid::ToClean);
            (first..steps + first).map(|k| k as f64 / steps as f64).collect()
        };
        match self {
            Method::Gradient | Method::InformationFlow => vec![1.0],
            Method::CleanCorrupted => vec![0.0, 1.0],
            Method::IntegratedInputs { steps, grid } | Method::IntegratedActivations { steps, grid } => {
                line(steps, grid)
            }
        }
    }
}

/// How pairs whose effects run in opposite directions are made to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricSign {
    /// By design: the `do` of a forward pair is to raise the log-odds of answer a, so the metric is their negative; of a
    /// backward one their positive. The metric falls under corruption where the pair behaves as designed.
    Declared,
    /// By measurement: each pair's metric is turned so that its own total effect (clean less corrupted) is positive.
    /// Totals are then positive even where there is no effect at all.
    Measured,
    /// The outcome itself: log-odds of answer a over answer b, whatever the pair.
    Plain,
}

impl MetricSign {
    /// What a pair's outcome is multiplied by.
    pub(crate) fn of(self, pair: &TokenPair, outcome: Outcome, clean: f64, corrupted: f64) -> f64 {
        match (self, outcome) {
            // A divergence from the clean run only rises; its negative is the metric.
            (_, Outcome::Kl) => -1.0,
            (MetricSign::Declared, _) => -pair.orientation.sign(),
            (MetricSign::Measured, _) if clean < corrupted => -1.0,
            (MetricSign::Measured | MetricSign::Plain, _) => 1.0,
        }
    }
}

/// What is attributed and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributionSpec {
    /// Where the gradient is taken.
    pub method: Method,
    /// The metric, before its sign.
    pub outcome: Outcome,
    /// Its sign.
    pub sign: MetricSign,
    /// Tokens of one batch, padding included; at least one pair is in every batch.
    pub batch_tokens: usize,
    /// Bytes that the contributions of one stretch of positions may take (edges alone).
    pub stretch_bytes: usize,
}

impl AttributionSpec {
    /// [`Outcome::Contrast`] with its declared sign.
    pub fn new(method: Method) -> Self {
        Self {
            method,
            outcome: Outcome::Contrast,
            sign: MetricSign::Declared,
            batch_tokens: 256,
            stretch_bytes: 64 << 20,
        }
    }

    /// Refuses what cannot be computed.
    pub(super) fn check(&self, pairs: &[TokenPair]) -> Result<(), MediateError> {
        let refuse = |message: String| Err(MediateError::Attribution { message });
        if pairs.is_empty() {
            return Err(MediateError::NoPairs { population: "attribution".into(), purpose: "attribute on" });
        }
        if self.method.shares().is_empty() {
            return refuse("integrated gradients need at least one step".into());
        }
        if let Some(pair) = pairs.iter().find(|pair| !pair.alignment().is_whole()) {
            return Err(MediateError::uneven(pair, "attribution draws a line between the two, position by position"));
        }
        Ok(())
    }
}
