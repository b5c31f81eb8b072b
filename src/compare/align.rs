//! Which scores of two records belong together.

use std::collections::BTreeMap;

use super::CompareError;
use crate::record::RunRecord;
use crate::stats::{MetricScore, Statistic};

/// A metric on a population, in both records.
pub(super) struct ScorePair<'a> {
    /// In the baseline.
    pub(super) baseline: &'a MetricScore,
    /// In the candidate.
    pub(super) candidate: &'a MetricScore,
    /// Both records' names, for messages.
    pub(super) names: [&'a str; 2],
}

/// What two records have in common.
pub(super) struct Matches<'a> {
    /// In the baseline's order.
    pub(super) pairs: Vec<ScorePair<'a>>,
    /// What only one of them has.
    pub(super) unmatched: Vec<String>,
}

/// Refuses records that scored different items under the same eval set's name.
pub(super) fn check_eval_sets(baseline: &RunRecord, candidate: &RunRecord) -> Result<(), CompareError> {
    for set in &baseline.eval_sets {
        let other = candidate.eval_sets.iter().find(|other| other.id == set.id && other.digest != set.digest);
        if let Some(other) = other {
            return Err(CompareError::EvalSet {
                set: set.id.clone(),
                first: baseline.name.clone(),
                first_digest: set.digest.clone(),
                second: candidate.name.clone(),
                second_digest: other.digest.clone(),
            });
        }
    }
    Ok(())
}

/// Pairs the scores of two records by metric and population.
pub(super) fn match_scores<'a>(baseline: &'a RunRecord, candidate: &'a RunRecord) -> Result<Matches<'a>, CompareError> {
    index(baseline)?;
    let mut others = index(candidate)?;
    let (mut pairs, mut unmatched) = (Vec::new(), Vec::new());
    for score in &baseline.scores {
        match others.remove(&(score.metric.as_str(), score.population.as_str())) {
            None => unmatched.push(only_in(score, &baseline.name)),
            Some(other) => {
                same_definition(score, other, [&baseline.name, &candidate.name])?;
                pairs.push(ScorePair { baseline: score, candidate: other, names: [&baseline.name, &candidate.name] });
            }
        }
    }
    unmatched.extend(others.into_values().map(|score| only_in(score, &candidate.name)));
    if pairs.is_empty() {
        return Err(CompareError::NothingInCommon { first: baseline.name.clone(), second: candidate.name.clone() });
    }
    Ok(Matches { pairs, unmatched })
}

fn only_in(score: &MetricScore, record: &str) -> String {
    format!("{} of {} (only in {record})", score.metric, score.population)
}

fn index(record: &RunRecord) -> Result<BTreeMap<(&str, &str), &MetricScore>, CompareError> {
    let mut index = BTreeMap::new();
    for score in &record.scores {
        if index.insert((score.metric.as_str(), score.population.as_str()), score).is_some() {
            return Err(CompareError::Twice {
                record: record.name.clone(),
                metric: score.metric.clone(),
                population: score.population.clone(),
            });
        }
    }
    Ok(index)
}

/// A share is a mean of values that happen to be 0 or 1, and a value without items has no statistic to differ in.
fn same_statistic(first: &MetricScore, second: &MetricScore) -> bool {
    let mean = |statistic: &Statistic| matches!(statistic, Statistic::Mean | Statistic::Share);
    let both = [&first.statistic, &second.statistic];
    first.statistic == second.statistic
        || both.into_iter().all(mean)
        || first.items.is_empty()
        || second.items.is_empty()
}

fn same_definition(first: &MetricScore, second: &MetricScore, [one, other]: [&str; 2]) -> Result<(), CompareError> {
    let what = if first.version != second.version {
        format!("version {} and version {}", first.version, second.version)
    } else if first.unit != second.unit {
        format!("unit `{}` and unit `{}`", first.unit, second.unit)
    } else if first.direction != second.direction {
        format!("direction {:?} and direction {:?}", first.direction, second.direction)
    } else if !same_statistic(first, second) {
        format!("statistic {:?} and statistic {:?}", first.statistic, second.statistic)
    } else {
        return Ok(());
    };
    Err(CompareError::Definition {
        metric: first.metric.clone(),
        population: first.population.clone(),
        first: one.to_owned(),
        second: other.to_owned(),
        what,
    })
}
