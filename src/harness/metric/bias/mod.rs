//! Metrics of bias, fairness and causal data sets, one file a data set or family.
//!
//! Each reads answered questions: documents as their files have them, choices, and the columns that the tasks set. What a metric needs
//! of a question is said where it is read; a question without it is an error with the question's name. Answers that cannot be
//! read (no option found in a text, a likelihood that is not a number) are counted as the variant says, and the count stands
//! in the sample's note.

mod bbq;
pub(in crate::harness) mod bbq_roles;
mod bbq_said;
mod contrast;
mod counterfactual;
mod crows_pairs;
mod fairness;
mod generation;
mod group;
mod hans;
mod population;
mod preference;
mod professions;
mod stereoset;
mod winobias;
mod winogender;

use super::TaskMetric;

/// The metrics of this folder, one slice a file.
pub(super) const BBQ: &[TaskMetric] = bbq::METRICS;
pub(super) const CONTRAST: &[TaskMetric] = contrast::METRICS;
pub(super) const COUNTERFACTUAL: &[TaskMetric] = counterfactual::METRICS;
pub(super) const CROWS_PAIRS: &[TaskMetric] = crows_pairs::METRICS;
pub(super) const FAIRNESS: &[TaskMetric] = fairness::METRICS;
pub(super) const GENERATION: &[TaskMetric] = generation::METRICS;
pub(super) const GROUP: &[TaskMetric] = group::METRICS;
pub(super) const HANS: &[TaskMetric] = hans::METRICS;
pub(super) const PREFERENCE: &[TaskMetric] = preference::METRICS;
pub(super) const PROFESSIONS: &[TaskMetric] = professions::METRICS;
pub(super) const STEREOSET: &[TaskMetric] = stereoset::METRICS;
pub(super) const WINOBIAS: &[TaskMetric] = winobias::METRICS;
pub(super) const WINOGENDER: &[TaskMetric] = winogender::METRICS;

pub use generation::attach_scores;
