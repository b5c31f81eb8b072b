//! The rules of a gate, as their TOML file has them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::GateError;
use crate::base::files;
use crate::stats::{Direction, MetricScore, Objective};

/// How p-values of several regression checks are corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Holm: the chance of any false alarm is at most α.
    #[default]
    Holm,
    /// Benjamini–Hochberg: of the alarms, at most the share α is expected to be false.
    Bh,
    /// None: each check has its own α.
    None,
}

/// What an absolute threshold is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeBy {
    /// The value: on the wrong side of the threshold it fails.
    #[default]
    Value,
    /// The interval of level 1 − 2α: it fails where the whole interval is on the wrong side, and is undecided where it
    /// covers the threshold.
    Interval,
}

/// Which way is better, where a rule says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Larger.
    Higher,
    /// Smaller.
    Lower,
}

/// One rule: what it is about, and what it asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What reports call it; made of the pattern where it is not given.
    pub name: Option<String>,
    /// Metrics by name, with or without variant; `*` stands for any text, `?` for any letter.
    pub metric: Option<String>,
    /// Metrics by objective.
    pub objective: Option<Objective>,
    /// Populations by name, with `*` and `?`; all where it is not given.
    pub population: Option<String>,
    /// The largest harm that is tolerated, in the metric's unit; 0 tolerates none.
    pub margin: Option<f64>,
    /// Which way is better; the metric's own where it is not given.
    pub direction: Option<Better>,
    /// The candidate's value is at least this.
    pub at_least: Option<f64>,
    /// The candidate's value is at most this.
    pub at_most: Option<f64>,
    /// At least this share of the candidate's items has the value 1; for metrics of 0/1 values.
    pub min_pass_rate: Option<f64>,
    /// What thresholds are held against.
    #[serde(default)]
    pub judge_by: JudgeBy,
    /// Whether a metric that is not there is a failure; it is unless this is false.
    #[serde(default = "yes")]
    pub required: bool,
}

/// All rules of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The level of every test, after correction over all regression checks.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// The power that the numbers of items to decide are stated at.
    #[serde(default = "power")]
    pub power: f64,
    /// The correction.
    #[serde(default)]
    pub correction: Correction,
    /// Bootstrap replicates an interval.
    #[serde(default = "replicates")]
    pub replicates: usize,
    /// Root of all randomness.
    #[serde(default)]
    pub seed: u64,
    /// Metrics that every candidate must have, by name, with `*` and `?`.
    #[serde(default)]
    pub require: Vec<String>,
    /// The rules.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

fn yes() -> bool {
    true
}

fn alpha() -> f64 {
    0.05
}

fn power() -> f64 {
    0.8
}

fn replicates() -> usize {
    2000
}

impl Rules {
    /// Reads the rules.
    ///
    /// # Errors
    /// [`GateError`] for what is no TOML of this kind, and for rules that ask for nothing or for the impossible.
    pub fn load(path: &Path) -> Result<Self, GateError> {
        let rules: Self = files::read_toml(path)?;
        rules.check()?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), GateError> {
        let wrong = |rule: &str, what: &str| GateError::Rule { rule: rule.to_owned(), what: what.to_owned() };
        if !(self.alpha > 0.0 && self.alpha < 0.5) {
            return Err(wrong("alpha", "must lie between 0 and 0.5"));
        }
        if !(self.power > 0.0 && self.power < 1.0) {
            return Err(wrong("power", "must lie between 0 and 1"));
        }
        if self.replicates < 100 {
            return Err(wrong("replicates", "must be at least 100"));
        }
        if self.rules.is_empty() && self.require.is_empty() {
            return Err(wrong("rule", "there is none: a gate without rules lets everything pass"));
        }
        self.rules.iter().enumerate().try_for_each(|(index, rule)| {
            rule.check().map_err(|what| wrong(&format!("{} (number {})", rule.title(), index + 1), what))
        })
    }
}

impl Rule {
    fn check(&self) -> Result<(), &'static str> {
        let thresholds = [self.at_least, self.at_most, self.min_pass_rate];
        if self.metric.is_none() && self.objective.is_none() {
            return Err("names neither `metric` nor `objective`");
        }
        if self.margin.is_none() && thresholds.iter().all(Option::is_none) {
            return Err("asks for nothing: give `margin`, `at_least`, `at_most` or `min_pass_rate`");
        }
        if self.margin.is_some_and(|margin| !(margin >= 0.0 && margin.is_finite())) {
            return Err("`margin` must be a finite number, 0 or above");
        }
        if thresholds.iter().flatten().any(|threshold| !threshold.is_finite()) {
            return Err("thresholds must be finite numbers");
        }
        if self.min_pass_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err("`min_pass_rate` must lie between 0 and 1");
        }
        Ok(())
    }

    /// What reports call it.
    pub fn title(&self) -> String {
        let objective = self.objective.map(|objective| super::super::settings::objective_name(objective).to_owned());
        let what = || self.metric.clone().or(objective).unwrap_or_default();
        let population = self.population.as_ref().map_or_else(String::new, |population| format!(" of {population}"));
        self.name.clone().unwrap_or_else(|| format!("{}{population}", what()))
    }

    /// Whether the rule speaks of a score.
    pub fn speaks_of(&self, score: &MetricScore) -> bool {
        let by_metric = self.metric.as_ref().is_none_or(|pattern| names(pattern, &score.metric));
        let by_objective = self.objective.is_none_or(|objective| objective == score.objective);
        let by_population = self.population.as_ref().is_none_or(|pattern| matches(pattern, &score.population));
        // An objective without a metric's name means the metrics that can be harmed.
        let has_side = score.direction != Direction::Descriptive || self.direction.is_some() || self.metric.is_some();
        by_metric && by_objective && by_population && has_side
    }

    /// Which way is better, by the rule or the metric.
    pub(super) fn better(&self, score: &MetricScore) -> Option<Better> {
        self.direction.or(match score.direction {
            Direction::Higher => Some(Better::Higher),
            Direction::Lower => Some(Better::Lower),
            Direction::Descriptive => None,
        })
    }
}

/// Whether a pattern names a metric, with its variant or without.
pub(super) fn names(pattern: &str, metric: &str) -> bool {
    matches(pattern, metric) || metric.split('@').next().is_some_and(|plain| matches(pattern, plain))
}

/// Whether `text` is what the pattern says: `*` any text, `?` any letter.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| text.get(at..).is_some_and(|tail| matches(rest.as_str(), tail)))
        }
        Some(wanted) => {
            let mut letters = text.chars();
            letters
                .next()
                .is_some_and(|found| (wanted == '?' || wanted == found) && matches(rest.as_str(), letters.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_metrics_with_and_without_variant() {
        assert!(names("acc", "acc@lm-eval") && names("acc*", "acc_norm@lm-eval") && names("*.exact", "accuracy.exact"));
        assert!(!names("acc", "acc_norm@lm-eval") && !names("a?c", "abbc") && names("a?c", "abc") && names("*", ""));
    }
}
