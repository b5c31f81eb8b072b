//! What lm-eval measures of choices, likelihoods and texts.

use super::TaskMetric;

pub(super) const METRICS: &[TaskMetric] = &[];
