//! Bias and fairness data sets.

use super::TaskMetric;

pub(super) const METRICS: &[TaskMetric] = &[];
