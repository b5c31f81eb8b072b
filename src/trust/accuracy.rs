//! Right answers: the share of questions whose most likely answer is the true label, an environment at a time.

use super::error::TrustError;
use super::metric::{Evidence, Metric, Sample};
use super::select::{hit, task_samples};
use crate::stats::{Direction, Objective, Statistic};

pub(super) const EXACT: Metric = Metric {
    id: "accuracy.exact",
    version: 1,
    objective: Objective::Accuracy,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of questions whose most likely answer (summed log-likelihood of the whole continuation, first of \
                 equals) is the true label.",
    source: "lm-eval api/task.py, acc",
    collect: exact,
};

fn exact(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    task_samples(evidence, Statistic::Share, |item| Ok((hit(evidence, item)?, None, None)))
}
