//! What a comparison is asked to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Seed;
use crate::stats::{Bootstrap, Direction, MetricScore, Objective};

/// Equivalence margins, in the metric's unit. Fixed before the results are seen, or they claim nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Margins(BTreeMap<String, f64>);

impl Margins {
    /// Sets the margin of a metric on one population (`accuracy.exact of hiring/shifted`), of a metric with its
    /// variant, of a metric in all variants (`fairness.counterfactual_gap`), or of an objective (`accuracy`). The most
    /// specific one counts. A margin that is not positive and finite is ignored: it could support no claim.
    pub fn set(&mut self, name: impl Into<String>, margin: f64) -> &mut Self {
        if margin > 0.0 && margin.is_finite() {
            self.0.insert(name.into(), margin);
        }
        self
    }

    /// The margin of a score.
    pub fn of(&self, score: &MetricScore) -> Option<f64> {
        let plain = score.metric.split('@').next().unwrap_or(&score.metric);
        let names = [
            format!("{} of {}", score.metric, score.population),
            format!("{plain} of {}", score.population),
            score.metric.clone(),
            plain.to_owned(),
            objective_name(score.objective).to_owned(),
        ];
        names.iter().find_map(|name| self.0.get(name)).copied()
    }
}

impl FromIterator<(String, f64)> for Margins {
    fn from_iter<I: IntoIterator<Item = (String, f64)>>(margins: I) -> Self {
        let mut out = Self::default();
        for (name, margin) in margins {
            out.set(name, margin);
        }
        out
    }
}

/// How to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareSettings {
    /// The chance of any false claim among the headline metrics, and the level of each equivalence test.
    pub alpha: f64,
    /// The power at which minimum detectable effects are stated.
    pub power: f64,
    /// The margins.
    pub margins: Margins,
    /// The metrics (with or without variant) whose tests form the Holm family; `None` for every metric that has a
    /// better side. The others are exploratory: corrected by Benjamini and Hochberg among themselves.
    pub headline: Option<Vec<String>>,
    /// The metric (with or without variant) that stands for an objective in the Pareto table; where none is named the
    /// usual one of those that all runs have.
    pub pareto: BTreeMap<Objective, String>,
    /// Replicates, level and seed of the differences' intervals.
    pub bootstrap: Bootstrap,
}

impl CompareSettings {
    /// α = 0.05, 80 % power, no margins, every directed metric a headline, 2000 replicates at 95 %.
    pub fn new(seed: Seed) -> Self {
        Self {
            alpha: 0.05,
            power: 0.8,
            margins: Margins::default(),
            headline: None,
            pareto: BTreeMap::new(),
            bootstrap: Bootstrap { replicates: 2000, level: 0.95, seed: seed.fork("compare") },
        }
    }

    pub(super) fn is_headline(&self, score: &MetricScore) -> bool {
        match &self.headline {
            None => score.direction != Direction::Descriptive,
            Some(names) => {
                let plain = score.metric.split('@').next();
                names.iter().any(|name| *name == score.metric || Some(name.as_str()) == plain)
            }
        }
    }

    /// Random sign patterns a test: enough that the smallest p-value, corrected for `tests` tests, is a tenth of α.
    pub(super) fn permutations(&self, tests: usize) -> usize {
        let needed = (10.0 * tests as f64 / self.alpha).ceil().min(1e6) as usize;
        needed.max(self.bootstrap.replicates)
    }
}

/// The objective's name as recipes and records write it.
pub(super) fn objective_name(objective: Objective) -> &'static str {
    match objective {
        Objective::Accuracy => "accuracy",
        Objective::Fairness => "fairness",
        Objective::Robustness => "robustness",
        Objective::Explainability => "explainability",
        Objective::Privacy => "privacy",
        Objective::Calibration => "calibration",
        Objective::Sensitivity => "sensitivity",
    }
}
