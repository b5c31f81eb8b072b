//! What a clock and a machine decide, apart from the record so that records stay equal to the byte.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RecordError;
use crate::base::files;

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    /// The stage, such as `tune` or `evaluate`.
    pub stage: String,
    /// The arm that it worked for, where it worked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// What the time bought, such as `240 steps` or `1920 pairs`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub work: String,
}

/// The clock's side of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// When the run began, RFC 3339 in UTC, where the caller told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// The stages in order.
    #[serde(default)]
    pub stages: Vec<StageTiming>,
    /// The largest resident memory in bytes, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// The machine, in words: processor, threads, device.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
}

impl Timings {
    /// The file's name in a run folder.
    pub const FILE: &'static str = "timings.json";

    /// Seconds of all stages together.
    pub fn total_seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.seconds).sum()
    }

    /// Reads a timings file.
    pub fn load(path: &Path) -> Result<Self, RecordError> {
        Ok(files::read_json(path)?)
    }

    /// Writes it, atomically.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        Ok(files::write_json(path, self)?)
    }
}
