//! The worst case of each instance, and paired drops.

use super::super::MetricUse;
use super::pairs::{Base, Family, Population, populations};
use crate::harness::HarnessError;
use crate::harness::question::Answered;
use crate::stats::{Direction, Item, Statistic};
use crate::trust::metric::Sample;

type Samples = Result<Vec<Sample>, HarnessError>;

/// Which variants count.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    All,
    Changed,
}

/// Which of several values is taken.
#[derive(Clone, Copy, PartialEq)]
enum Worst {
    Smallest,
    Largest,
}

pub fn before(answered: &[Answered], used: &MetricUse) -> Samples {
    collect(answered, used, |family, base| base.value(family.original))
}

pub fn worst_case(answered: &[Answered], used: &MetricUse) -> Samples {
    worst(answered, used, Counted::All, |direction| match direction {
        Direction::Lower => Err("lower is better of its base metric; take perturbation.worst_case@lower"),
        _ => Ok(Worst::Smallest),
    })
}

pub fn worst_case_lower(answered: &[Answered], used: &MetricUse) -> Samples {
    worst(answered, used, Counted::All, |direction| match direction {
        Direction::Lower => Ok(Worst::Largest),
        _ => Err("lower is not better of its base metric; take perturbation.worst_case"),
    })
}

pub fn worst_case_changed(answered: &[Answered], used: &MetricUse) -> Samples {
    worst(answered, used, Counted::Changed, |direction| match direction {
        Direction::Lower => Ok(Worst::Largest),
        _ => Ok(Worst::Smallest),
    })
}

pub fn worst_case_helm(answered: &[Answered], used: &MetricUse) -> Samples {
    worst(answered, used, Counted::All, |_| Ok(Worst::Smallest))
}

fn worst(
    answered: &[Answered],
    used: &MetricUse,
    counted: Counted,
    choose: impl Fn(Direction) -> Result<Worst, &'static str>,
) -> Samples {
    let base = Base::of(answered, used)?;
    let taken = choose(base.direction).map_err(|message| HarnessError::Metric {
        metric: used.id.clone(),
        question: base.name.clone(),
        message: message.into(),
    })?;
    over(answered, used, &base, |family, base| {
        let own = base.value(family.original)?;
        let variants = values(family, base, counted);
        let worst = |a: f64, b: f64| if taken == Worst::Smallest { a.min(b) } else { a.max(b) };
        match variants.is_empty() && counted == Counted::Changed {
            true => None,
            false => Some(variants.into_iter().fold(own, worst)),
        }
    })
}

pub fn drop_changed(answered: &[Answered], used: &MetricUse) -> Samples {
    collect(answered, used, |family, base| difference(family, base, Counted::Changed))
}

pub fn drop_all(answered: &[Answered], used: &MetricUse) -> Samples {
    collect(answered, used, |family, base| difference(family, base, Counted::All))
}

/// Mean over variants of perturbed less original.
fn difference(family: &Family<'_>, base: &Base, counted: Counted) -> Option<f64> {
    let own = base.value(family.original)?;
    let variants = values(family, base, counted);
    let mean = variants.iter().sum::<f64>() / variants.len() as f64;
    (!variants.is_empty()).then_some(mean - own)
}

fn values(family: &Family<'_>, base: &Base, counted: Counted) -> Vec<f64> {
    let counts = |changed: bool| counted == Counted::All || changed;
    let variants = family.variants.iter().filter(|pair| counts(pair.made.changed));
    variants.filter_map(|pair| base.value(pair.variant)).collect()
}

fn collect(answered: &[Answered], used: &MetricUse, value: impl Fn(&Family<'_>, &Base) -> Option<f64>) -> Samples {
    over(answered, used, &Base::of(answered, used)?, value)
}

fn over(
    answered: &[Answered],
    used: &MetricUse,
    base: &Base,
    value: impl Fn(&Family<'_>, &Base) -> Option<f64>,
) -> Samples {
    let sample = |population: Population<'_>| {
        let measured = |family: &Family<'_>| value(family, base).map(|value| family.item(value));
        let items: Vec<Item> = population.families.iter().filter_map(measured).collect();
        population.sample(Statistic::Mean, items, Some(format!("Base metric: {}.", base.name)))
    };
    Ok(populations(&used.id, answered)?.into_iter().map(sample).collect())
}
