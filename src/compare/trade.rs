//! What each gain over the baseline cost in the other objectives.
//!
//! An objective is gained where the joint interval of its change lies on the better side of 0. Its cost is every objective
//! whose change is for the worse; whether that interval leaves 0 out is told with it. The price is the loss by the gain,
//! both taken in the same replicate, in units of the one a unit of the other.

use serde::{Deserialize, Serialize};

use super::draws::Draws;
use super::pareto::{ParetoObjective, oriented};
use super::settings::objective_name;
use super::words::{amount, signed};
use crate::stats::{Estimate, Objective};

/// A change of one objective, candidate − baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The objective.
    pub objective: Objective,
    /// The metric that stands for it.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Candidate − baseline, in that unit.
    pub change: Estimate,
}

/// An objective that got worse while another was gained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// What was lost.
    pub lost: Change,
    /// Whether its interval leaves 0 out.
    pub supported: bool,
    /// Units lost a unit gained, both counted positive.
    pub price: Estimate,
}

/// What one gain cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// The run.
    pub candidate: String,
    /// The objective that was gained.
    pub gained: Change,
    /// What was lost with it; empty where no other objective is worse.
    pub costs: Vec<Cost>,
}

impl Trade {
    /// The trade in one sentence.
    pub fn sentence(&self) -> String {
        let gained = told(&self.gained);
        let costs: Vec<String> = self.costs.iter().map(Cost::words).collect();
        match costs.is_empty() {
            true => format!("{gained}, no other objective worse"),
            false => format!("{gained} at {}", costs.join(" and ")),
        }
    }
}

impl Cost {
    fn words(&self) -> String {
        let doubt = if self.supported { "" } else { ", which may be 0" };
        format!("{}{doubt}", told(&self.lost))
    }
}

/// `fairness −0.12 nats [−0.2, −0.05]`.
fn told(change: &Change) -> String {
    let (value, unit) = (change.change.value.unwrap_or(f64::NAN), change.unit.as_str());
    let interval = change.change.interval.map_or_else(String::new, |interval| {
        format!(" [{}, {}]", signed(interval.low, unit), signed(interval.high, unit))
    });
    format!("{} {}{interval}", objective_name(change.objective), amount(value, unit))
}

/// Every gain of every run over the first.
pub(super) fn trades(names: &[String], objectives: &[ParetoObjective], draws: &Draws, level: f64) -> Vec<Trade> {
    let mut all = Vec::new();
    for (run, name) in names.iter().enumerate().skip(1) {
        let change = |objective: usize| {
            move |runs: &[Vec<f64>]| Some(runs.get(run)?.get(objective)? - runs.first()?.get(objective)?)
        };
        let changes: Vec<(f64, bool, Change)> = objectives
            .iter()
            .enumerate()
            .map(|(at, objective)| {
                let found = draws.estimate(level, at, &change(at));
                let gain = oriented(found.value.unwrap_or(0.0), objective.direction);
                let supported = found.excludes_zero();
                let (metric, unit) = (objective.metric.clone(), objective.unit.clone());
                (gain, supported, Change { objective: objective.objective, metric, unit, change: found })
            })
            .collect();
        for (at, (gain, supported, gained)) in changes.iter().enumerate() {
            if !(*supported && *gain > 0.0) {
                continue;
            }
            let lost = changes.iter().enumerate().filter(|(_, (gain, ..))| *gain < 0.0);
            let costs = lost.map(|(other, (_, supported, lost))| Cost {
                lost: lost.clone(),
                supported: *supported,
                price: draws.estimate(level, other, &|runs: &[Vec<f64>]| {
                    let (loss, gain) = (objectives.get(other)?, objectives.get(at)?);
                    let loss = -oriented(change(other)(runs)?, loss.direction);
                    Some(loss / oriented(change(at)(runs)?, gain.direction))
                }),
            });
            all.push(Trade { candidate: name.clone(), gained: gained.clone(), costs: costs.collect() });
        }
    }
    all
}
