//! Several training seeds: the seed is a source of variance of its own, above the items.
//!
//! Every seed's model answers the same items, so seeds and clusters are crossed. Each replicate draws seeds with
//! replacement and, independently, clusters with replacement, the same clusters for every seed drawn (the pigeonhole
//! bootstrap; Owen 2007, which shows that it errs on the wide side). The value is the mean over seeds.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::bootstrap::Bootstrap;
use super::draws::StreamKey;
use super::form::Form;
use super::interval::percentile;
use super::paired::{Paired, PairingError};
use super::result::{Estimate, Interval, Item, Statistic};
use super::statistic::Undefined;

/// Below this number of seeds the method's text warns.
const FEW_SEEDS: usize = 5;

/// The mean of `statistic` over training seeds, one list of items a seed, with the two-level interval over seeds and
/// clusters (percentile). One seed has a value but no interval: how much seeds differ cannot be seen.
pub fn two_level(seeds: &[&[Item]], statistic: &Statistic, bootstrap: &Bootstrap) -> Estimate {
    let runs: Vec<Vec<(f64, &[Item])>> = seeds.iter().map(|&items| vec![(1.0, items)]).collect();
    resample(&runs, statistic, bootstrap)
}

/// The mean over seeds of the difference first less second, the runs of one seed given at the same place of both
/// lists; seeds without a partner are refused as a missing item would be.
pub fn two_level_difference(
    first: &[&[Item]],
    second: &[&[Item]],
    statistic: &Statistic,
    bootstrap: &Bootstrap,
) -> Result<Estimate, PairingError> {
    if first.len() != second.len() {
        return Err(PairingError::Seeds { first: first.len(), second: second.len() });
    }
    let mut runs = Vec::with_capacity(first.len());
    for (&a, &b) in first.iter().zip(second) {
        Paired::new(a, b, statistic)?;
        runs.push(vec![(1.0, a), (-1.0, b)]);
    }
    Ok(resample(&runs, statistic, bootstrap))
}

/// One seed: the signed terms of its value.
type Run<'a> = Vec<(f64, &'a [Item])>;

fn resample(runs: &[Run<'_>], statistic: &Statistic, bootstrap: &Bootstrap) -> Estimate {
    let items = || runs.iter().flatten().flat_map(|(_, items)| items.iter());
    let names: BTreeSet<&str> = items().map(|item| item.cluster.as_str()).collect();
    let clusters: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
    let n = runs.iter().filter_map(|run| run.first()).map(|(_, items)| items.len()).sum();
    let undefined = |reason: String| Estimate::undefined(reason, n, clusters.len());
    let seeds = match compile(runs, statistic, &clusters) {
        Ok(seeds) => seeds,
        Err(reason) => return undefined(reason.to_string()),
    };
    let value = match average(&seeds, &vec![1.0; seeds.len()], &vec![1.0; clusters.len()]) {
        Ok(value) => value,
        Err(reason) => return undefined(reason.to_string()),
    };
    let without = |reason: String| Estimate { value: Some(value), ..undefined(reason) };
    if seeds.len() < 2 {
        return without("one training seed: how much seeds differ cannot be seen; train at least two".into());
    }
    if clusters.len() < 2 {
        return without(Undefined::OneCluster.to_string());
    }
    let key = StreamKey::of(&bootstrap.seed);
    let buffers = || (vec![0.0; seeds.len()], vec![0.0; clusters.len()]);
    let drawn: Vec<Option<f64>> = (0..bootstrap.replicates)
        .into_par_iter()
        .map_init(buffers, |(of_seeds, of_clusters), replicate| {
            let mut stream = key.stream(replicate);
            stream.resample(of_seeds);
            stream.resample(of_clusters);
            average(&seeds, of_seeds, of_clusters).ok()
        })
        .collect();
    let mut sorted: Vec<f64> = drawn.iter().flatten().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let left_out = drawn.len() - sorted.len();
    if sorted.is_empty() || left_out * 20 > drawn.len() {
        return without(format!("{left_out} of {} replicates are undefined", drawn.len()));
    }
    let (low, high) = percentile(&sorted, bootstrap.level);
    let mut method = format!("two-level bootstrap (percentile) over {} seeds, {} replicates", seeds.len(), drawn.len());
    if seeds.len() < FEW_SEEDS {
        method.push_str(", few seeds: likely too narrow");
    }
    let interval = Some(Interval { low, high, level: bootstrap.level });
    Estimate { value: Some(value), interval, undefined: None, n, clusters: clusters.len(), method }
}

fn compile(
    runs: &[Run<'_>],
    statistic: &Statistic,
    clusters: &BTreeMap<&str, usize>,
) -> Result<Vec<Vec<(f64, Form)>>, Undefined> {
    if runs.is_empty() {
        return Err(Undefined::Empty);
    }
    let place = |item: &Item| clusters.get(item.cluster.as_str()).copied().unwrap_or(usize::MAX);
    let form = |items: &[Item]| Form::compile(statistic, items.iter().map(|item| (item, place(item))), clusters.len());
    runs.iter().map(|run| run.iter().map(|(sign, items)| Ok((*sign, form(items)?))).collect()).collect()
}

fn average(seeds: &[Vec<(f64, Form)>], of_seeds: &[f64], of_clusters: &[f64]) -> Result<f64, Undefined> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (terms, &times) in seeds.iter().zip(of_seeds) {
        if times > 0.0 {
            for (sign, form) in terms {
                sum += times * sign * form.value(of_clusters)?;
            }
            weight += times;
        }
    }
    if weight > 0.0 { Ok(sum / weight) } else { Err(Undefined::Empty) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    fn run(shift: f64) -> Vec<Item> {
        let item = |id: usize| Item {
            id: id.to_string(),
            cluster: (id / 3).to_string(),
            value: shift + ((id * 29) % 31) as f64 / 31.0,
            group: None,
            weight: None,
        };
        (0..120).map(item).collect()
    }

    const BOOTSTRAP: fn() -> Bootstrap = || Bootstrap { replicates: 2000, level: 0.95, seed: Seed::new(9) };

    fn width(estimate: &Estimate) -> f64 {
        estimate.interval.map_or(f64::NAN, |interval| interval.high - interval.low)
    }

    #[test]
    fn seeds_that_differ_widen_the_interval() {
        let (alike, apart) = ([0.0; 6], [-0.5, -0.3, -0.1, 0.1, 0.3, 0.5]);
        let of = |shifts: [f64; 6]| {
            let runs = shifts.map(run);
            let slices: Vec<&[Item]> = runs.iter().map(Vec::as_slice).collect();
            two_level(&slices, &Statistic::Mean, &BOOTSTRAP())
        };
        let (alike, apart) = (of(alike), of(apart));
        assert!((alike.value.expect("mean") - apart.value.expect("mean")).abs() < 1e-12);
        // The seeds' own error is √(Σ shift²/6)/√6 = 0.139, so that the width is at least 3.9 × 0.139 × 0.9.
        assert!(width(&apart) > 0.48 && width(&apart) > 3.0 * width(&alike), "{alike:?} {apart:?}");
    }

    #[test]
    fn paired_seeds_cancel_what_they_share() {
        let shared = [0.5, -0.4, 0.1, 0.9, 0.0];
        let (first, second) = (shared.map(|shift| run(shift + 0.2)), shared.map(run));
        let a: Vec<&[Item]> = first.iter().map(Vec::as_slice).collect();
        let b: Vec<&[Item]> = second.iter().map(Vec::as_slice).collect();
        let difference = two_level_difference(&a, &b, &Statistic::Mean, &BOOTSTRAP()).expect("aligned");
        assert!((difference.value.expect("mean") - 0.2).abs() < 1e-12 && width(&difference) < 1e-9, "{difference:?}");
        let error = two_level_difference(&a, &b[..4], &Statistic::Mean, &BOOTSTRAP()).expect_err("five against four");
        assert!(error.to_string().contains("5 seeds") && error.to_string().contains('4'), "{error}");
    }

    #[test]
    fn one_seed_has_no_interval() {
        let only = run(0.0);
        let estimate = two_level(&[&only], &Statistic::Mean, &BOOTSTRAP());
        assert!(estimate.value.is_some() && estimate.interval.is_none());
        assert!(estimate.undefined.expect("reason").contains("one training seed"));
        assert_eq!(two_level(&[], &Statistic::Mean, &BOOTSTRAP()).value, None);
    }
}
