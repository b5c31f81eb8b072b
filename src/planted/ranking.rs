//! How well scores find a known set: rank AUROC with mid-ranks, average precision, precision and recall at the true
//! size.
//!
//! What is ranked is a score's absolute value. Values below [`RESOLUTION`] of the largest count as 0: effects are known
//! to that, and rounding must not decide a rank. With N nodes of which P lie on the pathway:
//!
//! * AUROC: the share of (on, off) pairs in which the one on the pathway scores higher, ties by half;
//! * average precision: Σ (R_k − R_{k−1})·P_k over the distinct scores from the largest down, ties taken together;
//! * at the true size: what scores at least as much as the P-th largest, and more than 0, is chosen. Precision and
//!   recall differ where there are ties, and where fewer than P scores are above 0.

use serde::{Deserialize, Serialize};

use crate::stats::delong;

/// The share of the largest score below which a score is 0.
pub const RESOLUTION: f64 = 1e-4;

/// How well one list of scores finds one set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Rank AUROC, 0.5 by chance.
    pub auroc: f64,
    /// Average precision; the prevalence by chance.
    pub average_precision: f64,
    /// Of what is chosen, the share that lies on the pathway.
    pub precision: f64,
    /// Of what lies on the pathway, the share that is chosen.
    pub recall: f64,
    /// The share that lies on the pathway.
    pub prevalence: f64,
}

/// Magnitudes with everything below the resolution at 0.
pub fn magnitudes(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().map(|score| score.abs()).fold(0.0, f64::max);
    let floor = |score: &f64| if score.abs() <= RESOLUTION * largest { 0.0 } else { score.abs() };
    scores.iter().map(floor).collect()
}

/// Which entries are chosen at the true size.
pub fn chosen(scores: &[f64], size: usize) -> Vec<bool> {
    let scores = magnitudes(scores);
    let mut sorted = scores.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let least = size.checked_sub(1).and_then(|last| sorted.get(last)).copied().unwrap_or(f64::INFINITY);
    scores.iter().map(|score| *score >= least && *score > 0.0).collect()
}

/// Ranks scores against the truth; `None` where fewer than two entries lie on the pathway or off it, or where a score
/// is not finite.
pub fn rank(scores: &[f64], truth: &[bool]) -> Option<Ranking> {
    if scores.len() != truth.len() || scores.iter().any(|score| !score.is_finite()) {
        return None;
    }
    let values = magnitudes(scores);
    let of = |on: bool| values.iter().zip(truth).filter(|(_, truth)| **truth == on).map(|(value, _)| *value).collect();
    let (on, off): (Vec<f64>, Vec<f64>) = (of(true), of(false));
    let chosen = chosen(scores, on.len());
    let hits = chosen.iter().zip(truth).filter(|(chosen, truth)| **chosen && **truth).count() as f64;
    let picked = chosen.iter().filter(|chosen| **chosen).count();
    Some(Ranking {
        auroc: delong(&on, &off)?.auc,
        average_precision: average_precision(&values, truth),
        precision: hits / picked.max(1) as f64,
        recall: hits / on.len() as f64,
        prevalence: on.len() as f64 / truth.len() as f64,
    })
}

fn average_precision(values: &[f64], truth: &[bool]) -> f64 {
    let mut order: Vec<(f64, bool)> = values.iter().copied().zip(truth.iter().copied()).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = truth.iter().filter(|on| **on).count().max(1) as f64;
    let (mut seen, mut hits, mut counted, mut sum) = (0.0, 0.0, 0.0, 0.0);
    let mut next = order.iter().skip(1).map(|(value, _)| *value);
    for (value, on) in &order {
        seen += 1.0;
        hits += f64::from(u8::from(*on));
        // A threshold lies where the score changes, and behind the last.
        if next.next() != Some(*value) {
            sum += (hits - counted) / positives * hits / seen;
            counted = hits;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_as_defined() {
        // Counted by hand, with ties as scikit-learn's roc_auc_score and average_precision_score take them.
        let truth = [true, false, true, true, false, false, true, false];
        let scores = [0.9, 0.8, 0.8, 0.4, 0.4, 0.3, 0.2, 0.1];
        let ranking = rank(&scores, &truth).expect("four of each");
        assert!((ranking.auroc - 0.6875).abs() < 1e-12, "{}", ranking.auroc);
        let expected = 0.25 * 1.0 + 0.25 * (2.0 / 3.0) + 0.25 * (3.0 / 5.0) + 0.25 * (4.0 / 7.0);
        assert!((ranking.average_precision - expected).abs() < 1e-12, "{}", ranking.average_precision);
        // The fourth largest is 0.4, which two entries have: five are chosen, three of them rightly.
        assert_eq!((ranking.precision, ranking.recall, ranking.prevalence), (0.6, 0.75, 0.5));
    }

    #[test]
    fn signs_and_rounding_decide_nothing() {
        let truth = [true, true, false, false];
        let ranking = rank(&[-3.0, 2.0, 1e-5, -2e-5], &truth).expect("two of each");
        assert_eq!((ranking.auroc, ranking.precision, ranking.recall), (1.0, 1.0, 1.0));
        assert_eq!(rank(&[1e-5, 1.0, 0.0, 0.0], &truth).expect("two of each").recall, 0.5);
        let none = rank(&[0.0; 4], &truth).expect("two of each");
        assert_eq!((none.auroc, none.average_precision, none.precision, none.recall), (0.5, 0.5, 0.0, 0.0));
        assert_eq!(rank(&[f64::NAN, 1.0, 2.0, 3.0], &truth), None);
        assert_eq!(rank(&[1.0, 1.0, 2.0, 3.0], &[true, true, true, true]), None);
    }
}
