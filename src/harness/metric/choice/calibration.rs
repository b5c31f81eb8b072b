//! Whether the probabilities of choices mean what they say.
//!
//! The confidence source moves these numbers more than models do, so that each metric comes with three: softmax over choices of
//! the summed log-likelihoods, of those per token, of those per character. The prediction is the choice of the highest such
//! probability.

use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::{Answered, first_highest};
use crate::stats::{Direction, Objective, Statistic};
use crate::trust::metric::Sample;

use super::scores::{Scale, scores, softmax};
use super::{Value, indicator, right, sample, the_right};

const BINNING: &str = "Width: bins of equal width on [0, 1], an inner edge in the lower bin. Mass: bins of equal numbers of questions, edges \
                       between them at midpoints, equal edges merged (HELM). One bin: |accuracy − mean confidence|. Confidence is the largest \
                       softmax over choices of the summed log-likelihoods, of those per token (`_per_token`) or per character \
                       (`_per_character`). Biased upwards below some 300 questions.";

const fn calibration(
    id: &'static str,
    direction: Direction,
    definition: &'static str,
    formula: &'static str,
    source: &'static str,
    collect: fn(&[Answered], &MetricUse) -> Result<Vec<Sample>, HarnessError>,
) -> TaskMetric {
    TaskMetric {
        id,
        version: 1,
        objective: Objective::Calibration,
        unit: "probability",
        direction,
        definition,
        formula,
        source,
        differs: BINNING,
        cluster: "question (its base question where the data set has one)",
        collect,
    }
}

const GUO: &str = "Guo et al. 2017, arXiv 1706.04599";
const HELM: &str = "HELM, metrics/basic_metrics.py; uncertainty-calibration 0.1.4, calibration/utils.py get_ece_em, get_selective_stats";

/// A metric in its three confidence sources.
macro_rules! three {
    ($id:literal, $direction:expr, $definition:literal, $formula:literal, $source:expr, $collect:expr) => {
        three!(
            [$id, concat!($id, "_per_token"), concat!($id, "_per_character")],
            $direction,
            $definition,
            $formula,
            $source,
            $collect
        )
    };
    ([$sum:expr, $token:expr, $character:expr], $direction:expr, $definition:literal, $formula:literal, $source:expr, $collect:expr) => {
        [
            calibration(
                $sum,
                $direction,
                concat!($definition, " Confidence from summed log-likelihoods."),
                $formula,
                $source,
                |answered, metric| $collect(answered, metric, Scale::Sum),
            ),
            calibration(
                $token,
                $direction,
                concat!($definition, " Confidence from log-likelihoods per token."),
                $formula,
                $source,
                |answered, metric| $collect(answered, metric, Scale::Token),
            ),
            calibration(
                $character,
                $direction,
                concat!($definition, " Confidence from log-likelihoods per character."),
                $formula,
                $source,
                |answered, metric| $collect(answered, metric, Scale::Character),
            ),
        ]
    };
}

type Collect = fn(&[Answered], &MetricUse, Scale) -> Result<Vec<Sample>, HarnessError>;

const WIDTH_10: Collect =
    |answered, metric, scale| hits(answered, metric, scale, Statistic::CalibrationError { bins: 10 });
const WIDTH_15: Collect =
    |answered, metric, scale| hits(answered, metric, scale, Statistic::CalibrationError { bins: 15 });
const ONE_BIN: Collect =
    |answered, metric, scale| hits(answered, metric, scale, Statistic::CalibrationError { bins: 1 });
const MASS_10: Collect =
    |answered, metric, scale| hits(answered, metric, scale, Statistic::CalibrationErrorByMass { bins: 10 });
const TENTH: Collect =
    |answered, metric, scale| hits(answered, metric, scale, Statistic::SelectiveAccuracy { coverage: 0.1 });
const AREA: Collect = |answered, metric, scale| hits(answered, metric, scale, Statistic::CoverageArea);

/// All of them, three a kind.
static KINDS: [[TaskMetric; 3]; 8] = [
    three!(
        "ece@width10",
        Direction::Lower,
        "Expected calibration error over ten bins of equal width.",
        "Σ_b n_b/n · |hits_b/n_b − mean confidence_b|, bins (lo, hi]",
        GUO,
        WIDTH_10
    ),
    three!(
        "ece@width15",
        Direction::Lower,
        "Expected calibration error over fifteen bins of equal width.",
        "Σ_b n_b/n · |hits_b/n_b − mean confidence_b|, bins (lo, hi]",
        GUO,
        WIDTH_15
    ),
    three!(
        "ece@mass10",
        Direction::Lower,
        "Expected calibration error over ten bins of equal numbers of questions.",
        "Σ_b n_b/n · |hits_b/n_b − mean confidence_b|, sorted confidences split into ten parts, the larger ones first",
        HELM,
        MASS_10
    ),
    three!(
        "ece@one_bin",
        Direction::Lower,
        "How far mean confidence is from accuracy.",
        "|accuracy − mean confidence|",
        HELM,
        ONE_BIN
    ),
    three!(
        "selective_accuracy@10",
        Direction::Higher,
        "Accuracy on the tenth of questions of the highest confidence.",
        "share of hits among the ⌊n/10⌋ + 1 surest, equal confidences taken with equal chance",
        HELM,
        TENTH
    ),
    three!(
        "selective_accuracy@area",
        Direction::Higher,
        "Area under accuracy over coverage: accuracy on the surest k questions, averaged over k.",
        "1/n Σ_{k=1…n} hits among the k surest / k, equal confidences taken with equal chance",
        HELM,
        AREA
    ),
    three!(
        "selective_risk@area",
        Direction::Lower,
        "Area under risk over coverage: errors among the surest k questions, averaged over k; one less the area under accuracy.",
        "1/n Σ_{k=1…n} errors among the k surest / k, equal confidences taken with equal chance",
        "Geifman, Uziel and El-Yaniv 2019, arXiv 1805.08206 (AURC)",
        risk
    ),
    three!(
        ["brier_score@lm-eval", "brier_score@per_token", "brier_score@per_character"],
        Direction::Lower,
        "Summed squared distance between the choices' probabilities and the right one's one-hot vector, averaged over questions.",
        "mean of Σ_k (p_k − 1[k right])², 0 to 2",
        "lm-eval 0.4.13, api/metrics.py brier_score (summed log-likelihoods); the other sources are Counterpath's",
        brier
    ),
];

pub(in super::super) static METRICS: &[TaskMetric] = KINDS.as_flattened();

fn probabilities(answered: &Answered, metric: &MetricUse, scale: Scale) -> Result<Option<Vec<f64>>, HarnessError> {
    Ok(softmax(&scores(answered, scale, metric)?))
}

/// Confidence and hit of each question.
fn confident(
    answered: &[Answered],
    metric: &MetricUse,
    scale: Scale,
    statistic: Statistic,
    weight: fn(bool) -> f64,
) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, statistic, |one| {
        let right = right(one, metric)?;
        let Some(masses) = probabilities(one, metric, scale)? else { return Ok(Value::Undefined) };
        let chosen = first_highest(masses.iter().copied());
        let confidence = chosen.and_then(|index| masses.get(index)).copied().unwrap_or(f64::NAN);
        Ok(Value::Weighted(confidence, weight(chosen.is_some_and(|index| right.contains(&index)))))
    })
}

fn hits(
    answered: &[Answered],
    metric: &MetricUse,
    scale: Scale,
    statistic: Statistic,
) -> Result<Vec<Sample>, HarnessError> {
    confident(answered, metric, scale, statistic, indicator)
}

fn risk(answered: &[Answered], metric: &MetricUse, scale: Scale) -> Result<Vec<Sample>, HarnessError> {
    confident(answered, metric, scale, Statistic::CoverageArea, |hit| indicator(!hit))
}

fn brier(answered: &[Answered], metric: &MetricUse, scale: Scale) -> Result<Vec<Sample>, HarnessError> {
    sample(answered, Statistic::Mean, |one| {
        let truth = the_right(one, metric)?;
        let Some(masses) = probabilities(one, metric, scale)? else { return Ok(Value::Undefined) };
        let distance = |(index, mass): (usize, &f64)| (mass - indicator(index == truth)).powi(2);
        Ok(Value::Of(masses.iter().enumerate().map(distance).sum()))
    })
}
