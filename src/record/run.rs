//! The record of one checkpoint (one arm of an experiment), read and written.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AdapterIdentity, CircuitChange, CircuitRecord, EvalSetIdentity, ModelIdentity, RecordError, Request, Versions,
};
use crate::base::{Digest, FileError, files};
use crate::stats::{Check, Effect, EffectGrid, Estimate, Item, MetricScore, Pathway, Refutation, SiteEffect};

/// The schema that this version writes, and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// The site effects of one sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteSweep {
    /// Of which pairs.
    pub population: String,
    /// One row a site and direction.
    pub effects: Vec<SiteEffect>,
}

/// Everything that one checkpoint's run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of this format.
    pub schema: u32,
    /// The arm: `base`, `plain`, `consistency`, `pathway`, `random_sites`, `causal`, or a name of the user's.
    pub name: String,
    /// What was asked.
    pub request: Request,
    /// The checkpoint.
    pub model: ModelIdentity,
    /// The adapter on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterIdentity>,
    /// Digest of the tokenizer, where the run used one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Digest>,
    /// The eval sets.
    #[serde(default)]
    pub eval_sets: Vec<EvalSetIdentity>,
    /// The seeds by name; `run` is the root that the others are forked from.
    #[serde(default)]
    pub seeds: BTreeMap<String, u64>,
    /// The versions.
    #[serde(default)]
    pub versions: Versions,
    /// The metrics, with per-item values.
    #[serde(default)]
    pub scores: Vec<MetricScore>,
    /// Prompt-level and mediated effects.
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// The sweeps.
    #[serde(default)]
    pub sites: Vec<SiteSweep>,
    /// The sweeps as matrices.
    #[serde(default)]
    pub grids: Vec<EffectGrid>,
    /// The pathways found.
    #[serde(default)]
    pub pathways: Vec<Pathway>,
    /// The circuits found, edge by edge; empty where the run was not asked for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circuits: Vec<CircuitRecord>,
    /// What the base's circuits do in this checkpoint, pair by pair; empty in the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circuit_changes: Vec<CircuitChange>,
    /// The always-on checks.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The refuters.
    #[serde(default)]
    pub refutations: Vec<Refutation>,
}

impl RunRecord {
    /// The file's name in an arm's folder.
    pub const FILE: &'static str = "record.json";

    /// A record with nothing measured yet.
    pub fn new(name: impl Into<String>, model: ModelIdentity, versions: Versions) -> Self {
        Self {
            schema: SCHEMA,
            name: name.into(),
            request: Request::default(),
            model,
            adapter: None,
            tokenizer: None,
            eval_sets: Vec::new(),
            seeds: BTreeMap::new(),
            versions,
            scores: Vec::new(),
            effects: Vec::new(),
            sites: Vec::new(),
            grids: Vec::new(),
            pathways: Vec::new(),
            circuits: Vec::new(),
            circuit_changes: Vec::new(),
            checks: Vec::new(),
            refutations: Vec::new(),
        }
    }

    /// The score of a metric (with its variant) on a population.
    pub fn score(&self, metric: &str, population: &str) -> Option<&MetricScore> {
        self.scores.iter().find(|score| score.metric == metric && score.population == population)
    }

    /// Reads a record. Refuses a file without a `schema` and one of a newer schema, before anything else is looked at.
    pub fn load(path: &Path) -> Result<Self, RecordError> {
        let tree: Value = files::read_json(path)?;
        match tree.get("schema").and_then(Value::as_u64) {
            None => return Err(RecordError::NoSchema { path: path.to_path_buf() }),
            Some(found) if found > u64::from(SCHEMA) => {
                return Err(RecordError::Newer { path: path.to_path_buf(), found, known: SCHEMA });
            }
            Some(_) => {}
        }
        // Read again from the text rather than from the tree: errors then name line and column.
        files::read_json(path).map_err(|error| RecordError::File(error_of_record(error)))
    }

    /// Writes the record, atomically, after making sure that every number in it is one.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        self.validate()?;
        Ok(files::write_json(path, self)?)
    }

    /// The digest of the record's bytes as [`RunRecord::save`] writes them.
    pub fn digest(&self) -> Result<Digest, RecordError> {
        self.validate()?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| {
            RecordError::File(FileError::Malformed { path: Self::FILE.into(), message: error.to_string() })
        })?;
        Ok(Digest::of(&[text.as_slice(), b"\n"].concat()))
    }

    /// Refuses NaN and infinities: JSON would turn them into `null`, and the record could not be read again.
    pub fn validate(&self) -> Result<(), RecordError> {
        let mut finite = Finite { record: &self.name };
        for score in &self.scores {
            let place = format!("score {} of {}", score.metric, score.population);
            finite.estimate(&place, &score.estimate)?;
            finite.items(&place, &score.items)?;
        }
        for effect in &self.effects {
            let place = format!("{:?} effect of {}", effect.kind, effect.population);
            finite.estimate(&place, &effect.estimate)?;
            finite.number(&format!("{place}: p-value"), effect.p_value)?;
            finite.items(&place, &effect.items)?;
        }
        for site in self.sites.iter().flat_map(|sweep| &sweep.effects) {
            finite.estimate(&site.site, &site.estimate)?;
            finite.number(&format!("{}: p-value", site.site), site.p_value)?;
            finite.number(&format!("{}: q-value", site.site), site.q_value)?;
        }
        for grid in &self.grids {
            for value in grid.values.iter().chain(&grid.q_values).flatten() {
                finite.number(&format!("grid {}", grid.title), *value)?;
            }
        }
        for pathway in &self.pathways {
            finite.estimate(&format!("pathway of {}", pathway.population), &pathway.share)?;
            finite.estimate(&format!("pathway of {} (denoised)", pathway.population), &pathway.share_denoised)?;
        }
        self.circuits.iter().try_for_each(|circuit| circuit.validate(&mut finite))?;
        self.circuit_changes.iter().try_for_each(|change| change.validate(&mut finite))?;
        for check in &self.checks {
            finite.number(&format!("check {}", check.name), check.worst)?;
            finite.number(&format!("check {}: tolerance", check.name), check.tolerance)?;
        }
        for refutation in &self.refutations {
            finite.estimate(&refutation.name, &refutation.estimate)?;
            if let Some(finding) = &refutation.finding {
                finite.estimate(&refutation.name, finding)?;
            }
        }
        Ok(())
    }
}

fn error_of_record(error: FileError) -> FileError {
    match error {
        FileError::Malformed { path, message } => {
            FileError::Malformed { path, message: format!("not a run record of schema {SCHEMA}: {message}") }
        }
        other => other,
    }
}

pub(super) struct Finite<'a> {
    record: &'a str,
}

impl Finite<'_> {
    pub(super) fn number(&mut self, place: &str, value: impl Into<Option<f64>>) -> Result<(), RecordError> {
        match value.into() {
            Some(value) if !value.is_finite() => {
                Err(RecordError::NotFinite { record: self.record.to_owned(), place: place.to_owned(), value })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn estimate(&mut self, place: &str, estimate: &Estimate) -> Result<(), RecordError> {
        self.number(place, estimate.value)?;
        if let Some(interval) = estimate.interval {
            self.number(&format!("{place}: interval"), interval.low)?;
            self.number(&format!("{place}: interval"), interval.high)?;
        }
        Ok(())
    }

    fn items(&mut self, place: &str, items: &[Item]) -> Result<(), RecordError> {
        for item in items {
            let bad = [Some(item.value), item.weight].into_iter().flatten().find(|value| !value.is_finite());
            if bad.is_some() {
                self.number(&format!("{place}: item {}", item.id), bad)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
