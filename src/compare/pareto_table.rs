//! The Pareto table in words: values, dominance and trades as cells, for the terminal and for Markdown.

use super::pareto::{Pareto, ParetoObjective};
use super::settings::objective_name;
use super::words::number;
use crate::stats::{Direction, Estimate};

/// The headings: the run, an objective a column, the front.
pub(super) fn headings(pareto: &Pareto) -> Vec<String> {
    let first = std::iter::once("run".to_owned());
    let objectives = pareto.objectives.iter().map(|objective| {
        let arrow = if objective.direction == Direction::Lower { "↓" } else { "↑" };
        format!("{} {arrow}", objective_name(objective.objective))
    });
    first.chain(objectives).chain(["on the front".to_owned()]).collect()
}

/// A row a run.
pub(super) fn rows(pareto: &Pareto) -> Vec<Vec<String>> {
    let row = |run: &super::ParetoRun| {
        let values = run.values.iter().map(value);
        let front = format!("{} ({})", if run.on_front { "yes" } else { "no" }, share(run.front_share));
        std::iter::once(run.name.clone()).chain(values).chain([front]).collect()
    };
    pareto.runs.iter().map(row).collect()
}

fn value(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "undefined".into() };
    match estimate.interval {
        Some(interval) => format!("{} [{}, {}]", number(value), number(interval.low), number(interval.high)),
        None => number(value),
    }
}

fn share(share: f64) -> String {
    format!("{share:.2}")
}

/// What stands for each objective, one line each.
pub(super) fn definitions(pareto: &Pareto) -> Vec<String> {
    let line = |of: &ParetoObjective| {
        let better = if of.direction == Direction::Lower { "lower" } else { "higher" };
        let over = of.populations.join(", ");
        format!("{}: {} ({}, {better} is better), mean over {over}", objective_name(of.objective), of.metric, of.unit)
    };
    let mut lines: Vec<String> = pareto.objectives.iter().map(line).collect();
    if !pareto.missing.is_empty() {
        lines.push(format!("without a metric that all runs have item by item: {}", pareto.missing_names().join(", ")));
    }
    lines
}

/// Who dominates whom: pairs that hold on the values or in one replicate of a hundred.
pub(super) fn dominance(pareto: &Pareto) -> Vec<String> {
    let told = pareto.dominance.iter().filter(|pair| pair.observed || pair.share >= 0.01);
    let lines: Vec<String> = told
        .map(|pair| {
            let doubt = if pair.observed { "" } else { ", not on the values themselves" };
            format!("{} dominates {} in {} of the replicates{doubt}", pair.by, pair.over, share(pair.share))
        })
        .collect();
    match lines.is_empty() {
        true => vec!["no run dominates another in one replicate of a hundred".to_owned()],
        false => lines,
    }
}

/// What each gain cost, one line each.
pub(super) fn trades(pareto: &Pareto) -> Vec<String> {
    let lines: Vec<String> =
        pareto.trades.iter().map(|trade| format!("{}: {}", trade.candidate, trade.sentence())).collect();
    match lines.is_empty() {
        true => vec!["no objective is gained: no joint interval lies on the better side of 0".to_owned()],
        false => lines,
    }
}
