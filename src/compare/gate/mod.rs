//! A gate: rules that a candidate must meet against a baseline before it may pass a pipeline.
//!
//! With g the change for the better (candidate − baseline, turned by the metric's direction) and m the margin, a check
//! **fails** where "g ≥ −m" is refuted: its one-sided p-value (Student's t on the delete-one-cluster error of the paired
//! difference), corrected over all regression checks, is below α. It **passes** where harm beyond the margin is ruled
//! out: the interval of level 1 − 2α lies above −m (with a margin of 0, where g is not below 0: no number of items can
//! show that nothing at all was lost). Else it is **undecided**, and the number of items is told that would decide it with
//! the stated power, were the difference what it seems. A metric that is not there, or undefined, is **missing**, which
//! fails too. Cost: a bootstrap a check.

mod judge;
mod junit;
mod rules;
mod summary;

pub use rules::{Better, Correction, JudgeBy, Rule, Rules};

use serde::{Deserialize, Serialize};

use crate::base::FileError;
use crate::record::RunRecord;
use crate::stats::{Estimate, benjamini_hochberg, holm};

/// Why a gate cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The rules cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A rule that means nothing.
    #[error("the gate's {rule}: {what}")]
    Rule {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        what: String,
    },
    /// Rules about a change, and nothing to have changed from.
    #[error("{0} rules have a margin, which needs a baseline: give its record before the candidate's")]
    NoBaseline(usize),
    /// No record.
    #[error("a gate needs the record of a candidate; none is given")]
    NoCandidate,
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Met.
    Passed,
    /// Neither met nor refuted.
    Undecided,
    /// Refuted.
    Failed,
    /// There is nothing to check: the metric is not there, or undefined.
    Missing,
}

impl Outcome {
    /// The word that tables print.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Undecided => "undecided",
            Self::Failed => "FAILED",
            Self::Missing => "MISSING",
        }
    }

    /// Whether it closes the gate.
    pub fn closes(self) -> bool {
        matches!(self, Self::Failed | Self::Missing)
    }
}

/// One rule on one metric, population and candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateCheck {
    /// The rule.
    pub rule: String,
    /// The candidate.
    pub candidate: String,
    /// The metric, or the pattern that none met.
    pub metric: String,
    /// The population, or the pattern.
    pub population: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in one sentence with the numbers.
    pub message: String,
    /// For margins: the change for the better, with the interval of level 1 − 2α.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Estimate>,
    /// The margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// One-sided p-value of "harm is within the margin".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The same after correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted_p: Option<f64>,
    /// Items that would decide an undecided check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_to_decide: Option<usize>,
}

/// A gate that was held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The baseline's name, where there is one.
    pub baseline: Option<String>,
    /// The checks, candidate by candidate, in the order of the rules.
    pub checks: Vec<GateCheck>,
    /// The level.
    pub alpha: f64,
    /// The power.
    pub power: f64,
    /// The correction.
    pub correction: Correction,
    /// How many regression checks were corrected together.
    pub family: usize,
    /// What was left out or restricted before, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Holds every candidate against the rules. With several records the first is the baseline; a single one is a candidate
/// without baseline.
///
/// # Errors
/// [`GateError`] where there is no record, or rules need a baseline that is not there.
pub fn gate(rules: &Rules, records: &[&RunRecord]) -> Result<Gate, GateError> {
    let (baseline, candidates) = match records {
        [] => return Err(GateError::NoCandidate),
        [_] => (None, records),
        [baseline, candidates @ ..] => (Some(*baseline), candidates),
    };
    let with_margin = rules.rules.iter().filter(|rule| rule.margin.is_some()).count();
    if baseline.is_none() && with_margin > 0 {
        return Err(GateError::NoBaseline(with_margin));
    }
    let mut checks = Vec::new();
    for candidate in candidates {
        checks.extend(judge::required(rules, candidate));
        for rule in &rules.rules {
            checks.extend(judge::measure(rule, rules, baseline, candidate));
        }
    }
    let p_values: Vec<f64> = checks.iter().filter_map(|check| check.p_value).collect();
    let mut adjusted = match rules.correction {
        Correction::Holm => holm(&p_values),
        Correction::Bh => benjamini_hochberg(&p_values),
        Correction::None => p_values.clone(),
    }
    .into_iter();
    for check in checks.iter_mut().filter(|check| check.margin.is_some()) {
        check.adjusted_p = check.p_value.and_then(|_| adjusted.next());
        judge::decide(check, rules);
    }
    Ok(Gate {
        baseline: baseline.map(|record| record.name.clone()),
        checks,
        alpha: rules.alpha,
        power: rules.power,
        correction: rules.correction,
        family: p_values.len(),
        notes: Vec::new(),
    })
}

impl Gate {
    /// How many checks came out so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }

    /// How many checks close the gate.
    pub fn closing(&self) -> usize {
        self.checks.iter().filter(|check| check.outcome.closes()).count()
    }

    /// The checks as JUnit XML: failed and missing ones are failures, undecided ones are skipped.
    pub fn junit(&self) -> String {
        junit::render(self)
    }

    /// The checks as Markdown, what closes the gate first.
    pub fn markdown(&self) -> String {
        summary::markdown(self)
    }

    /// The checks for a terminal.
    pub fn table(&self) -> String {
        summary::text(self)
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
