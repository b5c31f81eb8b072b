//! From evidence to scores: every metric's items, and the value and interval that they give.

use std::collections::BTreeSet;

use super::error::TrustError;
use super::metric::{Evidence, METRICS, Metric, Sample};
use crate::stats::{Bootstrap, Direction, Estimate, Item, MetricScore, Objective, Statistic, estimate};

/// Computes every metric that the evidence holds something for, in the order of [`METRICS`] and of populations.
///
/// Deterministic: the draws of each metric's bootstrap hang on its name and population.
///
/// # Errors
/// Duplicate ids, missing labels, unscored prompts, and values that are not finite, each with the item's name.
pub fn measure(evidence: &Evidence<'_>, bootstrap: &Bootstrap) -> Result<Vec<MetricScore>, TrustError> {
    check_ids("item", evidence.items.iter().map(|item| item.id.as_str()))?;
    check_ids("pair", evidence.pairs.iter().map(|pair| pair.id.as_str()))?;
    check_ids("text", evidence.texts.iter().map(|text| text.id.as_str()))?;
    check_ids("canary", evidence.canaries.iter().map(|canary| canary.text.id.as_str()))?;
    let mut scores = Vec::new();
    for metric in METRICS {
        for sample in (metric.collect)(evidence)? {
            scores.push(score(metric, sample, bootstrap)?);
        }
    }
    Ok(scores)
}

pub(super) fn check_ids<'a>(what: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), TrustError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(TrustError::DuplicateId { what: what.into(), id: id.into() });
        }
    }
    Ok(())
}

/// How a score is called and read, whichever room its metric stands in.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// The metric's name with its variant.
    pub id: &'a str,
    /// The version of its definition.
    pub version: u32,
    /// The objective that it speaks of.
    pub objective: Objective,
    /// The unit of its value.
    pub unit: &'a str,
    /// Which way is better.
    pub direction: Direction,
    /// The definition in one sentence.
    pub definition: &'a str,
}

fn score(metric: &Metric, sample: Sample, bootstrap: &Bootstrap) -> Result<MetricScore, TrustError> {
    let described = Described {
        id: metric.id,
        version: metric.version,
        objective: metric.objective,
        unit: metric.unit,
        direction: metric.direction,
        definition: metric.definition,
    };
    score_sample(&described, sample, bootstrap)
}

/// A sample's value with its interval. The draws hang on the metric's name and the population.
///
/// # Errors
/// An item's value or weight is not finite.
pub fn score_sample(metric: &Described<'_>, sample: Sample, bootstrap: &Bootstrap) -> Result<MetricScore, TrustError> {
    for item in &sample.items {
        if let Some(value) = [Some(item.value), item.weight].into_iter().flatten().find(|value| !value.is_finite()) {
            let item = format!("{} on {}, item {}", metric.id, sample.population, item.id);
            return Err(TrustError::NotFinite { item, what: "the item".into(), value });
        }
    }
    let seed = bootstrap.seed.fork(metric.id).fork(&sample.population);
    let bootstrap = Bootstrap { seed, ..*bootstrap };
    let reason = sample.undefined.or_else(|| sample.denominator.and_then(|totals| no_effect(&totals, &bootstrap)));
    let estimate = match reason {
        Some(reason) => Estimate::undefined(reason, sample.items.len(), clusters(&sample.items)),
        None => estimate(&sample.items, &sample.statistic, &bootstrap),
    };
    let note = match sample.note {
        Some(note) => format!("{} {note}", metric.definition),
        None => metric.definition.into(),
    };
    Ok(MetricScore {
        metric: metric.id.into(),
        version: metric.version,
        population: sample.population,
        objective: metric.objective,
        unit: metric.unit.into(),
        direction: metric.direction,
        statistic: sample.statistic,
        estimate,
        items: sample.items,
        note,
    })
}

/// Why there is no total effect to have a share of.
fn no_effect(totals: &[Item], bootstrap: &Bootstrap) -> Option<String> {
    let bootstrap = Bootstrap { seed: bootstrap.seed.fork("total effect"), ..*bootstrap };
    let total = estimate(totals, &Statistic::Mean, &bootstrap);
    match (total.value, total.interval) {
        _ if total.excludes_zero() => None,
        (Some(value), Some(interval)) => Some(format!(
            "the mean total effect, {value:.3} nats [{:.3}, {:.3}], cannot be told from 0: there is nothing to have a share of",
            interval.low, interval.high
        )),
        _ => Some(format!(
            "the total effect has no interval ({}): whether there is an effect to have a share of is unknown",
            total.undefined.unwrap_or_else(|| "no reason given".into())
        )),
    }
}

fn clusters(items: &[Item]) -> usize {
    items.iter().map(|item| item.cluster.as_str()).collect::<BTreeSet<_>>().len()
}
