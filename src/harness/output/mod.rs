//! Results in the files of other programs.

pub mod groups;
pub mod lm_eval;
pub mod samples;

use super::question::Answered;
use super::run::TaskResult;
use super::yaml::Planned;

/// A task from its questions to its numbers.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The task.
    pub planned: Planned,
    /// Its answers.
    pub answered: Vec<Answered>,
    /// What they come to.
    pub result: TaskResult,
}
