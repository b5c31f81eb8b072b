//! A group's own numbers (lm-eval `api/group.py`): the mean of its tasks' values, weighted by their documents or not.

use std::collections::BTreeMap;

use super::super::yaml::Group;
use super::Evaluated;
use crate::stats::pooled;

/// A group's value of one metric under one filter.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupValue {
    /// The metric.
    pub metric: String,
    /// The filter.
    pub filter: String,
    /// The value.
    pub value: f64,
    /// Its standard error; none where a task has none.
    pub standard_error: Option<f64>,
    /// Documents behind it.
    pub documents: usize,
}

/// One task's part in a group.
struct Part {
    value: f64,
    error: Option<f64>,
    documents: usize,
}

/// The values of a group, in the order of its metrics and filters. Tasks without the metric, or whose value is no number, are
/// left out, as lm-eval leaves them.
pub fn group_values(group: &Group, tasks: &[Evaluated]) -> Vec<GroupValue> {
    let own: Vec<&Evaluated> =
        group.tasks.iter().filter_map(|name| tasks.iter().find(|task| task.planned.task.id == *name)).collect();
    let mut values = Vec::new();
    for wanted in &group.metrics {
        let mut parts: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
        for task in &own {
            for filter in &task.result.filters {
                let named = wanted.filters.as_ref().is_none_or(|names| names.contains(&filter.filter));
                let metric = filter.metrics.iter().find(|metric| metric.name == wanted.metric);
                let Some((metric, value)) = metric.filter(|_| named).and_then(|metric| Some((metric, metric.value?)))
                else {
                    continue;
                };
                let documents = task.planned.task.questions.len();
                let part = Part { value, error: metric.standard_error, documents };
                parts.entry(&filter.filter).or_default().push(part);
            }
        }
        for (filter, parts) in parts {
            let (value, standard_error) = if wanted.weight_by_size { weighted(&parts) } else { unweighted(&parts) };
            values.push(GroupValue {
                metric: wanted.metric.clone(),
                filter: filter.to_owned(),
                value,
                standard_error,
                documents: parts.iter().map(|part| part.documents).sum(),
            });
        }
    }
    values
}

fn errors(parts: &[Part]) -> Option<Vec<f64>> {
    parts.iter().map(|part| part.error).collect()
}

fn weighted(parts: &[Part]) -> (f64, Option<f64>) {
    let total: usize = parts.iter().map(|part| part.documents).sum();
    let value = parts.iter().map(|part| part.value * part.documents as f64).sum::<f64>() / total as f64;
    let with_errors: Option<Vec<(f64, f64, usize)>> =
        parts.iter().map(|part| Some((part.value, part.error?, part.documents))).collect();
    (value, with_errors.and_then(|parts| pooled(&parts)).map(|(_, error)| error))
}

fn unweighted(parts: &[Part]) -> (f64, Option<f64>) {
    let count = parts.len() as f64;
    let value = parts.iter().map(|part| part.value).sum::<f64>() / count;
    let squares = errors(parts).map(|errors| errors.iter().map(|error| error * error).sum::<f64>());
    (value, squares.map(|squares| squares.sqrt() / count))
}
