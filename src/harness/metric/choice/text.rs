//! Generated texts against what was asked for.

use std::collections::BTreeSet;

use regex::Regex;

use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::{Answered, Response, Target};
use crate::stats::{Direction, Objective, Statistic};
use crate::trust::metric::Sample;

use super::accuracy::greedy;
use super::{ALL, Value, indicator, refuse, right, sample};

/// What a filter gives where it finds no answer.
pub(super) const NOT_FOUND: &str = "[invalid]";

pub(in super::super) const METRICS: &[TaskMetric] = &[TaskMetric {
    id: "exact_match@lm-eval",
    version: 1,
    objective: Objective::Accuracy,
    unit: "share",
    direction: Direction::Higher,
    definition: "Share of questions whose generated text is one of the right ones; of multiple choices, share whose right choice \
                 greedy decoding gives.",
    formula: "mean of 1[text' = right'], ' taking away what `regexes_to_ignore` match, then with `ignore_case` lower-casing, with \
              `ignore_punctuation` taking away ASCII punctuation, with `ignore_numbers` taking away digits; a population a filter",
    source: "lm-eval 0.4.13, api/metrics.py exact_match_hf_evaluate and api/task.py process_results",
    differs: "lm-eval compares a generated text with its target, HELM the likeliest choice per token with the right one.",
    cluster: "question",
    collect: exact_match,
}];

fn exact_match(answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let likelihoods = |one: &Answered| matches!(one.responses.first(), Some(Response::Loglikelihood { .. }));
    if answered.iter().all(likelihoods) {
        return sample(answered, Statistic::Share, |one| {
            let given = right(one, metric)?.iter().map(|index| greedy(one, metric, *index));
            let given = given.collect::<Result<Vec<_>, HarnessError>>()?;
            Ok(match given.iter().find(|value| **value != Value::Of(0.0)) {
                Some(value) => *value,
                None => Value::Of(0.0),
            })
        });
    }
    let normal = Normal::of(answered, metric)?;
    per_filter(answered, |filter| {
        sample(answered, Statistic::Share, |one| {
            let given = normal.text(text(one, metric, filter)?);
            let wanted = wanted(one, metric)?;
            Ok(Value::Of(indicator(wanted.into_iter().any(|wanted| normal.text(wanted) == given))))
        })
    })
}

/// A sample for each filter, its population called after the filter; `none` is the whole task.
pub(super) fn per_filter(
    answered: &[Answered],
    collect: impl Fn(&str) -> Result<Vec<Sample>, HarnessError>,
) -> Result<Vec<Sample>, HarnessError> {
    let mut filters: BTreeSet<&str> = answered.iter().flat_map(|one| one.filtered.keys().map(String::as_str)).collect();
    if filters.is_empty() {
        filters.insert("none");
    }
    let mut samples = Vec::new();
    for filter in filters {
        let population = if filter == "none" { ALL } else { filter };
        samples.extend(collect(filter)?.into_iter().map(|sample| Sample { population: population.into(), ..sample }));
    }
    Ok(samples)
}

/// What a filter made of a question's generated text; the text itself where the task has no filters.
pub(super) fn text<'a>(answered: &'a Answered, metric: &MetricUse, filter: &str) -> Result<&'a str, HarnessError> {
    let filtered = answered.filtered.get(filter).map(|texts| texts.first().map(String::as_str));
    let raw = || answered.responses.first().and_then(Response::text);
    let text = if answered.filtered.is_empty() { raw() } else { filtered.flatten() };
    text.ok_or_else(|| refuse(answered, metric, format!("filter {filter:?} gives no generated text")))
}

fn wanted<'a>(answered: &'a Answered, metric: &MetricUse) -> Result<Vec<&'a str>, HarnessError> {
    match &answered.question.target {
        Target::Texts { texts } if !texts.is_empty() => Ok(texts.iter().map(String::as_str).collect()),
        Target::Choices { indexes } => {
            let choice = |index: &usize| answered.question.choices.get(*index).map(String::as_str);
            Ok(indexes.iter().filter_map(choice).collect())
        }
        _ => Err(refuse(answered, metric, "it needs a text that is right, and the question names none")),
    }
}

/// What is taken away from both texts before they are compared.
struct Normal {
    patterns: Vec<Regex>,
    case: bool,
    punctuation: bool,
    numbers: bool,
}

impl Normal {
    fn of(answered: &[Answered], metric: &MetricUse) -> Result<Self, HarnessError> {
        let flag = |name: &str| metric.arguments.get(name).and_then(|value| value.as_bool()).unwrap_or(false);
        let mut patterns = Vec::new();
        for pattern in
            metric.arguments.get("regexes_to_ignore").and_then(|value| value.as_array()).into_iter().flatten()
        {
            let pattern = pattern.as_str().unwrap_or_default();
            patterns.push(Regex::new(pattern).map_err(|error| HarnessError::Metric {
                metric: metric.id.clone(),
                question: answered.first().map(|one| one.question.id.clone()).unwrap_or_default(),
                message: format!("`regexes_to_ignore` holds {pattern:?}, which is no pattern: {error}"),
            })?);
        }
        let (case, punctuation) = (flag("ignore_case"), flag("ignore_punctuation"));
        Ok(Self { patterns, case, punctuation, numbers: flag("ignore_numbers") })
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pattern in &self.patterns {
            text = pattern.replace_all(&text, "").into_owned();
        }
        if self.case {
            text = text.to_lowercase();
        }
        text.retain(|character| {
            !(self.punctuation && character.is_ascii_punctuation() || self.numbers && character.is_ascii_digit())
        });
        text
    }
}
