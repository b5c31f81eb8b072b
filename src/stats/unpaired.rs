//! Two runs of which one has no items: the difference of two numbers with independent standard errors.
//!
//! z = (a − b)/√(se_a² + se_b²). Where both runs answered the same items this leaves out their covariance: the error is
//! too large by what makes an item hard for both (Miller 2024, arXiv 2411.00640, section 4), so pair wherever items are
//! there. Cost: none.

use super::interval::{inverse_normal, normal};
use super::result::{Estimate, Interval};

/// The interval value ± z·error of the normal distribution.
pub fn normal_interval(value: f64, error: f64, level: f64) -> Interval {
    let half = inverse_normal(0.5 + level / 2.0) * error;
    Interval { low: value - half, high: value + half, level }
}

/// The standard error behind a symmetric normal interval; the inverse of [`normal_interval`].
pub fn error_of_interval(interval: &Interval) -> f64 {
    (interval.high - interval.low) / (2.0 * inverse_normal(0.5 + interval.level / 2.0))
}

/// The difference of two independent estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct UnpairedDifference {
    /// First less second, with the normal interval.
    pub difference: Estimate,
    /// √(se_a² + se_b²).
    pub standard_error: f64,
    /// Two-sided p-value of "the difference is 0"; `None` where the error is 0.
    pub p_value: Option<f64>,
}

/// The difference of two values with their standard errors, first less second; n and clusters are those of the smaller
/// sample.
pub fn unpaired_difference(first: (f64, f64, usize), second: (f64, f64, usize), level: f64) -> UnpairedDifference {
    let (value, error) = (first.0 - second.0, first.1.hypot(second.1));
    let n = first.2.min(second.2);
    let interval = (error > 0.0).then(|| normal_interval(value, error, level));
    let difference = Estimate {
        value: Some(value),
        undefined: interval
            .is_none()
            .then(|| "both standard errors are 0: they say nothing of what was not seen".into()),
        method: if interval.is_some() { "normal, unpaired: two independent standard errors" } else { "none" }.into(),
        interval,
        n,
        clusters: n,
    };
    let p_value = (error > 0.0).then(|| 2.0 * normal(-(value / error).abs()));
    UnpairedDifference { difference, standard_error: error, p_value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unpaired_error_meets_its_golden_value() {
        // The shared reference, section 2.12: A and B without their pairing; the errors of both by √(Σd²/(n(n−1))).
        let error = |values: [f64; 12]| {
            let mean = values.iter().sum::<f64>() / 12.0;
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 132.0).sqrt()
        };
        let a = error([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
        let b = error([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let found = unpaired_difference((8.0 / 12.0, a, 12), (5.0 / 12.0, b, 12), 0.95);
        assert!((found.standard_error - 0.205_664_726_674_215_56).abs() < 1e-15);
        // z = 0.25/0.20566 = 1.21557; p = 2·Φ(−1.21557) = 0.2241485 (scipy.stats.norm).
        assert!((found.p_value.expect("error") - 0.224_148_5).abs() < 1e-5, "{:?}", found.p_value);
        let interval = found.difference.interval.expect("interval");
        assert!((error_of_interval(&interval) - found.standard_error).abs() < 1e-15);
        let none = unpaired_difference((0.5, 0.0, 3), (0.5, 0.0, 3), 0.95);
        assert_eq!((none.p_value, none.difference.interval), (None, None), "an error of 0 is no proof of equality");
    }
}
