//! Metrics of choices, likelihoods and texts, in the variants of lm-eval, lighteval and HELM.
//!
//! Nothing is left out: a question whose likelihoods are not numbers counts as wrong where the metric counts right answers,
//! and leaves the value undefined, with the number of such questions, where it does not.

mod accuracy;
mod calibration;
mod likelihood;
mod outcome;
mod scores;
mod text;

pub(super) use accuracy::METRICS as ACCURACY;
pub(super) use calibration::METRICS as CALIBRATION;
pub(super) use likelihood::METRICS as LIKELIHOOD;
pub use likelihood::words;
pub(super) use outcome::METRICS as OUTCOME;
pub use scores::{add_unconditional, unconditional_context};
pub(super) use text::METRICS as TEXT;

use crate::harness::error::HarnessError;
use crate::harness::question::{Answered, Target};
use crate::stats::{Item, Statistic};
use crate::trust::metric::Sample;

use super::MetricUse;

/// The population of all questions of a task.
pub const ALL: &str = "all";

/// What a question gives a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    /// A value.
    Of(f64),
    /// A value and a weight.
    Weighted(f64, f64),
    /// A likelihood is not a number, and the question counts as wrong.
    Wrong,
    /// A likelihood is not a number, and there is no value.
    Undefined,
}

/// One sample over all questions.
fn sample(
    answered: &[Answered],
    statistic: Statistic,
    value: impl Fn(&Answered) -> Result<Value, HarnessError>,
) -> Result<Vec<Sample>, HarnessError> {
    if answered.is_empty() {
        return Ok(Vec::new());
    }
    let mut sample = Sample {
        population: ALL.into(),
        statistic,
        items: Vec::with_capacity(answered.len()),
        denominator: None,
        undefined: None,
        note: None,
    };
    let (mut wrong, mut undefined) = (0, 0);
    for one in answered {
        let (value, weight) = match value(one)? {
            Value::Of(value) => (value, None),
            Value::Weighted(value, weight) => (value, Some(weight)),
            Value::Wrong => {
                wrong += 1;
                (0.0, None)
            }
            Value::Undefined => {
                undefined += 1;
                continue;
            }
        };
        let (id, cluster) = (one.question.id.clone(), one.question.cluster.clone());
        sample.items.push(Item { id, cluster, value, group: None, weight });
    }
    let of =
        |count: usize| format!("{count} of {} questions have a log-likelihood that is not a number", answered.len());
    sample.undefined = (undefined > 0).then(|| of(undefined));
    sample.note = (wrong > 0).then(|| format!("{}; they count as wrong.", of(wrong)));
    Ok(vec![sample])
}

fn refuse(answered: &Answered, metric: &MetricUse, message: impl Into<String>) -> HarnessError {
    let (metric, question) = (metric.id.clone(), answered.question.id.clone());
    HarnessError::Metric { metric, question, message: message.into() }
}

/// The right choices.
fn right<'a>(answered: &'a Answered, metric: &MetricUse) -> Result<&'a [usize], HarnessError> {
    match &answered.question.target {
        Target::Choices { indexes } if !indexes.is_empty() => Ok(indexes),
        _ => Err(refuse(answered, metric, "it needs a choice that is right, and the question names none")),
    }
}

/// The one right choice.
fn the_right(answered: &Answered, metric: &MetricUse) -> Result<usize, HarnessError> {
    match right(answered, metric)? {
        [one] => Ok(*one),
        several => Err(refuse(answered, metric, format!("it needs one right choice, and {} are right", several.len()))),
    }
}

fn indicator(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
