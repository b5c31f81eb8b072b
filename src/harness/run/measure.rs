//! From answers to scores: every metric of a task under every filter, lm-eval's number with its standard error beside the
//! interval of the cluster bootstrap.
//!
//! What a filter did not find and what is not a number is counted beside the value: a score over values of which one is not a
//! number is undefined, with the count as its reason.

use std::collections::BTreeMap;

use super::super::error::HarnessError;
use super::super::metric::{ALL, MetricUse, TaskMetric, task_metric};
use super::super::question::{Answered, Response};
use super::super::yaml::Planned;
use super::super::yaml::file::Aggregation;
use super::super::yaml::function::{Code, DocValue, Function, Outcome};
use super::aggregate::{aggregate, name, standard_error};
use super::{fallbacks, takes_one};
use crate::stats::{Bootstrap, Direction, Estimate, Item, MetricScore, Statistic};
use crate::trust::measure::{Described, score_sample};
use crate::trust::metric::Sample;

/// How intervals and errors are made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Of every interval.
    pub bootstrap: Bootstrap,
    /// Replicates of lm-eval's bootstrapped errors; 0 for none.
    pub iterations: usize,
}

/// One task's results.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResult {
    /// The task.
    pub task: String,
    /// By filter, in the task's order.
    pub filters: Vec<FilterResult>,
}

/// What a task's answers come to under one filter.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterResult {
    /// The filter.
    pub filter: String,
    /// The metrics.
    pub metrics: Vec<MetricResult>,
    /// Documents whose text holds no answer that the filter finds.
    pub refused: usize,
}

/// One metric of one task under one filter.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricResult {
    /// lm-eval's name, such as `acc`.
    pub name: String,
    /// The value; none where it is not a number.
    pub value: Option<f64>,
    /// lm-eval's standard error; none where it has none.
    pub standard_error: Option<f64>,
    /// Values of documents that are not numbers.
    pub not_numbers: usize,
    /// Which way is better.
    pub higher_is_better: Option<bool>,
    /// By question, the value of the document.
    pub values: BTreeMap<String, DocValue>,
    /// The same as scores of a record: the whole task first, then its parts.
    pub scores: Vec<MetricScore>,
}

/// Measures the answers to a task.
///
/// # Errors
/// A metric that the answers do not hold, a function that a document does not suit.
pub fn measure(planned: &Planned, answered: &[Answered], settings: &Settings) -> Result<TaskResult, HarnessError> {
    let mut filters = Vec::new();
    for pipeline in &planned.filters {
        let refused = fallbacks(pipeline);
        let seen: Vec<Answered> = answered.iter().map(|answer| under(answer, &pipeline.name)).collect();
        let is_refused =
            |answer: &&Answered| answer.filtered.values().flatten().any(|text| refused.contains(&text.as_str()));
        let population = match pipeline.name.as_str() {
            "none" => planned.task.id.clone(),
            name => format!("{}/{name}", planned.task.id),
        };
        let one = takes_one(pipeline);
        let metrics = match planned.scoring.function {
            Some(function) => of_function(planned, function, (&seen, one), &population, settings)?,
            None => of_metrics(planned, &seen, &population, settings)?,
        };
        filters.push(FilterResult {
            filter: pipeline.name.clone(),
            metrics,
            refused: seen.iter().filter(is_refused).count(),
        });
    }
    Ok(TaskResult { task: planned.task.id.clone(), filters })
}

/// An answer as one filter leaves it.
fn under(answer: &Answered, filter: &str) -> Answered {
    let kept = answer.filtered.get(filter).map(|kept| ("none".to_owned(), kept.clone()));
    Answered {
        question: answer.question.clone(),
        responses: answer.responses.clone(),
        filtered: kept.into_iter().collect(),
    }
}

/// How lm-eval aggregates a metric that says nothing of it.
fn usual(metric: &str) -> Aggregation {
    Aggregation::Named(match metric {
        "perplexity" => "perplexity",
        "word_perplexity" | "byte_perplexity" => "weighted_perplexity",
        "bits_per_byte" => "bits_per_byte",
        "f1" => "f1",
        "mcc" => "matthews_corrcoef",
        "median" => "median",
        "brier_score" => "brier_score",
        _ => "mean",
    })
}

fn of_metrics(
    planned: &Planned,
    answered: &[Answered],
    population: &str,
    settings: &Settings,
) -> Result<Vec<MetricResult>, HarnessError> {
    let mut results = Vec::new();
    for used in &planned.task.metrics {
        let metric = task_metric(&used.id)?;
        let name = used.id.strip_suffix("@lm-eval").unwrap_or(&used.id);
        let samples = (metric.collect)(answered, used)?;
        let aggregation = planned.scoring.aggregations.get(name).copied().unwrap_or_else(|| usual(name));
        let whole = samples.iter().find(|sample| sample.population == ALL).or(samples.first());
        let values = whole.map(|sample| doc_values(name, sample)).unwrap_or_default();
        let scores = samples.into_iter().map(|sample| score(metric, used, sample, population, settings));
        let scores = scores.collect::<Result<Vec<_>, _>>()?;
        let higher = match metric.direction {
            Direction::Higher => Some(true),
            Direction::Lower => Some(false),
            Direction::Descriptive => None,
        };
        let higher_is_better = planned.scoring.higher_is_better.get(name).copied().or(higher);
        let mut result = number(name, aggregation, values, settings);
        result.higher_is_better = higher_is_better;
        // A metric that is not lm-eval's has its statistic's value, and no such error.
        if used.id == name {
            result.value = scores.first().and_then(|score: &MetricScore| score.estimate.value);
            result.standard_error = None;
        }
        result.scores = scores;
        results.push(result);
    }
    Ok(results)
}

/// A metric's value, its error, and how many values are no numbers.
fn number(
    metric: &str,
    aggregation: Aggregation,
    values: Vec<(String, DocValue)>,
    settings: &Settings,
) -> MetricResult {
    let ordered: Vec<DocValue> = values.iter().map(|(_, value)| value.clone()).collect();
    let value = aggregate(aggregation, &ordered);
    let not_numbers = ordered.iter().filter(|value| value.first().is_nan()).count();
    let error = standard_error(aggregation, &ordered, settings.iterations).filter(|error| error.is_finite());
    MetricResult {
        name: metric.into(),
        value: Some(value).filter(|value| value.is_finite()),
        standard_error: error,
        not_numbers,
        higher_is_better: None,
        values: values.into_iter().collect(),
        scores: Vec::new(),
    }
}

/// The values that lm-eval's aggregation reads, from a metric's items.
fn doc_values(metric: &str, sample: &Sample) -> Vec<(String, DocValue)> {
    let value = |item: &Item| match (metric, item.weight) {
        ("perplexity", _) => DocValue::Number(-item.value),
        ("word_perplexity" | "byte_perplexity", Some(weight)) => DocValue::Tuple(vec![-item.value, weight]),
        // (gold, prediction).
        ("f1" | "mcc", Some(gold)) => DocValue::Tuple(vec![gold, item.value]),
        ("bits_per_byte", Some(weight)) => DocValue::Tuple(vec![-item.value * std::f64::consts::LN_2, weight]),
        _ => DocValue::Number(item.value),
    };
    sample.items.iter().map(|item| (item.id.clone(), value(item))).collect()
}

fn score(
    metric: &TaskMetric,
    used: &MetricUse,
    sample: Sample,
    population: &str,
    settings: &Settings,
) -> Result<MetricScore, HarnessError> {
    let described = Described {
        id: &used.id,
        version: metric.version,
        objective: metric.objective,
        unit: metric.unit,
        direction: metric.direction,
        definition: metric.definition,
    };
    scored(&described, sample, population, settings)
}

/// A score; undefined where values are no numbers.
fn scored(
    described: &Described<'_>,
    mut sample: Sample,
    population: &str,
    settings: &Settings,
) -> Result<MetricScore, HarnessError> {
    sample.population = match sample.population.as_str() {
        "" | ALL => population.to_owned(),
        part => format!("{population}/{part}"),
    };
    let all = sample.items.len();
    let finite = |item: &Item| item.value.is_finite() && item.weight.is_none_or(f64::is_finite);
    let bad = sample.items.iter().filter(|item| !finite(item)).count();
    if bad > 0 {
        sample.undefined = Some(format!("{bad} of {all} values are not numbers"));
        sample.items.retain(finite);
    }
    Ok(score_sample(described, sample, &settings.bootstrap)?)
}

fn of_function(
    planned: &Planned,
    function: &'static Function,
    (answered, one): (&[Answered], bool),
    population: &str,
    settings: &Settings,
) -> Result<Vec<MetricResult>, HarnessError> {
    let Code::Results(results, objective) = function.code else {
        let message = format!("`process_results`: {} gives no results", function.name);
        return Err(HarnessError::Task { task: planned.task.id.clone(), message });
    };
    let mut order: Vec<String> = Vec::new();
    let mut values: BTreeMap<String, Vec<(&Answered, DocValue)>> = BTreeMap::new();
    for answer in answered {
        let of_doc = outcome(answer, one, |outcome| results(&answer.question.doc, outcome));
        for (metric, value) in of_doc.map_err(|message| HarnessError::Metric {
            metric: function.name.into(),
            question: answer.question.id.clone(),
            message,
        })? {
            let all = values.entry(metric.clone()).or_insert_with(|| {
                order.push(metric);
                Vec::new()
            });
            all.push((answer, value));
        }
    }
    let mut measured = Vec::new();
    for metric in order {
        let Some(values) = values.get(&metric) else { continue };
        let aggregation = planned.scoring.aggregations.get(&metric).copied().unwrap_or_else(|| usual(&metric));
        let by_id = values.iter().map(|(answer, value)| (answer.question.id.clone(), value.clone())).collect();
        let mut result = number(&metric, aggregation, by_id, settings);
        result.higher_is_better = planned.scoring.higher_is_better.get(&metric).copied();
        let described = Described {
            id: &format!("{metric}@lm-eval"),
            version: 1,
            objective,
            unit: unit(aggregation, values),
            direction: match result.higher_is_better {
                Some(true) => Direction::Higher,
                Some(false) => Direction::Lower,
                None => Direction::Descriptive,
            },
            definition: &format!("{} of {}, as lm-eval's tasks define it.", function.name, function.folder),
        };
        result.scores = vec![match sample(aggregation, values) {
            Some(sample) => scored(&described, sample, population, settings)?,
            None => without_items(&described, population, result.value, values.len()),
        }];
        measured.push(result);
    }
    Ok(measured)
}

/// What a function of results reads of an answer.
fn outcome<T>(answer: &Answered, one: bool, read: impl FnOnce(Outcome<'_>) -> T) -> T {
    if let Some(kept) = answer.filtered.values().next() {
        let value = match (one, kept.first()) {
            (true, Some(text)) => text.as_str().into(),
            _ => serde_json::Value::from(kept.clone()),
        };
        return read(Outcome::Filtered(&value));
    }
    if let [Response::Rolling { loglikelihood, .. }] = answer.responses.as_slice() {
        return read(Outcome::Rolling(*loglikelihood));
    }
    let pairs: Vec<(f64, bool)> = answer
        .responses
        .iter()
        .filter_map(|response| match response {
            Response::Loglikelihood { loglikelihood, is_greedy, .. } => Some((*loglikelihood, *is_greedy)),
            _ => None,
        })
        .collect();
    read(Outcome::Loglikelihoods(&pairs))
}

fn is_share(values: &[(&Answered, DocValue)]) -> bool {
    values.iter().all(|(_, value)| matches!(value, DocValue::Number(number) if *number == 0.0 || *number == 1.0))
}

fn unit(aggregation: Aggregation, values: &[(&Answered, DocValue)]) -> &'static str {
    match name(aggregation) {
        "mean" if is_share(values) => "share",
        "perplexity" | "weighted_perplexity" => "perplexity",
        "bits_per_byte" => "bits a byte",
        _ => "value",
    }
}

/// The values as items of a statistic, where the aggregation is one.
fn sample(aggregation: Aggregation, values: &[(&Answered, DocValue)]) -> Option<Sample> {
    let item = |answer: &Answered, value: f64, weight: Option<f64>| Item {
        id: answer.question.id.clone(),
        cluster: answer.question.cluster.clone(),
        value,
        group: None,
        weight,
    };
    let weighted = |scale: f64| -> Option<Vec<Item>> {
        let one = |(answer, value): &(&Answered, DocValue)| {
            let [value, weight] = value.tuple()?;
            Some(item(answer, -value / scale, Some(weight)))
        };
        values.iter().map(one).collect()
    };
    let plain = |sign: f64, weight: Option<f64>| -> Vec<Item> {
        values.iter().map(|(answer, value)| item(answer, sign * value.first(), weight)).collect()
    };
    let (statistic, items) = match name(aggregation) {
        "mean" => (if is_share(values) { Statistic::Share } else { Statistic::Mean }, plain(1.0, None)),
        "perplexity" => (Statistic::ExpRatio, plain(-1.0, Some(1.0))),
        "weighted_perplexity" => (Statistic::ExpRatio, weighted(1.0)?),
        "bits_per_byte" => (Statistic::Ratio, weighted(std::f64::consts::LN_2)?),
        _ => return None,
    };
    Some(Sample { population: String::new(), statistic, items, denominator: None, undefined: None, note: None })
}

/// A value that is no function of items one by one: recorded without an interval, and with the reason.
fn without_items(described: &Described<'_>, population: &str, value: Option<f64>, n: usize) -> MetricScore {
    let reason = "the task's own aggregation is no statistic that can be resampled here";
    MetricScore {
        metric: described.id.into(),
        version: described.version,
        population: population.into(),
        objective: described.objective,
        unit: described.unit.into(),
        direction: described.direction,
        statistic: Statistic::Mean,
        estimate: Estimate { value, ..Estimate::undefined(reason, n, n) },
        items: Vec::new(),
        note: described.definition.into(),
    }
}
