//! The benchmark from end to end: tasks, scores of our methods and of others, table, calibration.

use serde::{Deserialize, Serialize};

use super::calibration::{CalibrationRow, CalibrationSpec, calibrate};
use super::compiled::GENERATOR;
use super::error::PlantedError;
use super::methods::{DormantEffects, Method, all_scores, dormant_effects};
use super::suite::{SuiteSpec, stream_digest};
use super::table::{MethodScores, Table, judge};
use super::task::{Scores, Task, Tier};
use super::trained::{Acceptance, shipped};
use crate::base::{Digest, Progress, Seed};

/// What a run of the benchmark found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// The version of what a seed gives.
    pub generator: u32,
    /// The digest of the stream's name.
    pub stream_digest: Digest,
    /// Compiled models.
    pub models: usize,
    /// Pairs of every task.
    pub pairs: usize,
    /// The acceptance records of the trained models.
    pub trained: Vec<(String, Acceptance)>,
    /// The table.
    pub table: Table,
    /// What a patch along the dormant direction finds in each compiled model, by task.
    pub dormant: Vec<(String, DormantEffects)>,
    /// The calibration curve; empty where it was not asked for.
    pub calibration: Vec<CalibrationRow>,
}

/// Our methods' scores of every task, one entry a method.
pub fn score_tasks(tasks: &[Task], seed: &Seed, progress: &dyn Progress) -> Result<Vec<MethodScores>, PlantedError> {
    let mut found: Vec<MethodScores> = Method::ALL
        .into_iter()
        .map(|method| MethodScores { method: method.name().to_owned(), scores: Default::default() })
        .collect();
    progress.start("pathways", tasks.len() as u64);
    for task in tasks {
        if progress.cancelled() {
            return Err(PlantedError::Interrupted);
        }
        let scores: Vec<(Method, Scores)> = all_scores(task, seed)?;
        for (method, (_, scores)) in found.iter_mut().zip(scores) {
            method.scores.insert(task.id.clone(), scores);
        }
        progress.advance(1);
    }
    progress.finish();
    Ok(found)
}

/// Judges our methods and those of `others` on the tasks, and draws the calibration curve where it is asked for. The
/// same request gives the same result at any number of threads.
pub fn run_benchmark(
    spec: &SuiteSpec,
    tasks: &[Task],
    others: Vec<MethodScores>,
    calibration: Option<&CalibrationSpec>,
    progress: &dyn Progress,
) -> Result<Benchmark, PlantedError> {
    let seed = Seed::new(0).fork("benchmark").fork(&spec.stream);
    let mut methods = score_tasks(tasks, &seed, progress)?;
    for other in others {
        if methods.iter().any(|method| method.method == other.method) {
            let message =
                format!("two methods are called {:?}: give each file of scores a name of its own", other.method);
            return Err(PlantedError::Request(message));
        }
        methods.push(other);
    }
    let trained = match spec.tiers.contains(&Tier::Trained) {
        true => shipped()?.into_iter().map(|model| (model.record.name, model.record.acceptance)).collect(),
        false => Vec::new(),
    };
    Ok(Benchmark {
        generator: GENERATOR,
        stream_digest: stream_digest(&spec.stream),
        models: if spec.tiers.contains(&Tier::Compiled) { spec.models } else { 0 },
        pairs: spec.pairs,
        trained,
        table: judge(tasks, &methods, &seed),
        dormant: dormant(tasks)?,
        calibration: match calibration {
            Some(curve) => calibrate(curve, &spec.stream, progress)?,
            None => Vec::new(),
        },
    })
}

fn dormant(tasks: &[Task]) -> Result<Vec<(String, DormantEffects)>, PlantedError> {
    let mut found = Vec::new();
    for task in tasks {
        found.extend(dormant_effects(task)?.map(|effects| (task.id.clone(), effects)));
    }
    Ok(found)
}
