//! Several metrics under the same draws of clusters.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::bootstrap::Bootstrap;
use super::draws::StreamKey;
use super::form::Form;
use super::result::{Item, Statistic};
use super::statistic::Undefined;

/// One metric of a joint bootstrap.
#[derive(Debug, Clone, Copy)]
pub struct JointMetric<'a> {
    /// Metrics of one stratum (an eval set) share clusters by name and are resampled together; strata are
    /// independent of each other.
    pub stratum: &'a str,
    /// How the items become the value.
    pub statistic: &'a Statistic,
    /// The items.
    pub items: &'a [Item],
}

/// Replicates of several metrics under the same draws of clusters, so that their joint distribution (dominance,
/// Pareto fronts) can be read: one list a metric, replicate by replicate, `None` where undefined.
pub fn joint_replicates(
    metrics: &[JointMetric<'_>],
    bootstrap: &Bootstrap,
) -> Result<Vec<Vec<Option<f64>>>, Undefined> {
    let mut strata: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for metric in metrics {
        let names = metric.items.iter().map(|item| item.cluster.as_str());
        strata.entry(metric.stratum).or_default().extend(names);
    }
    let mut replicates = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let names: Vec<&str> = strata.get(metric.stratum).into_iter().flatten().copied().collect();
        let place = |item: &Item| names.binary_search(&item.cluster.as_str()).unwrap_or(usize::MAX);
        let form = Form::compile(metric.statistic, metric.items.iter().map(|item| (item, place(item))), names.len())?;
        let key = StreamKey::of(&bootstrap.seed.fork(metric.stratum));
        let draw = |weights: &mut Vec<f64>, replicate| {
            key.stream(replicate).resample(weights);
            form.value(weights).ok()
        };
        let buffer = || vec![0.0; names.len()];
        replicates.push((0..bootstrap.replicates).into_par_iter().map_init(buffer, draw).collect());
    }
    Ok(replicates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    #[test]
    fn joint_metrics_share_their_clusters() {
        let item = |id: usize| Item {
            id: id.to_string(),
            cluster: format!("{:04}", id / 2),
            value: ((id * 37 % 101) as f64 / 20.0).exp(),
            group: None,
            weight: None,
        };
        let items: Vec<Item> = (0..60).map(item).collect();
        let doubled: Vec<Item> = items.iter().map(|item| Item { value: 2.0 * item.value, ..item.clone() }).collect();
        let metric = |stratum, items| JointMetric { stratum, statistic: &Statistic::Mean, items };
        let bootstrap = Bootstrap { replicates: 2000, level: 0.95, seed: Seed::new(11) };
        let metrics = [metric("x", &items[..]), metric("x", &doubled), metric("y", &items)];
        let joint = joint_replicates(&metrics, &bootstrap).expect("defined");
        let [x, twice, y] = &joint[..] else { panic!("three metrics") };
        assert!(x.iter().zip(twice).all(|(a, b)| (2.0 * a.unwrap() - b.unwrap()).abs() < 1e-9));
        assert_ne!(x, y, "strata are drawn independently");
    }
}
