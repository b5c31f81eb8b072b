//! Learning rate over steps: constant, linear or cosine, after a linear warm-up.

use serde::{Deserialize, Serialize};

use super::error::TuneError;

/// How the rate falls after the warm-up, as a share of the peak. `floor` is the share that is left at the end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Decline {
    /// Not at all.
    Constant,
    /// In a straight line.
    Linear {
        /// The share left at the end.
        #[serde(default)]
        floor: f64,
    },
    /// Along half a cosine.
    Cosine {
        /// The share left at the end.
        #[serde(default)]
        floor: f64,
    },
}

/// How long the rate rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warmup {
    /// So many steps.
    Steps(usize),
    /// This share of all steps, rounded up.
    Ratio(f64),
}

/// A warm-up and a decline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The rise.
    pub warmup: Warmup,
    /// The fall.
    pub decline: Decline,
}

impl Default for Schedule {
    /// Linear to nothing without a warm-up, as Hugging Face's trainer has it.
    fn default() -> Self {
        Self { warmup: Warmup::Steps(0), decline: Decline::Linear { floor: 0.0 } }
    }
}

impl Schedule {
    /// Refuses shares outside [0, 1].
    pub fn check(&self) -> Result<(), TuneError> {
        let share = |field, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(TuneError::spec(field, format!("{value} is outside [0, 1]")))
            }
        };
        if let Warmup::Ratio(ratio) = self.warmup {
            share("schedule.warmup.ratio", ratio)?;
        }
        match self.decline {
            Decline::Constant => Ok(()),
            Decline::Linear { floor } | Decline::Cosine { floor } => share("schedule.decline.floor", floor),
        }
    }

    /// The share of the peak rate at `step` (from 0) of `steps`. The warm-up of w steps gives (step + 1)/w, so that the
    /// first step already moves; after it, progress runs from 0 towards 1, which no step reaches.
    pub fn share(&self, step: usize, steps: usize) -> f64 {
        let warmup = match self.warmup {
            Warmup::Steps(count) => count,
            Warmup::Ratio(ratio) => (ratio * steps as f64).ceil() as usize,
        };
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let progress = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
        match self.decline {
            Decline::Constant => 1.0,
            Decline::Linear { floor } => 1.0 - progress * (1.0 - floor),
            Decline::Cosine { floor } => floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

/// The share of a weight λ that is in force at `step` of `steps`: a straight line from 0 over the first `ramp` (a share
/// of all steps), then 1. A weight that is there at once has `ramp` 0.
pub fn ramp(step: usize, steps: usize, ramp: f64) -> f64 {
    let length = ramp * steps as f64;
    if length > 0.0 { ((step + 1) as f64 / length).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_and_falls_to_the_floor() {
        let schedule = Schedule { warmup: Warmup::Ratio(0.1), decline: Decline::Cosine { floor: 0.1 } };
        let shares: Vec<f64> = (0..100).map(|step| schedule.share(step, 100)).collect();
        assert!((shares[0] - 0.1).abs() < 1e-12 && (shares[9] - 1.0).abs() < 1e-12 && (shares[10] - 1.0).abs() < 1e-12);
        // Half of the way down the cosine: floor + (1 − floor)/2.
        assert!((shares[55] - 0.55).abs() < 1e-12);
        assert!(shares[10..].windows(2).all(|w| w[1] < w[0]) && shares[99] > 0.1);
        assert!((schedule.share(100, 100) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn linear_and_constant_are_what_they_say() {
        let linear = Schedule::default();
        assert_eq!([0, 5, 9].map(|step| linear.share(step, 10)), [1.0, 0.5, 1.0 - 0.9]);
        let constant = Schedule { warmup: Warmup::Steps(2), decline: Decline::Constant };
        assert_eq!([0, 1, 2, 9].map(|step| constant.share(step, 10)), [0.5, 1.0, 1.0, 1.0]);
        assert!(Schedule { decline: Decline::Linear { floor: 1.5 }, ..linear }.check().is_err());
    }

    #[test]
    fn the_ramp_ends_where_it_should() {
        assert_eq!([0, 9, 19, 20, 99].map(|step| ramp(step, 100, 0.2)), [0.05, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!(ramp(0, 100, 0.0), 1.0);
    }
}
