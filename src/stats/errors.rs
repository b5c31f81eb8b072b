//! Closed-form standard errors of means, and Student-t intervals from them.
//!
//! s̄ is the mean of n items, d_i = s_i − s̄, C the number of clusters, D_c = Σ_{i∈c} d_i.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::result::{Estimate, Interval, Item, Statistic};
use super::statistic::{Clusters, Undefined};

/// Which standard error of a mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// √(Σ d_i² / (n(n−1))): items independent (central limit theorem; lm-evaluation-harness' `mean_stderr`).
    Naive,
    /// √(C/(C−1) · Σ_c D_c²) / n: clusters independent, with the small-sample factor (inspect_ai, `scorer/_metrics/std.py`).
    Clustered,
    /// √(Σ_c D_c²) / n: clusters independent (Miller 2024, arXiv 2411.00640: the independent error plus the products
    /// within clusters, all over n²). Without the small-sample factor.
    Miller,
}

/// The standard error of the mean of `value`; `None` below two items, below two clusters for the clustered kinds, or
/// where a value is not finite.
pub fn standard_error(items: &[Item], kind: ErrorKind) -> Option<f64> {
    let n = items.len() as f64;
    let clusters = Clusters::of(items);
    if items.len() < 2 || (kind != ErrorKind::Naive && clusters.len() < 2) {
        return None;
    }
    let mean = items.iter().map(|item| item.value).sum::<f64>() / n;
    let mut sums = vec![0.0; clusters.len()];
    let mut squares = 0.0;
    for (item, &cluster) in items.iter().zip(clusters.indices()) {
        let deviation = item.value - mean;
        squares += deviation * deviation;
        *sums.get_mut(cluster)? += deviation;
    }
    let between: f64 = sums.iter().map(|sum| sum * sum).sum();
    let count = clusters.len() as f64;
    let error = match kind {
        ErrorKind::Naive => (squares / (n * (n - 1.0))).sqrt(),
        ErrorKind::Clustered => (count / (count - 1.0) * between).sqrt() / n,
        ErrorKind::Miller => between.sqrt() / n,
    };
    error.is_finite().then_some(error)
}

/// The mean of `value` with a Student-t interval on the clustered error, C − 1 degrees of freedom: what inspect_ai
/// prints, and steadier than a bootstrap below about ten clusters.
pub fn clustered_mean(items: &[Item], level: f64) -> Estimate {
    let clusters = Clusters::of(items).len();
    let value = match Statistic::Mean.evaluate(items) {
        Ok(value) => value,
        Err(reason) => return Estimate::undefined(reason.to_string(), items.len(), clusters),
    };
    let error = standard_error(items, ErrorKind::Clustered);
    let quantile = StudentsT::new(0.0, 1.0, clusters.saturating_sub(1) as f64)
        .map(|student| student.inverse_cdf(0.5 + level / 2.0))
        .ok();
    let half = error.zip(quantile).map(|(error, quantile)| error * quantile);
    Estimate {
        value: Some(value),
        interval: half.map(|half| Interval { low: value - half, high: value + half, level }),
        undefined: half.is_none().then(|| Undefined::OneCluster.to_string()),
        n: items.len(),
        clusters,
        method: if half.is_some() {
            format!("clustered t, {} degrees of freedom", clusters - 1)
        } else {
            "none".into()
        },
    }
}

/// A group of tasks as one number, with lm-evaluation-harness' pooled error (`api/metrics.py`):
/// √( [Σ (n_i − 1) se_i² n_i] / (Σ n_i − K) / Σ n_i ), value Σ n_i m_i / Σ n_i. Parts are (value, standard error, n);
/// `None` unless there are more items than parts.
pub fn pooled(parts: &[(f64, f64, usize)]) -> Option<(f64, f64)> {
    let total: usize = parts.iter().map(|(_, _, n)| n).sum();
    if parts.is_empty() || total <= parts.len() || parts.iter().any(|(_, _, n)| *n == 0) {
        return None;
    }
    let value: f64 = parts.iter().map(|(value, _, n)| value * *n as f64).sum::<f64>() / total as f64;
    let squares: f64 = parts.iter().map(|(_, error, n)| (*n as f64 - 1.0) * error * error * *n as f64).sum();
    Some((value, (squares / (total - parts.len()) as f64 / total as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(clusters: &[&[f64]]) -> Vec<Item> {
        let all = clusters.iter().enumerate().flat_map(|(cluster, values)| values.iter().map(move |&v| (cluster, v)));
        all.enumerate()
            .map(|(id, (cluster, value))| Item {
                id: id.to_string(),
                cluster: cluster.to_string(),
                value,
                group: None,
                weight: None,
            })
            .collect()
    }

    // Golden vectors of the shared reference, section 2.12.
    const CLUSTERED: [&[f64]; 5] = [&[1.0, 1.0, 1.0, 0.0], &[0.0; 3], &[1.0; 4], &[0.0, 1.0], &[0.0, 0.0, 1.0]];

    #[test]
    fn the_three_errors_meet_their_golden_values() {
        let clustered = items(&CLUSTERED);
        for (kind, golden) in [
            (ErrorKind::Clustered, 0.18436093034240944),
            (ErrorKind::Miller, 0.16489742905629245),
            (ErrorKind::Naive, 0.128086884574495),
        ] {
            let error = standard_error(&clustered, kind).expect("5 clusters");
            assert!((error - golden).abs() < 1e-15, "{kind:?}: {error}");
        }
        let ten = items(&[&[1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]]);
        assert_eq!(standard_error(&ten, ErrorKind::Naive), Some(0.15275252316519466));
        assert_eq!(standard_error(&ten, ErrorKind::Clustered), None, "one cluster");
    }

    #[test]
    fn paired_errors_meet_their_golden_values() {
        let a = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0];
        let b = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let naive = |values: &[f64]| standard_error(&items(&[values]), ErrorKind::Naive).expect("12 items");
        assert!((naive(&differences) - 0.1305582419667734).abs() < 1e-15);
        assert!((naive(&a).hypot(naive(&b)) - 0.20566472667421556).abs() < 1e-15);
    }

    #[test]
    fn a_group_is_pooled_as_the_harness_does() {
        let (value, error) = pooled(&[(0.5, 0.05, 100), (0.6, 0.03, 200), (0.7, 0.02, 300)]).expect("600 items");
        assert!((value - 0.6333333333333333).abs() < 1e-15 && (error - 0.016409234643167833).abs() < 1e-16);
        assert_eq!(pooled(&[(0.5, 0.1, 1)]), None);
    }

    #[test]
    fn the_t_interval_uses_clusters_less_one() {
        let estimate = clustered_mean(&items(&CLUSTERED), 0.95);
        let interval = estimate.interval.expect("5 clusters");
        // t(0.975, 4) = 2.7764451052, from tables.
        let half = 2.7764451052 * 0.18436093034240944;
        assert!((interval.high - (9.0 / 16.0 + half)).abs() < 1e-9, "{interval:?}");
        assert!(clustered_mean(&items(&[&[1.0, 2.0]]), 0.95).undefined.is_some());
    }
}
