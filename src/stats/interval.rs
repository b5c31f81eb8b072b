//! From bootstrap replicates to an interval: percentile and BCa.
//!
//! BCa (Efron 1987) with z0 = Φ⁻¹(share of replicates below the value, ties by half) and the acceleration
//! a = Σ(θ̄ − θ_i)³ / (6 (Σ(θ̄ − θ_i)²)^1.5) over the delete-one-cluster values θ_i. The ends are the replicates'
//! quantiles at Φ(z0 + (z0 + z)/(1 − a(z0 + z))), z = Φ⁻¹((1 ∓ level)/2). Quantiles interpolate between order
//! statistics (type 7). Sign and scale follow `scipy.stats.bootstrap`.

use statrs::distribution::{ContinuousCDF, Normal};

/// Why BCa cannot be had, so that the percentile interval stands instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBca {
    /// The value lies outside all replicates.
    Bias,
    /// Leaving one cluster out does not move the value, or leaves it undefined.
    Acceleration,
}

/// The quantile of sorted values at `share`, interpolated; NaN without values.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => a + (b - a) * (place - low as f64),
        _ => f64::NAN,
    }
}

/// The quantile of values sorted upwards at `share`, interpolated between order statistics (type 7); NaN without values.
pub fn quantile_of(sorted: &[f64], share: f64) -> f64 {
    quantile(sorted, share)
}

/// The percentile interval.
pub(crate) fn percentile(sorted: &[f64], level: f64) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    (quantile(sorted, tail), quantile(sorted, 1.0 - tail))
}

/// Bias correction and acceleration, which do not depend on the level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bca {
    bias: f64,
    acceleration: f64,
}

impl Bca {
    /// From the value, its sorted replicates, and its delete-one-cluster values.
    pub(crate) fn new(value: f64, sorted: &[f64], jackknife: &[f64]) -> Result<Self, NoBca> {
        // Sums in another order differ by rounding: a replicate that close to the value is a tie.
        let spread = sorted.last().zip(sorted.first()).map_or(0.0, |(last, first)| last - first);
        let rounding = 1e-12 * (value.abs() + spread);
        let below = sorted.partition_point(|replicate| *replicate < value - rounding);
        let up_to = sorted.partition_point(|replicate| *replicate <= value + rounding);
        let share = (below + up_to) as f64 / (2 * sorted.len()) as f64;
        if !(share > 0.0 && share < 1.0) {
            return Err(NoBca::Bias);
        }
        let mean = jackknife.iter().sum::<f64>() / jackknife.len() as f64;
        let power = |exponent: i32| jackknife.iter().map(|left_out| (mean - left_out).powi(exponent)).sum::<f64>();
        let (square, cube) = (power(2), power(3));
        // Rounding alone leaves squares near (ε·|mean|)².
        let floor = jackknife.len() as f64 * (8.0 * f64::EPSILON * mean.abs()).powi(2);
        if !(square > floor && cube.is_finite()) {
            return Err(NoBca::Acceleration);
        }
        Ok(Self { bias: inverse_normal(share), acceleration: cube / (6.0 * square.powf(1.5)) })
    }

    /// The interval at `level`; `None` where the correction leaves the range in which it means anything.
    pub(crate) fn interval(&self, sorted: &[f64], level: f64) -> Option<(f64, f64)> {
        let end = |tail: f64| {
            let z = self.bias + inverse_normal(tail);
            let denominator = 1.0 - self.acceleration * z;
            (denominator > 0.0).then(|| quantile(sorted, normal(self.bias + z / denominator)))
        };
        let tail = (1.0 - level) / 2.0;
        Some((end(tail)?, end(1.0 - tail)?))
    }
}

/// The standard normal distribution function Φ.
pub fn normal_cdf(z: f64) -> f64 {
    normal(z)
}

/// The standard normal distribution function.
pub(crate) fn normal(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// Its inverse.
pub(crate) fn inverse_normal(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_as_type_7() {
        // numpy.quantile([1, 2, 4, 8], [0, .1, .5, .9, 1]).
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&sorted, share) - expected).abs() < 1e-12, "{share}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn bca_without_bias_and_skew_is_the_percentile_interval() {
        let sorted: Vec<f64> = (-500..=500).map(f64::from).collect();
        let bca = Bca::new(0.0, &sorted, &[-1.0, 0.0, 1.0]).expect("regular");
        assert!(bca.bias.abs() < 1e-12 && bca.acceleration == 0.0);
        let (low, high) = bca.interval(&sorted, 0.9).expect("regular");
        let (p_low, p_high) = percentile(&sorted, 0.9);
        assert!((low - p_low).abs() < 1e-6 && (high - p_high).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn degenerate_samples_have_no_bca() {
        assert_eq!(Bca::new(5.0, &[1.0, 2.0], &[1.0, 2.0]), Err(NoBca::Bias));
        assert_eq!(Bca::new(1.5, &[1.0, 2.0], &[0.1, 0.1, 0.1]), Err(NoBca::Acceleration));
        assert_eq!(Bca::new(1.5, &[1.0, 2.0], &[0.1, f64::NAN]), Err(NoBca::Acceleration));
    }
}
