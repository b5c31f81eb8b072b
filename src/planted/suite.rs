//! The benchmark's tasks: compiled models drawn from a named stream of seeds, and the trained models that come with the
//! program.
//!
//! The stream is the one thing that is kept private: methods are developed on [`DEVELOPMENT`], and a final table is made
//! on a stream whose name was not known before, of which [`stream_digest`] was published first. Model number i of a
//! stream is the same whatever else is drawn.

use serde::{Deserialize, Serialize};

use super::compiled::{self, CompiledModel, CompiledSpec};
use super::error::PlantedError;
use super::task::{Task, Tier};
use super::trained::{Variable, shipped};
use crate::base::{Digest, Seed};

/// The stream on which methods are developed.
pub const DEVELOPMENT: &str = "development";

/// Which tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteSpec {
    /// The name of the stream that compiled models are drawn from.
    pub stream: String,
    /// Compiled models.
    pub models: usize,
    /// Pairs of every task.
    pub pairs: usize,
    /// The tiers.
    pub tiers: Vec<Tier>,
}

impl Default for SuiteSpec {
    fn default() -> Self {
        Self { stream: DEVELOPMENT.into(), models: 20, pairs: 32, tiers: vec![Tier::Compiled, Tier::Trained] }
    }
}

/// What is published of a private stream: the digest of its name.
pub fn stream_digest(stream: &str) -> Digest {
    Digest::of(stream.as_bytes())
}

/// The seed of model `number` of a stream.
pub fn model_seed(stream: &str, number: usize) -> Seed {
    let generator = format!("generator {}", compiled::GENERATOR);
    Seed::new(0).fork("planted pathways").fork(&generator).fork(stream).fork(&number.to_string())
}

/// Makes the tasks.
pub fn tasks(spec: &SuiteSpec) -> Result<Vec<Task>, PlantedError> {
    if spec.pairs == 0 || spec.tiers.is_empty() || (spec.models == 0 && spec.tiers.contains(&Tier::Compiled)) {
        return Err(PlantedError::Request("the benchmark needs a tier, a model and a pair".into()));
    }
    let mut tasks = Vec::new();
    if spec.tiers.contains(&Tier::Compiled) {
        for number in 0..spec.models {
            tasks.push(compiled_task(spec, number)?);
        }
    }
    if spec.tiers.contains(&Tier::Trained) {
        for trained in shipped()? {
            for (variable, word) in [(Variable::Attribute, "attribute"), (Variable::Majority, "majority")] {
                tasks.push(Task {
                    id: format!("{}-{word}", trained.record.name),
                    model_name: trained.record.name.clone(),
                    tier: Tier::Trained,
                    config: trained.record.spec.config(),
                    pairs: trained.pairs(variable, &spec.stream, spec.pairs)?,
                    truth: trained.truth(variable),
                    dormant: None,
                    model: trained.model.clone(),
                });
            }
        }
    }
    Ok(tasks)
}

fn compiled_task(spec: &SuiteSpec, number: usize) -> Result<Task, PlantedError> {
    let planted = CompiledModel::new(&CompiledSpec::default(), &model_seed(&spec.stream, number))?;
    let pairs = planted.pairs("benchmark", spec.pairs)?;
    let id = format!("compiled-{number:03}");
    Ok(Task {
        model_name: id.clone(),
        id,
        tier: Tier::Compiled,
        config: compiled::config(),
        truth: planted.truth(&pairs),
        dormant: Some(planted.dormant(&pairs)?),
        pairs: pairs.into_iter().map(|pair| pair.tokens).collect(),
        model: planted.model,
    })
}
