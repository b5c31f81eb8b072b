//! The same task in several environments: the worst, the average, and what is lost against the first.

use std::collections::BTreeSet;

use super::super::MetricUse;
use super::pairs::{Base, item};
use crate::harness::HarnessError;
use crate::harness::perturb::ENVIRONMENT;
use crate::harness::question::Answered;
use crate::stats::{Item, Statistic};
use crate::trust::metric::Sample;

type Samples = Result<Vec<Sample>, HarnessError>;

/// Items of the originals, their environments as groups, and the environments in the order in which they appear.
fn items(answered: &[Answered], used: &MetricUse) -> Result<(Vec<Item>, Vec<String>), HarnessError> {
    let base = Base::of(answered, used)?;
    let mut environments: Vec<String> = Vec::new();
    let mut items = Vec::new();
    for answer in answered.iter().filter(|answer| answer.question.variant.is_none()) {
        let Some(environment) = answer.question.column(ENVIRONMENT) else { continue };
        let Some(value) = base.value(answer) else { continue };
        if !environments.iter().any(|known| known == environment) {
            environments.push(environment.to_owned());
        }
        items.push(Item { group: Some(environment.to_owned()), ..item(answer, value) });
    }
    Ok((items, environments))
}

fn sample(population: &str, statistic: Statistic, items: Vec<Item>) -> Sample {
    let clusters: BTreeSet<&str> = items.iter().map(|item| item.cluster.as_str()).collect();
    let note = Some(format!("{} items in {} clusters.", items.len(), clusters.len()));
    Sample { population: population.into(), statistic, items, denominator: None, undefined: None, note }
}

pub fn worst(answered: &[Answered], used: &MetricUse) -> Samples {
    let (items, environments) = items(answered, used)?;
    Ok(if environments.len() > 1 { vec![sample("environments", Statistic::WorstGroup, items)] } else { vec![] })
}

pub fn average(answered: &[Answered], used: &MetricUse) -> Samples {
    let (items, environments) = items(answered, used)?;
    let of = |environment: &String| {
        let own = items.iter().filter(|item| item.group.as_ref() == Some(environment)).cloned().collect();
        sample(environment, Statistic::Mean, own)
    };
    let mut samples: Vec<Sample> = environments.iter().map(of).collect();
    if environments.len() > 1 {
        samples.push(sample("environments", Statistic::Mean, items));
    }
    Ok(samples)
}

pub fn drop(answered: &[Answered], used: &MetricUse) -> Samples {
    let (items, environments) = items(answered, used)?;
    let Some((first, others)) = environments.split_first() else { return Ok(vec![]) };
    let against = |other: &String| {
        let either = |item: &&Item| item.group.as_ref() == Some(first) || item.group.as_ref() == Some(other);
        let statistic = Statistic::GroupDifference { minuend: first.clone(), subtrahend: other.clone() };
        sample(&format!("{first} to {other}"), statistic, items.iter().filter(either).cloned().collect())
    };
    Ok(others.iter().map(against).collect())
}
