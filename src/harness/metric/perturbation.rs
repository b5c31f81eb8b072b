//! What perturbed questions tell.

use super::TaskMetric;

pub(super) const METRICS: &[TaskMetric] = &[];
