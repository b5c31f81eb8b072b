//! DeLong's variance of an AUC and of the difference of two AUCs on the same items.
//!
//! With X the m positive and Y the n negative scores and ψ(x, y) = `1[x > y] + ½ 1[x = y]`: the placements are
//! V10(x_i) = mean_j ψ(x_i, y_j) and V01(y_j) = mean_i ψ(x_i, y_j); AUC is the mean of either, its variance
//! var(V10)/m + var(V01)/n (DeLong, DeLong and Clarke-Pearson 1988). Items must be independent; where they cluster,
//! bootstrap the statistic whole. Cost: O(N log N).

use super::interval::{inverse_normal, normal};
use super::result::Interval;

/// An AUC with DeLong's variance.
#[derive(Debug, Clone, PartialEq)]
pub struct Delong {
    /// The area.
    pub auc: f64,
    /// Its variance.
    pub variance: f64,
    placements: [Vec<f64>; 2],
}

/// The difference of two AUCs on the same items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DelongDifference {
    /// First less second.
    pub difference: f64,
    /// The variance of the difference, with the covariance of the two.
    pub variance: f64,
    /// Two-sided p-value; `None` where the variance is 0.
    pub p_value: Option<f64>,
}

/// The AUC of `positive` over `negative` scores; `None` below two of either or where a score is NaN.
pub fn delong(positive: &[f64], negative: &[f64]) -> Option<Delong> {
    if positive.len() < 2 || negative.len() < 2 || positive.iter().chain(negative).any(|score| score.is_nan()) {
        return None;
    }
    let wins = placements(positive, negative);
    // ψ(x, y) = 1 − ψ(y, x).
    let losses: Vec<f64> = placements(negative, positive).into_iter().map(|share| 1.0 - share).collect();
    let auc = mean(&wins);
    let variance =
        covariance(&wins, &wins) / positive.len() as f64 + covariance(&losses, &losses) / negative.len() as f64;
    Some(Delong { auc, variance, placements: [wins, losses] })
}

impl Delong {
    /// The interval on the logit scale, which stays inside (0, 1); `None` at an AUC of 0 or 1 or a variance of 0,
    /// where DeLong has nothing to say.
    pub fn interval(&self, level: f64) -> Option<Interval> {
        let slope = self.auc * (1.0 - self.auc);
        if slope <= 0.0 || self.variance <= 0.0 {
            return None;
        }
        let logit = (self.auc / (1.0 - self.auc)).ln();
        let half = inverse_normal(0.5 + level / 2.0) * self.variance.sqrt() / slope;
        let back = |x: f64| 1.0 / (1.0 + (-x).exp());
        Some(Interval { low: back(logit - half), high: back(logit + half), level })
    }

    /// This AUC less another on the same items in the same order; `None` where their numbers differ.
    pub fn less(&self, other: &Self) -> Option<DelongDifference> {
        let mut variance = self.variance + other.variance;
        for (first, second) in self.placements.iter().zip(&other.placements) {
            if first.len() != second.len() {
                return None;
            }
            variance -= 2.0 * covariance(first, second) / first.len() as f64;
        }
        let (difference, variance) = (self.auc - other.auc, variance.max(0.0));
        let z = difference.abs() / variance.sqrt();
        Some(DelongDifference { difference, variance, p_value: (variance > 0.0).then(|| 2.0 * normal(-z)) })
    }
}

/// The share of `others` that each score beats, ties by half.
fn placements(scores: &[f64], others: &[f64]) -> Vec<f64> {
    let mut sorted = others.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let share = |score: &f64| {
        let below = sorted.partition_point(|other| other < score);
        let up_to = sorted.partition_point(|other| other <= score);
        (below + up_to) as f64 / (2 * sorted.len()) as f64
    };
    scores.iter().map(share).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products: f64 = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum();
    products / (a.len() as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITIVE: [f64; 10] = [0.9, 0.8, 0.85, 0.4, 0.7, 0.65, 0.3, 0.95, 0.55, 0.6];
    const NEGATIVE: [f64; 10] = [0.5, 0.45, 0.35, 0.2, 0.1, 0.75, 0.62, 0.15, 0.25, 0.05];

    /// The variance from its definition: every pair compared.
    fn by_pairs(positive: &[f64], negative: &[f64]) -> (f64, f64) {
        let psi = |x: f64, y: f64| {
            if x > y {
                1.0
            } else if x == y {
                0.5
            } else {
                0.0
            }
        };
        let v10: Vec<f64> =
            positive.iter().map(|&x| mean(&negative.iter().map(|&y| psi(x, y)).collect::<Vec<_>>())).collect();
        let v01: Vec<f64> =
            negative.iter().map(|&y| mean(&positive.iter().map(|&x| psi(x, y)).collect::<Vec<_>>())).collect();
        (mean(&v10), covariance(&v10, &v10) / v10.len() as f64 + covariance(&v01, &v01) / v01.len() as f64)
    }

    #[test]
    fn the_fast_placements_are_the_definition() {
        let delong = delong(&POSITIVE, &NEGATIVE).expect("ten of each");
        let (auc, variance) = by_pairs(&POSITIVE, &NEGATIVE);
        // 0.85: scikit-learn on the golden ROC vector of the shared reference.
        assert!((delong.auc - 0.85).abs() < 1e-15 && (delong.auc - auc).abs() < 1e-15);
        assert!((delong.variance - variance).abs() < 1e-15, "{} {variance}", delong.variance);
        let tied = [1.0, 2.0, 2.0, 3.0];
        let found = super::delong(&tied, &[2.0, 2.0, 1.0]).expect("four and three");
        let (auc, variance) = by_pairs(&tied, &[2.0, 2.0, 1.0]);
        assert!((found.auc - auc).abs() < 1e-15 && (found.variance - variance).abs() < 1e-15);
    }

    #[test]
    fn the_interval_stays_inside_the_unit() {
        let interval = delong(&POSITIVE, &NEGATIVE).and_then(|delong| delong.interval(0.95)).expect("regular");
        assert!(
            interval.low > 0.5 && interval.low < 0.85 && interval.high > 0.85 && interval.high < 1.0,
            "{interval:?}"
        );
        assert_eq!(delong(&[2.0, 3.0], &[0.0, 1.0]).and_then(|perfect| perfect.interval(0.95)), None);
        assert!(delong(&[1.0], &[0.0, 1.0]).is_none());
    }

    #[test]
    fn an_auc_does_not_differ_from_itself() {
        let first = delong(&POSITIVE, &NEGATIVE).expect("ten of each");
        let same = first.less(&first).expect("same items");
        assert_eq!((same.difference, same.p_value), (0.0, None));
        let reversed: Vec<f64> = POSITIVE.iter().rev().copied().collect();
        let other = delong(&reversed, &NEGATIVE).expect("ten of each");
        let less = first.less(&other).expect("same items");
        assert!(less.difference == 0.0 && less.p_value == Some(1.0), "{less:?}");
        assert!(less.variance < first.variance + other.variance, "shared negatives are positively correlated");
        let short = delong(&POSITIVE[..9], &NEGATIVE).expect("nine and ten");
        assert_eq!(first.less(&short), None);
    }
}
