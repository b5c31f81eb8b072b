//! Accuracy by group and of the worst group (Sagawa et al. 2020): groups are the joint values of the columns named by the argument
//! `groups` (a list), by default the column `group`.

use std::collections::BTreeMap;

use super::population::{Populations, add_hit, column, lacks, names};
use crate::harness::error::HarnessError;
use crate::harness::metric::{MetricUse, TaskMetric};
use crate::harness::question::Answered;
use crate::stats::{Direction, Item, Objective, Statistic};
use crate::trust::metric::Sample;

const WORST: TaskMetric = TaskMetric {
    id: "worst_group.accuracy",
    version: 1,
    objective: Objective::Robustness,
    unit: "share",
    direction: Direction::Higher,
    definition: "Accuracy of the group with the lowest; groups are label × spurious attribute, their sizes and accuracies stand in the \
                 note. The interval is that of the minimum itself, drawn anew with every resample; a plain minimum is biased low.",
    formula: "min_g acc_g",
    source: "kohpangwei/group_DRO, loss.py and utils.py (Sagawa et al. 2020, arXiv 1911.08731)",
    differs: "",
    cluster: "the question's cluster",
    collect: |answered, metric| collect(Form::Worst, answered, metric),
};

pub(super) const METRICS: &[TaskMetric] = &[
    WORST,
    TaskMetric {
        id: "worst_group.average",
        objective: Objective::Accuracy,
        definition: "Accuracy over all questions, whatever their group.",
        formula: "n_right / n",
        collect: |answered, metric| collect(Form::Average, answered, metric),
        ..WORST
    },
    TaskMetric {
        id: "worst_group.adjusted_average",
        objective: Objective::Accuracy,
        definition: "Mean of the groups' accuracies, weighted by how frequent each group was in training.",
        formula: "Σ_g p_g·acc_g / Σ_g p_g, p from the argument `frequencies` (group → frequency or count) or the column \
                  `group_frequency`",
        collect: |answered, metric| collect(Form::Adjusted, answered, metric),
        ..WORST
    },
    TaskMetric {
        id: "worst_group.group_accuracy",
        objective: Objective::Accuracy,
        definition: "Accuracy of each group, a population a group.",
        formula: "acc_g",
        collect: |answered, metric| collect(Form::Each, answered, metric),
        ..WORST
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Worst,
    Average,
    Adjusted,
    Each,
}

/// A question's group: the joint values of the columns that define groups.
pub(super) fn group_of(metric: &MetricUse, answered: &Answered, argument: &str) -> Result<String, HarnessError> {
    let columns = columns(metric, answered, argument)?;
    let values = columns.iter().map(|name| column(metric, answered, name));
    Ok(values.collect::<Result<Vec<_>, _>>()?.join(" × "))
}

/// The columns that an argument lists; `group` where it is not given.
pub(super) fn columns(metric: &MetricUse, answered: &Answered, argument: &str) -> Result<Vec<String>, HarnessError> {
    let Some(given) = metric.arguments.get(argument) else { return Ok(vec!["group".into()]) };
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let columns: Option<Vec<String>> = match given {
        serde_json::Value::Array(list) => list.iter().map(text).collect(),
        one => text(one).map(|one| vec![one]),
    };
    let columns = columns.filter(|columns| !columns.is_empty());
    columns.ok_or_else(|| lacks(metric, answered, format!("argument {argument:?} must list columns, and is {given}")))
}

fn frequency(metric: &MetricUse, answered: &Answered, group: &str) -> Result<f64, HarnessError> {
    let Some(given) = metric.arguments.get("frequencies") else {
        return super::population::number(metric, answered, "group_frequency");
    };
    let frequency = given.get(group).and_then(serde_json::Value::as_f64).filter(|frequency| *frequency >= 0.0);
    frequency
        .ok_or_else(|| lacks(metric, answered, format!("argument \"frequencies\" has no number for group {group:?}")))
}

fn collect(form: Form, answered: &[Answered], metric: &MetricUse) -> Result<Vec<Sample>, HarnessError> {
    let mut populations = Populations::default();
    for answered in answered {
        let group = group_of(metric, answered, "groups")?;
        let weight = if form == Form::Adjusted { Some(frequency(metric, answered, &group)?) } else { None };
        let names = match form {
            Form::Each => vec![format!("group={group}")],
            _ => names(answered, &[]),
        };
        add_hit(&mut populations, metric, answered, &names, |item| Item { group: Some(group), weight, ..item })?;
    }
    let statistic = match form {
        Form::Worst => Statistic::WorstGroup,
        Form::Average | Form::Each => Statistic::Share,
        Form::Adjusted => Statistic::AdjustedMean,
    };
    Ok(populations.noted_samples(&statistic, |_, items| (form != Form::Each).then(|| sizes(items))))
}

/// The mean and the size of each group, in words.
pub(super) fn sizes(items: &[Item]) -> String {
    let mut groups: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for item in items {
        let (sum, count) = groups.entry(item.group.as_deref().unwrap_or_default()).or_default();
        *sum += item.value;
        *count += 1;
    }
    let text =
        |(group, (sum, count)): (&str, (f64, usize))| format!("{group}: {:.4} (n = {count})", sum / count as f64);
    format!("Groups: {}.", groups.into_iter().map(text).collect::<Vec<_>>().join("; "))
}
