//! Transport of a mean: what a metric would be in a domain where only the mix of some variables differs.
//!
//! If the metric given z is the same in both domains (selection nodes point at z alone), then
//! `E*[y] = Σ_z P*(z) E[y | z]`: strata of the source, weighted as the target has them. A stratum of the target that the source
//! never shows has no mean, and the whole is refused; which one is said, since data of it would mend that.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

use super::table::{Table, TableError};
use crate::stats::result::Interval;

/// A transported mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransportedMean {
    /// The mean in the target's mix.
    pub value: f64,
    /// Its standard error: of the strata's means, and of the target's shares.
    pub error: f64,
    /// Its interval (normal).
    pub interval: Interval,
    /// The source's own mean.
    pub source: f64,
    /// (Σw)²/Σw² of the source's rows as the target weighs them.
    pub effective: f64,
    /// Strata.
    pub strata: usize,
}

/// Why a mean cannot be carried over.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReweightError {
    /// A column is wrong.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Nothing is known where the target needs it.
    #[error(
        "the target has {share:.1} % of its rows at {stratum}, where the source has {rows}: collect at least two there, or merge values"
    )]
    Unseen {
        /// The values.
        stratum: String,
        /// The target's share in percent.
        share: f64,
        /// The source's rows.
        rows: usize,
    },
}

/// Carries the mean of `outcome` from `source` to the mix of `z` that `target` has.
pub fn transported_mean(
    source: &Table,
    target: &Table,
    outcome: &str,
    z: &[&str],
    level: f64,
) -> Result<TransportedMean, ReweightError> {
    let y = source.numbers(outcome)?;
    let (here, there) = (strata(source, z)?, strata(target, z)?);
    let m = target.rows() as f64;
    let (mut value, mut variance, mut squares, mut weights) = (0.0, 0.0, 0.0, 0.0);
    for (stratum, rows) in &there {
        let share = rows.len() as f64 / m;
        let own: Vec<f64> = here.get(stratum).into_iter().flatten().filter_map(|row| y.get(*row)).copied().collect();
        if own.len() < 2 {
            let stratum =
                z.iter().zip(stratum).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
            return Err(ReweightError::Unseen { stratum, share: 100.0 * share, rows: own.len() });
        }
        let n = own.len() as f64;
        let mean = own.iter().sum::<f64>() / n;
        let spread = own.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (n - 1.0);
        value += share * mean;
        variance += share * share * spread / n;
        squares += share * mean * mean;
        weights += share * share / n;
    }
    variance += (squares - value * value).max(0.0) / m;
    let error = variance.sqrt();
    let quantile = Normal::standard().inverse_cdf(0.5 + level / 2.0);
    Ok(TransportedMean {
        value,
        error,
        interval: Interval { low: value - quantile * error, high: value + quantile * error, level },
        source: y.iter().sum::<f64>() / y.len().max(1) as f64,
        effective: 1.0 / weights,
        strata: there.len(),
    })
}

/// The rows of each combination of values.
fn strata(table: &Table, z: &[&str]) -> Result<BTreeMap<Vec<String>, Vec<usize>>, TableError> {
    let columns = z.iter().map(|name| table.levels(name, table.rows())).collect::<Result<Vec<_>, _>>()?;
    let mut found: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for row in 0..table.rows() {
        let value = |levels: &super::table::Levels| {
            levels.codes.get(row).and_then(|code| levels.names.get(*code)).cloned().unwrap_or_default()
        };
        found.entry(columns.iter().map(value).collect()).or_default().push(row);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::base::seed::{normal, uniform};

    /// y = 1 + 2 z + noise, P(z = 1) as given.
    fn domain(p: f64, n: usize, seed: Seed) -> Table {
        let mut rng = seed.rng();
        let z: Vec<f64> = (0..n).map(|_| f64::from(uniform(&mut rng) < p)).collect();
        let y = z.iter().map(|z| 1.0 + 2.0 * z + normal(&mut rng)).collect();
        Table::from_numbers(vec![("z".into(), z), ("y".into(), y)]).expect("table")
    }

    #[test]
    fn a_held_out_domain_is_met_and_its_interval_covers() {
        // Truth 1 + 2 · 0.7; the source's own mean is 1 + 2 · 0.3.
        let covered = (0..300u64)
            .filter(|draw| {
                let seed = Seed::new(61).fork(&draw.to_string());
                let (source, target) = (domain(0.3, 300, seed.fork("source")), domain(0.7, 200, seed.fork("target")));
                let found = transported_mean(&source, &target, "y", &["z"], 0.95).expect("carried");
                assert!((found.source - 1.6).abs() < 0.5 && found.effective < 300.0);
                found.interval.low <= 2.4 && 2.4 <= found.interval.high
            })
            .count();
        assert!((276..=295).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn what_the_source_never_shows_is_refused() {
        let (source, target) = (domain(0.0, 50, Seed::new(1)), domain(0.5, 50, Seed::new(2)));
        let error = transported_mean(&source, &target, "y", &["z"], 0.95).expect_err("no z = 1").to_string();
        assert!(error.contains("z=1") && error.contains("source has 0"), "{error}");
    }
}
