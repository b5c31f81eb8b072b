//! Do the probabilities mean what they say?
//!
//! Both metrics read the answer probabilities p_j = softmax_j(ℓ) over the answers offered, from the *summed*
//! log-likelihoods of whole continuations, raw and not normalised by length (the confidence source moves these numbers
//! more than models do, so it is fixed here and named).
//!
//! * Brier, lm-eval's form: Σ_j (p_j − 1[j = label])² a question, averaged over questions; 0 to 2.
//! * Expected calibration error, ten bins of equal width: Σ_b n_b/n · |hits_b/n_b − mean confidence_b|, confidence =
//!   max_j p_j, hit = the model's answer is the label; a confidence on an inner edge belongs to the lower bin (Guo et al.
//!   2017). Biased upward below some hundred questions; its interval comes from resampling whole clusters.

use super::error::TrustError;
use super::metric::{Evidence, Metric, Sample};
use super::select::{item_name, label_of, task_samples};
use crate::stats::{Direction, Objective, Statistic};

/// Bins of the calibration error; the metric's name carries the number.
const BINS: usize = 10;

pub(super) const BRIER: Metric = Metric {
    id: "calibration.brier",
    version: 1,
    objective: Objective::Calibration,
    unit: "squared probability",
    direction: Direction::Lower,
    definition: "Mean over questions of the summed squared distance between the answers' probabilities (softmax of summed \
                 log-likelihoods) and the true label's one-hot vector.",
    source: "lm-eval api/metrics.py brier_score",
    collect: brier,
};

pub(super) const ECE: Metric = Metric {
    id: "calibration.ece@width_10",
    version: 1,
    objective: Objective::Calibration,
    unit: "probability",
    direction: Direction::Lower,
    definition: "Expected calibration error over ten bins of equal width, upper edges included; confidence is the largest \
                 answer probability (softmax of summed log-likelihoods).",
    source: "Guo et al. 2017, arXiv 1706.04599",
    collect: expected_calibration_error,
};

fn brier(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    task_samples(evidence, Statistic::Mean, |item| {
        let name = item_name(item);
        let label = label_of(&name, &item.prompt)?;
        let probabilities = evidence.answers.of(&name, &item.prompt)?.probabilities();
        Ok((brier_of(&probabilities, label), None, None))
    })
}

/// Σ_j (p_j − 1[j = label])².
fn brier_of(probabilities: &[f64], label: usize) -> f64 {
    let distance = |(answer, p): (usize, &f64)| (p - if answer == label { 1.0 } else { 0.0 }).powi(2);
    probabilities.iter().enumerate().map(distance).sum()
}

fn expected_calibration_error(evidence: &Evidence<'_>) -> Result<Vec<Sample>, TrustError> {
    task_samples(evidence, Statistic::CalibrationError { bins: BINS }, |item| {
        let name = item_name(item);
        let label = label_of(&name, &item.prompt)?;
        let answers = evidence.answers.of(&name, &item.prompt)?;
        let confidence = answers.probabilities().into_iter().fold(0.0, f64::max);
        let hit = if answers.chosen() == label { 1.0 } else { 0.0 };
        Ok((confidence, None, Some(hit)))
    })
}
