//! Whether treated and untreated units can be compared: the propensities' range, effective sample sizes, balance.

use serde::Serialize;

use super::error::EstimateError;
use crate::stats::design::Design;

/// What the propensities say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    /// The smallest propensity, before clipping.
    pub smallest: f64,
    /// The largest.
    pub largest: f64,
    /// The share of rows whose propensity was clipped.
    pub clipped: f64,
    /// (Σw)²/Σw² of the untreated, w = 1/(1 − m).
    pub effective_untreated: f64,
    /// The same of the treated, w = 1/m.
    pub effective_treated: f64,
    /// How many there are of each.
    pub counts: [usize; 2],
    /// The largest standardised difference of a covariate's weighted means, with its name.
    pub imbalance: Option<(String, f64)>,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

/// Fewer effective rows than this in an arm are no sample.
const LEAST: f64 = 20.0;
/// More clipped rows than this are no overlap.
const CLIPPED: f64 = 0.2;

impl Overlap {
    /// Judges raw propensities of a binary treatment.
    pub fn of(d: &[f64], propensity: &[f64], clip: f64, x: &Design) -> Self {
        let m: Vec<f64> = propensity.iter().map(|m| m.clamp(clip, 1.0 - clip)).collect();
        let n = m.len().max(1) as f64;
        let weights: Vec<f64> = d.iter().zip(&m).map(|(d, m)| d / m + (1.0 - d) / (1.0 - m)).collect();
        let arm = |arm: f64| {
            let own = d.iter().zip(&weights).filter(move |(d, _)| **d == arm).map(|(_, w)| *w);
            (own.clone().sum::<f64>().powi(2) / own.clone().map(|w| w * w).sum::<f64>(), own.count())
        };
        let ((effective_untreated, untreated), (effective_treated, treated)) = (arm(0.0), arm(1.0));
        let bounds = propensity.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), m| (a.min(*m), b.max(*m)));
        let clipped = propensity.iter().filter(|m| **m < clip || **m > 1.0 - clip).count() as f64 / n;
        let mut overlap = Self {
            smallest: bounds.0,
            largest: bounds.1,
            clipped,
            effective_untreated,
            effective_treated,
            counts: [untreated, treated],
            imbalance: imbalance(d, &weights, x),
            warnings: Vec::new(),
        };
        overlap.warn();
        overlap
    }

    fn warn(&mut self) {
        let Self { smallest, largest, clipped, .. } = *self;
        if smallest < 0.05 || largest > 0.95 {
            self.warnings.push(format!(
                "propensities reach from {smallest:.3} to {largest:.3}: units at the ends have few counterparts and large weights"
            ));
        }
        if clipped > 0.0 {
            self.warnings.push(format!("{:.1} % of the propensities were clipped", 100.0 * clipped));
        }
        for (name, effective, count) in [
            ("untreated", self.effective_untreated, self.counts[0]),
            ("treated", self.effective_treated, self.counts[1]),
        ] {
            if effective < 0.5 * count as f64 {
                self.warnings.push(format!("{count} {name} rows count as {effective:.0} once they are weighted"));
            }
        }
        if let Some((name, difference)) = &self.imbalance
            && difference.abs() > 0.1
        {
            self.warnings.push(format!(
                "weighting leaves `{name}` {difference:.2} standard deviations apart: the propensity model is wrong, or overlap fails"
            ));
        }
    }

    /// Refuses where a comparison would be a guess.
    pub fn check(&self) -> Result<(), EstimateError> {
        let least = self.effective_untreated.min(self.effective_treated);
        // Not "less": a NaN is no sample either.
        let enough = least >= LEAST;
        let reason = match () {
            () if !enough => format!("an arm has {least:.1} effective rows, and {LEAST} are the least"),
            () if self.clipped > CLIPPED => {
                format!("{:.0} % of the propensities are next to 0 or 1", 100.0 * self.clipped)
            }
            () => return Ok(()),
        };
        Err(EstimateError::NoOverlap { reason })
    }
}

fn imbalance(d: &[f64], weights: &[f64], x: &Design) -> Option<(String, f64)> {
    let mean = |column: &[f64], arm: f64| {
        let own = d.iter().zip(weights).zip(column).filter(|((d, _), _)| **d == arm);
        let (sum, total) = own.fold((0.0, 0.0), |(sum, total), ((_, w), x)| (sum + w * x, total + w));
        sum / total
    };
    let difference = |(name, column): (&String, &Vec<f64>)| {
        let n = column.len().max(1) as f64;
        let centre = column.iter().sum::<f64>() / n;
        let sd = (column.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / n).sqrt();
        (name.clone(), if sd > 0.0 { (mean(column, 1.0) - mean(column, 0.0)) / sd } else { 0.0 })
    };
    x.names().iter().zip(x.columns()).map(difference).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
}
