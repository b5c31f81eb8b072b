//! Readings of a ROC curve, without interpolation.

/// Whether a limit may be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FprLimit {
    /// FPR ≤ limit (Min-K%++'s `run.py`).
    AtMost,
    /// FPR < limit (LiRA's `plot.py`).
    Below,
}

/// The curve of "score ≥ threshold is positive", one point a distinct score, from (0, 0) to (1, 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Roc {
    points: Vec<RocPoint>,
    negatives: usize,
}

/// One threshold's rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// False positives over negatives.
    pub fpr: f64,
    /// True positives over positives.
    pub tpr: f64,
}

impl Roc {
    /// The curve of scores that should be larger for positives; `None` where a side is empty or a score is NaN.
    pub fn new(positive: &[f64], negative: &[f64]) -> Option<Self> {
        if positive.is_empty() || negative.is_empty() || positive.iter().chain(negative).any(|score| score.is_nan()) {
            return None;
        }
        let mut scored: Vec<(f64, bool)> = positive.iter().map(|&score| (score, true)).collect();
        scored.extend(negative.iter().map(|&score| (score, false)));
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut points = vec![RocPoint { fpr: 0.0, tpr: 0.0 }];
        let (mut hits, mut alarms) = (0usize, 0usize);
        for run in scored.chunk_by(|a, b| a.0 == b.0) {
            hits += run.iter().filter(|(_, positive)| *positive).count();
            alarms += run.iter().filter(|(_, positive)| !positive).count();
            points.push(RocPoint {
                fpr: alarms as f64 / negative.len() as f64,
                tpr: hits as f64 / positive.len() as f64,
            });
        }
        Some(Self { points, negatives: negative.len() })
    }

    /// The points, from (0, 0) to (1, 1).
    pub fn points(&self) -> &[RocPoint] {
        &self.points
    }

    /// TPR at the last point within the FPR limit.
    pub fn tpr_at_fpr(&self, limit: f64, rule: FprLimit) -> f64 {
        let within = |point: &&RocPoint| match rule {
            FprLimit::AtMost => point.fpr <= limit,
            FprLimit::Below => point.fpr < limit,
        };
        self.points.iter().rfind(within).map_or(0.0, |point| point.tpr)
    }

    /// FPR at the first point whose TPR reaches `target`; 1 where none does.
    pub fn fpr_at_tpr(&self, target: f64) -> f64 {
        self.points.iter().find(|point| point.tpr >= target).map_or(1.0, |point| point.fpr)
    }

    /// max over thresholds of 1 − (FPR + 1 − TPR)/2.
    pub fn balanced_accuracy(&self) -> f64 {
        self.points.iter().map(|point| 1.0 - (point.fpr + 1.0 - point.tpr) / 2.0).fold(0.0, f64::max)
    }

    /// Whether an FPR of `limit` can be told from 0 with this many negatives: at least one false alarm fits under it.
    /// TPR at an unresolvable limit is the TPR at FPR 0 under another name.
    pub fn resolves(&self, limit: f64) -> bool {
        limit * self.negatives as f64 >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITIVE: [f64; 10] = [0.9, 0.8, 0.85, 0.4, 0.7, 0.65, 0.3, 0.95, 0.55, 0.6];
    const NEGATIVE: [f64; 10] = [0.5, 0.45, 0.35, 0.2, 0.1, 0.75, 0.62, 0.15, 0.25, 0.05];

    #[test]
    fn readings_meet_the_golden_values() {
        // scikit-learn on these scores: the shared reference, section 2.12.
        let roc = Roc::new(&POSITIVE, &NEGATIVE).expect("both sides");
        assert_eq!(roc.tpr_at_fpr(0.1, FprLimit::AtMost), 0.6);
        assert_eq!(roc.fpr_at_tpr(0.95), 0.5);
        assert!((roc.balanced_accuracy() - 0.8).abs() < 1e-15);
    }

    #[test]
    fn limits_are_strict_only_where_asked() {
        let roc = Roc::new(&POSITIVE, &NEGATIVE).expect("both sides");
        // 0.75, the strongest negative, makes FPR 0.1: before it come .95, .9, .85 and .8.
        assert_eq!(roc.tpr_at_fpr(0.1, FprLimit::Below), 0.4);
        assert!(roc.resolves(0.1) && !roc.resolves(0.001));
        assert_eq!(Roc::new(&[], &NEGATIVE), None);
        assert_eq!(Roc::new(&[f64::NAN], &NEGATIVE), None);
    }

    #[test]
    fn equal_scores_make_one_point() {
        let roc = Roc::new(&[1.0, 2.0], &[1.0]).expect("both sides");
        let points: Vec<(f64, f64)> = roc.points().iter().map(|point| (point.fpr, point.tpr)).collect();
        assert_eq!(points, [(0.0, 0.0), (0.0, 0.5), (1.0, 1.0)]);
    }
}
