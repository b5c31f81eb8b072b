//! Axis ticks at round numbers.

/// A linear axis from data to pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that covers `values` (finite ones) and the anchors, from pixel `from` to pixel `to`.
    pub(super) fn over(values: impl IntoIterator<Item = f64>, anchor: Option<f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = match anchor {
            Some(anchor) => (anchor, anchor),
            None => (f64::INFINITY, f64::NEG_INFINITY),
        };
        for value in values.into_iter().filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= 1e-12 * high.abs().max(1.0) {
            (low, high) = (low - 0.5, high + 0.5);
        }
        Self { low, high, from, to }
    }

    /// The pixel of a value; values outside are held at the ends.
    pub(super) fn pixel(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// The smallest value.
    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// The largest value.
    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// The whole numbers on the axis.
    pub(super) fn wholes(&self) -> Vec<f64> {
        ((self.low - 1e-9).ceil() as i64..=(self.high + 1e-9).floor() as i64).map(|whole| whole as f64).collect()
    }

    /// Round numbers on the axis, about `wanted` of them, with the digits that they need.
    pub(super) fn ticks(&self, wanted: usize) -> (Vec<f64>, usize) {
        let raw = (self.high - self.low) / wanted.max(1) as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw).unwrap_or(raw);
        let decimals = (0..9usize).find(|d| is_whole(step * 10f64.powi(*d as i32))).unwrap_or(3);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        ((first..=last).map(|k| k as f64 * step).collect(), decimals)
    }
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6 * value.abs().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (ticks, decimals) = Axis::over([0.0, 3.7], None, 0.0, 100.0).ticks(4);
        assert_eq!((ticks, decimals), (vec![0.0, 1.0, 2.0, 3.0], 0));
        let (ticks, decimals) = Axis::over([-0.02, 0.11], None, 0.0, 100.0).ticks(3);
        assert_eq!(decimals, 2);
        assert!(
            ticks.iter().any(|t| t.abs() < 1e-12) && ticks.iter().all(|t| (-0.021..0.111).contains(t)),
            "{ticks:?}"
        );
    }

    #[test]
    fn an_axis_without_extent_or_data_still_draws() {
        for axis in [Axis::over([2.0, 2.0], None, 0.0, 10.0), Axis::over([f64::NAN], None, 0.0, 10.0)] {
            assert!(axis.pixel(2.0).is_finite() && !axis.ticks(3).0.is_empty());
        }
    }
}
