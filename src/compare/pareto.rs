//! The five objectives at once: who is better in all of them, with what certainty, and what each gain cost.
//!
//! Of each objective one metric stands for it, averaged over the populations that all runs have (paraphrased and
//! word-swapped ones left out). All metrics of all runs are resampled together: in a replicate, metrics of one eval set
//! see the same clusters, in every run. A run dominates another in a replicate where no objective is worse and one is
//! better; the share of replicates is how sure that is. Cost: replicates × runs × objectives × clusters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::draws::draw;
use super::pareto_table;
use super::settings::{CompareSettings, objective_name};
use super::trade::{Trade, trades};
use crate::record::RunRecord;
use crate::stats::{Direction, Estimate, MetricScore, Objective};

/// The objectives, in the order of tables.
const OBJECTIVES: [Objective; 5] =
    [Objective::Accuracy, Objective::Fairness, Objective::Robustness, Objective::Explainability, Objective::Privacy];

/// The metrics that stand for an objective where nobody says otherwise: the first of them that all runs have, else the
/// first with a better side.
const STANDING: [&str; 6] = [
    "accuracy.exact",
    "acc@lm-eval",
    "fairness.counterfactual_gap@log_odds",
    "robustness.counterfactual_gap@log_odds",
    "explainability.pathway_share",
    "privacy.membership_auc",
];

/// An objective and the metric that stands for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParetoObjective {
    /// The objective.
    pub objective: Objective,
    /// The metric with its variant.
    pub metric: String,
    /// The populations that it is averaged over.
    pub populations: Vec<String>,
    /// The unit.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
}

/// One run's values, in the order of the objectives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParetoRun {
    /// The run.
    pub name: String,
    /// By objective, with percentile intervals of the joint bootstrap.
    pub values: Vec<Estimate>,
    /// Whether no run dominates it on the values themselves.
    pub on_front: bool,
    /// The share of replicates in which no run dominates it.
    pub front_share: f64,
}

/// How sure it is that one run is at least as good in all objectives and better in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dominance {
    /// The better run.
    pub by: String,
    /// The other.
    pub over: String,
    /// Whether it holds on the values themselves.
    pub observed: bool,
    /// The share of replicates in which it holds.
    pub share: f64,
}

/// Runs against each other on all objectives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pareto {
    /// The objectives, two or more.
    pub objectives: Vec<ParetoObjective>,
    /// The runs, the baseline first.
    pub runs: Vec<ParetoRun>,
    /// Every ordered pair of runs.
    pub dominance: Vec<Dominance>,
    /// What each gain over the baseline cost.
    pub trades: Vec<Trade>,
    /// Objectives without a metric that all runs have.
    pub missing: Vec<Objective>,
    /// Replicates in which all values are defined.
    pub replicates: usize,
    /// Coverage of the intervals.
    pub level: f64,
}

/// The table; `None` where fewer than two objectives have a metric that all runs share item by item.
pub(super) fn pareto(records: &[&RunRecord], names: &[String], settings: &CompareSettings) -> Option<Pareto> {
    let (mut objectives, mut missing) = (Vec::new(), Vec::new());
    for objective in OBJECTIVES {
        match standing(records, objective, settings) {
            Some(found) => objectives.push(found),
            None => missing.push(objective),
        }
    }
    if objectives.len() < 2 {
        return None;
    }
    let draws = draw(records, &objectives, settings)?;
    let better = |one: &[f64], two: &[f64]| dominates(one, two, &objectives);
    let count = |hit: &dyn Fn(&[Vec<f64>]) -> bool| {
        draws.replicates.iter().filter(|replicate| hit(replicate)).count() as f64 / draws.replicates.len() as f64
    };
    let pair = |by: usize, over: usize| {
        move |runs: &[Vec<f64>]| runs.get(by).zip(runs.get(over)).is_some_and(|(one, two)| better(one, two))
    };
    let level = settings.bootstrap.level;
    let value = |run: usize, objective: usize| {
        draws.estimate(level, objective, &|runs: &[Vec<f64>]| runs.get(run)?.get(objective).copied())
    };
    let runs = names.iter().enumerate().map(|(at, name)| {
        let beaten = |runs: &[Vec<f64>]| (0..names.len()).any(|other| other != at && pair(other, at)(runs));
        ParetoRun {
            name: name.clone(),
            values: (0..objectives.len()).map(|objective| value(at, objective)).collect(),
            on_front: !beaten(&draws.values),
            front_share: count(&|runs| !beaten(runs)),
        }
    });
    let runs: Vec<ParetoRun> = runs.collect();
    let ordered = (0..names.len()).flat_map(|by| (0..names.len()).map(move |over| (by, over)));
    let dominance = ordered.filter(|(by, over)| by != over).filter_map(|(by, over)| {
        Some(Dominance {
            by: names.get(by)?.clone(),
            over: names.get(over)?.clone(),
            observed: pair(by, over)(&draws.values),
            share: count(&|runs| pair(by, over)(runs)),
        })
    });
    let dominance = dominance.collect();
    let trades = trades(names, &objectives, &draws, level);
    let replicates = draws.replicates.len();
    Some(Pareto { objectives, runs, dominance, trades, missing, replicates, level })
}

/// No objective worse, one better; differences by rounding count as none.
fn dominates(one: &[f64], two: &[f64], objectives: &[ParetoObjective]) -> bool {
    let mut better = false;
    for ((a, b), objective) in one.iter().zip(two).zip(objectives) {
        let gain = oriented(a - b, objective.direction);
        let rounding = 1e-12 * a.abs().max(b.abs());
        if gain < -rounding {
            return false;
        }
        better |= gain > rounding;
    }
    better
}

/// A change, positive where it is for the better.
pub(super) fn oriented(change: f64, direction: Direction) -> f64 {
    if direction == Direction::Lower { -change } else { change }
}

/// The metric that stands for an objective, with the populations that all runs have item by item.
fn standing(records: &[&RunRecord], objective: Objective, settings: &CompareSettings) -> Option<ParetoObjective> {
    let (baseline, others) = records.split_first()?;
    let usable = |score: &MetricScore| !score.items.is_empty() && score.estimate.value.is_some();
    let shared = |score: &&MetricScore| {
        let by_others = others.iter().all(|other| other.score(&score.metric, &score.population).is_some_and(usable));
        usable(score) && by_others && score.direction != Direction::Descriptive
    };
    let asked = settings.pareto.get(&objective);
    let wanted = |score: &MetricScore| match asked {
        Some(name) => *name == score.metric || Some(name.as_str()) == score.metric.split('@').next(),
        None => score.objective == objective,
    };
    let scores: Vec<&MetricScore> = baseline.scores.iter().filter(shared).filter(|score| wanted(score)).collect();
    let known = STANDING.iter().find_map(|name| scores.iter().find(|score| score.metric == **name));
    let first = known.or(scores.first())?;
    let of_metric =
        || scores.iter().filter(|score| score.metric == first.metric).map(|score| score.population.as_str());
    let plain: Vec<String> = of_metric().filter(|name| name.matches('/').count() < 2).map(str::to_owned).collect();
    let populations = if plain.is_empty() { of_metric().map(str::to_owned).collect() } else { plain };
    Some(ParetoObjective {
        objective,
        metric: first.metric.clone(),
        populations,
        unit: first.unit.clone(),
        direction: first.direction,
    })
}

impl Pareto {
    /// The share of replicates in which one run dominates another.
    pub fn dominance_of(&self, by: &str, over: &str) -> Option<f64> {
        self.dominance.iter().find(|pair| pair.by == by && pair.over == over).map(|pair| pair.share)
    }

    /// What stands for each objective, a sentence each.
    pub fn definitions(&self) -> Vec<String> {
        pareto_table::definitions(self)
    }

    /// Who dominates whom, with the share of replicates, a sentence each.
    pub fn dominance_in_words(&self) -> Vec<String> {
        pareto_table::dominance(self)
    }

    /// What each gain over the baseline cost, a sentence each.
    pub fn trades_in_words(&self) -> Vec<String> {
        pareto_table::trades(self)
    }

    /// The objectives that have no metric, by name.
    pub fn missing_names(&self) -> Vec<&'static str> {
        self.missing.iter().map(|objective| objective_name(*objective)).collect()
    }
}

/// The objectives by the name that recipes and commands write.
pub fn objective_by_name(name: &str) -> Option<Objective> {
    let all = OBJECTIVES.into_iter().chain([Objective::Calibration, Objective::Sensitivity]);
    let named: BTreeMap<&str, Objective> = all.map(|objective| (objective_name(objective), objective)).collect();
    named.get(name).copied()
}

#[cfg(test)]
#[path = "pareto_tests.rs"]
mod tests;
