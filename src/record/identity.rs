//! What went into a run, by name and digest: two runs are comparable exactly where these agree.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::Digest;

/// The request on both levels: what was asked, and what it came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Request {
    /// As the user wrote it: the recipe's keys or the command's options.
    pub written: Value,
    /// With every default, digest and derived choice filled in.
    pub resolved: Value,
}

/// The checkpoint before any adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Where it came from: `embedded`, a folder as it was given, or `org/name@revision`.
    pub source: String,
    /// The architecture's family, such as `llama` or `gpt2`.
    pub family: String,
    /// Number of parameters.
    pub parameters: usize,
    /// Digest of its weights.
    pub digest: Digest,
}

/// The adapter on top of the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterIdentity {
    /// Its folder: relative to the run folder where it was made by the run.
    pub folder: String,
    /// Digest of its tensors.
    pub digest: Digest,
    /// Number of its parameters.
    pub parameters: usize,
    /// The rank.
    pub rank: usize,
    /// The modules that it adapts, as PEFT names them.
    pub targets: Vec<String>,
}

/// One eval set that scores in this record speak of. `compare` refuses two records that disagree on a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalSetIdentity {
    /// Its id, such as `hiring`.
    pub id: String,
    /// Digest of its items and pairs.
    pub digest: Digest,
    /// How many labelled items were scored.
    pub items: usize,
    /// How many counterfactual pairs were scored.
    pub pairs: usize,
    /// Where the pairs come from: `generated` (one causal model wrote both sides) or `declared` (somebody says so).
    pub provenance: String,
}

/// The versions that decide what numbers mean.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Versions {
    /// This program.
    pub counterpath: String,
    /// The tensor library.
    pub candle: String,
}
