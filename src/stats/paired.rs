//! Two runs on the same items: the difference of a statistic, item by item and cluster by cluster.

use std::collections::BTreeMap;

use super::bootstrap::{Bootstrap, Distribution, Resampled};
use super::form::Form;
use super::permutation::{extreme_share, sign_flip_sums};
use super::result::{Estimate, Item, Statistic};
use super::statistic::{Clusters, Undefined};
use crate::base::Seed;

/// Why two runs cannot be paired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// Some items are in one run only.
    #[error("{count} items are only in the {side} run (such as `{example}`); compare runs over the same items")]
    Missing {
        /// `first` or `second`.
        side: &'static str,
        /// How many.
        count: usize,
        /// One of them.
        example: String,
    },
    /// An id occurs twice, so that it aligns nothing.
    #[error("item `{id}` occurs more than once in the {side} run; ids must be unique")]
    Duplicate {
        /// `first` or `second`.
        side: &'static str,
        /// The id.
        id: String,
    },
    /// Different numbers of training seeds.
    #[error("the first list has {first} seeds and the second {second}; give one run of each per seed")]
    Seeds {
        /// Seeds of the first.
        first: usize,
        /// Seeds of the second.
        second: usize,
    },
    /// The same item is described differently.
    #[error("item `{id}` has the {field} `{first}` in the first run and `{second}` in the second; they must agree")]
    Disagree {
        /// The id.
        id: String,
        /// `cluster` or `group`.
        field: &'static str,
        /// In the first run.
        first: String,
        /// In the second run.
        second: String,
    },
}

/// The difference between two runs, first less second.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedDifference {
    /// statistic(first) − statistic(second), with the cluster-bootstrap interval of the difference.
    pub difference: Estimate,
    /// Two-sided p-value of "the two runs are exchangeable".
    pub p_value: Option<f64>,
    /// Standard deviation of the bootstrap replicates of the difference.
    pub standard_error: Option<f64>,
}

/// The difference of `statistic` between two runs over the same items (aligned by id), first less second. The same
/// clusters are drawn in both; the p-value swaps the runs within whole clusters (for means: flips the signs of the
/// clusters' differences), exactly up to 16 clusters, else `bootstrap.replicates` times with (1 + extreme)/(1 + draws).
pub fn paired_difference(
    first: &[Item],
    second: &[Item],
    statistic: &Statistic,
    bootstrap: &Bootstrap,
) -> Result<PairedDifference, PairingError> {
    let paired = Paired::new(first, second, statistic)?;
    Ok(match paired.distribution(bootstrap) {
        Ok(distribution) => PairedDifference {
            difference: distribution.estimate(bootstrap.level),
            p_value: paired.p_value(bootstrap.replicates, &bootstrap.seed),
            standard_error: distribution.standard_error(),
        },
        Err(reason) => PairedDifference {
            difference: Estimate::undefined(reason.to_string(), paired.len(), paired.clusters()),
            p_value: None,
            standard_error: None,
        },
    })
}

/// Two runs' items, aligned.
#[derive(Debug, Clone)]
pub struct Paired<'a> {
    statistic: &'a Statistic,
    first: Vec<Item>,
    second: Vec<Item>,
    clusters: Clusters,
}

impl<'a> Paired<'a> {
    /// Aligns two runs by item id.
    pub fn new(first: &[Item], second: &[Item], statistic: &'a Statistic) -> Result<Self, PairingError> {
        let (first, second) = (by_id(first, "first")?, by_id(second, "second")?);
        only_in(&first, &second, "first")?;
        only_in(&second, &first, "second")?;
        for (a, b) in first.values().zip(second.values()) {
            agree(a, "cluster", &a.cluster, &b.cluster)?;
            agree(a, "group", a.group.as_deref().unwrap_or(""), b.group.as_deref().unwrap_or(""))?;
        }
        let owned = |items: BTreeMap<&str, &Item>| items.into_values().cloned().collect::<Vec<_>>();
        let (first, second) = (owned(first), owned(second));
        let clusters = Clusters::of(&first);
        Ok(Self { statistic, first, second, clusters })
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The number of clusters.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// The aligned items, first and second, in the order of their ids.
    pub fn pairs(&self) -> impl Iterator<Item = (&Item, &Item)> {
        self.first.iter().zip(&self.second)
    }

    /// The bootstrap distribution of the difference, the same clusters drawn in both runs.
    pub fn distribution(&self, bootstrap: &Bootstrap) -> Result<Distribution, Undefined> {
        if let Some(differences) = self.differences() {
            let form = self.compile(&Statistic::Mean, &differences)?;
            return self.resample(&|weights| form.value(weights), bootstrap);
        }
        let (first, second) = (self.compile(self.statistic, &self.first)?, self.compile(self.statistic, &self.second)?);
        self.resample(&|weights| Ok(first.value(weights)? - second.value(weights)?), bootstrap)
    }

    fn resample<F>(&self, value: &F, bootstrap: &Bootstrap) -> Result<Distribution, Undefined>
    where
        F: Fn(&[f64]) -> Result<f64, Undefined> + Sync,
    {
        let bounds = self.statistic.bounds(&self.first).zip(self.statistic.bounds(&self.second));
        let sample = Resampled {
            value,
            n: self.len(),
            clusters: self.clusters(),
            bounds: bounds.map(|((low, high), (other_low, other_high))| (low - other_high, high - other_low)),
            groups: self.statistic.group_sizes(&self.first, &self.clusters),
        };
        Distribution::resample(sample, bootstrap)
    }

    /// The two-sided p-value of "the runs are exchangeable": within each cluster the runs trade places or not, all
    /// items together. Exact up to 16 clusters; `None` where the statistic is undefined.
    pub fn p_value(&self, permutations: usize, seed: &Seed) -> Option<f64> {
        if let Some(differences) = self.differences() {
            let mut sums = vec![0.0; self.clusters()];
            for (item, &cluster) in differences.iter().zip(self.clusters.indices()) {
                *sums.get_mut(cluster)? += item.value;
            }
            return sign_flip_sums(&sums, permutations, seed);
        }
        let swap = Swap::new(self).ok()?;
        let limit = swap.difference(&vec![false; self.clusters()])?.abs() * (1.0 - 1e-12);
        Some(extreme_share(self.clusters(), permutations, seed, |flips| Some(swap.difference(flips)?.abs() >= limit)))
    }

    /// The differences as items, where the statistic of the difference is the mean of the differences.
    fn differences(&self) -> Option<Vec<Item>> {
        let part = match self.statistic {
            Statistic::Mean | Statistic::Share => |item: &Item| item.value,
            Statistic::MeanAbsolute => |item: &Item| item.value.abs(),
            _ => return None,
        };
        Some(self.pairs().map(|(a, b)| Item { value: part(a) - part(b), ..a.clone() }).collect())
    }

    fn compile(&self, statistic: &Statistic, items: &[Item]) -> Result<Form, Undefined> {
        Form::compile(statistic, items.iter().zip(self.clusters.indices().iter().copied()), self.clusters())
    }
}

/// Both runs in one form: cluster c of the first run is c, of the second C + c, so that weights say which run each
/// cluster is taken from.
struct Swap {
    form: Form,
    clusters: usize,
}

impl Swap {
    fn new(paired: &Paired<'_>) -> Result<Self, Undefined> {
        let clusters = paired.clusters();
        let first = paired.first.iter().zip(paired.clusters.indices().iter().copied());
        let second = paired.second.iter().zip(paired.clusters.indices().iter().map(|cluster| clusters + cluster));
        Ok(Self { form: Form::compile(paired.statistic, first.chain(second), 2 * clusters)?, clusters })
    }

    /// The difference when the flipped clusters trade places between the runs.
    fn difference(&self, flips: &[bool]) -> Option<f64> {
        let mut weights = vec![0.0; 2 * self.clusters];
        let mut side = |of_second: bool| {
            let (first, second) = weights.split_at_mut(self.clusters);
            for ((a, b), &flip) in first.iter_mut().zip(second).zip(flips) {
                let take_second = flip != of_second;
                (*a, *b) = if take_second { (0.0, 1.0) } else { (1.0, 0.0) };
            }
            self.form.value(&weights).ok()
        };
        Some(side(false)? - side(true)?)
    }
}

fn by_id<'a>(items: &'a [Item], side: &'static str) -> Result<BTreeMap<&'a str, &'a Item>, PairingError> {
    let mut index = BTreeMap::new();
    for item in items {
        if index.insert(item.id.as_str(), item).is_some() {
            return Err(PairingError::Duplicate { side, id: item.id.clone() });
        }
    }
    Ok(index)
}

fn only_in(
    items: &BTreeMap<&str, &Item>,
    other: &BTreeMap<&str, &Item>,
    side: &'static str,
) -> Result<(), PairingError> {
    let mut missing = items.keys().filter(|id| !other.contains_key(*id));
    match missing.next() {
        None => Ok(()),
        Some(example) => Err(PairingError::Missing { side, count: 1 + missing.count(), example: example.to_string() }),
    }
}

fn agree(item: &Item, field: &'static str, first: &str, second: &str) -> Result<(), PairingError> {
    if first == second {
        return Ok(());
    }
    Err(PairingError::Disagree { id: item.id.clone(), field, first: first.into(), second: second.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(values: &[f64], cluster: usize) -> Vec<Item> {
        let item = |(id, &value): (usize, &f64)| Item {
            id: format!("{id:05}"),
            cluster: format!("{:05}", id / cluster),
            value,
            group: Some(if id % 2 == 0 { "in" } else { "out" }.into()),
            weight: Some(1.0 + (id % 3) as f64),
        };
        values.iter().enumerate().map(item).collect()
    }

    const BOOTSTRAP: fn() -> Bootstrap = || Bootstrap { replicates: 4000, level: 0.95, seed: Seed::new(1) };
    // Golden vectors A and B of the shared reference, section 2.12.
    const A: [f64; 12] = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0];
    const B: [f64; 12] = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0];

    #[test]
    fn the_golden_difference_and_its_error() {
        let (first, second) = (items(&A, 1), items(&B, 1));
        let result = paired_difference(&first, &second, &Statistic::Mean, &BOOTSTRAP()).expect("aligned");
        assert_eq!(result.difference.value, Some(0.25));
        // The closed form is 0.1305582419667734 with n − 1; the bootstrap estimates the n version, √(11/12) of it.
        let error = result.standard_error.expect("12 clusters");
        assert!((error - 0.125).abs() < 0.004, "{error}");
        // Three discordant items on one side: the exact sign-flip test is McNemar's, 0.25.
        assert_eq!(result.p_value, Some(0.25));
    }

    #[test]
    fn swapping_is_sign_flipping_for_a_mean_in_disguise() {
        // With weight 1 a ratio is a mean, but takes the general path.
        let unit = |values: &[f64]| -> Vec<Item> {
            items(values, 2).into_iter().map(|item| Item { weight: Some(1.0), ..item }).collect()
        };
        let (first, second) = (unit(&A), unit(&B));
        let mean = paired_difference(&first, &second, &Statistic::Mean, &BOOTSTRAP()).expect("aligned");
        let ratio = paired_difference(&first, &second, &Statistic::Ratio, &BOOTSTRAP()).expect("aligned");
        assert_eq!(mean.p_value, ratio.p_value);
        let (a, b) = (mean.difference.interval.expect("clusters"), ratio.difference.interval.expect("clusters"));
        assert!((a.low - b.low).abs() < 1e-9 && (a.high - b.high).abs() < 1e-9, "{a:?} {b:?}");
    }

    #[test]
    fn the_difference_of_an_auc_is_resampled_whole() {
        let better: Vec<f64> =
            (0..80).map(|id| if id % 2 == 0 { 2.0 } else { 0.0 } + (id * 7 % 13) as f64 / 5.0).collect();
        let worse: Vec<f64> = (0..80).map(|id| (id * 11 % 17) as f64).collect();
        let statistic = Statistic::Auc { positive: "in".into() };
        let (first, second) = (items(&better, 2), items(&worse, 2));
        let result = paired_difference(&first, &second, &statistic, &BOOTSTRAP()).expect("aligned");
        let expected = statistic.evaluate(&first).expect("auc") - statistic.evaluate(&second).expect("auc");
        assert_eq!(result.difference.value, Some(expected));
        assert!(result.difference.excludes_zero(), "{result:?}");
        assert!(result.p_value.expect("defined") < 0.01, "{result:?}");
        let same = paired_difference(&first, &first, &statistic, &BOOTSTRAP()).expect("aligned");
        assert_eq!((same.difference.value, same.p_value), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn no_discordant_item_is_no_proof_of_equality() {
        let first = items(&A, 1);
        let result = paired_difference(&first, &first, &Statistic::Share, &BOOTSTRAP()).expect("aligned");
        let interval = result.difference.interval.expect("bounded");
        // Wilson's upper limit for 0 of 12 at 95 % is z²/(12 + z²) = 0.2425; both directions are open.
        assert!((interval.high - 0.2425).abs() < 1e-4 && interval.low == -interval.high, "{interval:?}");
    }

    #[test]
    fn what_cannot_be_aligned_is_refused() {
        let (first, second) = (items(&A, 1), items(&B, 1));
        let refuse = |second: &[Item]| Paired::new(&first, second, &Statistic::Mean).expect_err("refused").to_string();
        assert!(refuse(&second[..10]).contains("2 items are only in the first run (such as `00010`)"));
        let mut twice = second.clone();
        twice.push(twice[0].clone());
        assert!(refuse(&twice).contains("`00000` occurs more than once in the second run"));
        let mut moved = second.clone();
        moved[3].cluster = "elsewhere".into();
        assert!(refuse(&moved).contains("cluster `00003` in the first run and `elsewhere`"));
    }
}
