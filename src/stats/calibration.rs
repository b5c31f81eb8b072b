//! Expected calibration error over bins of equal mass, as HELM computes it (`p-lambda/verified_calibration`,
//! `calibration/utils.py`; L1, plug-in). Equal-width bins are [`super::Statistic::CalibrationError`].
//!
//! The sorted confidences are split into `bins` parts whose sizes differ by at most one, the larger ones first
//! (`numpy.array_split`); the edge between two parts is the midpoint of the confidences on both sides, equal edges
//! are merged, and a confidence on an edge belongs to the lower bin. ECE = Σ n_b/n · |mean hit − mean confidence|.

/// The error of confidences in [0, 1] against hits (1) and misses (0), given as pairs; `None` without pairs or bins, or
/// where a confidence is outside [0, 1].
pub fn calibration_error_by_mass(pairs: &[(f64, f64)], bins: usize) -> Option<f64> {
    if pairs.is_empty() || bins == 0 || pairs.iter().any(|(confidence, _)| !(0.0..=1.0).contains(confidence)) {
        return None;
    }
    let mut sorted: Vec<f64> = pairs.iter().map(|(confidence, _)| *confidence).collect();
    sorted.sort_by(f64::total_cmp);
    let edges = edges(&sorted, bins);
    let mut sums = vec![0.0; edges.len() + 1];
    for (confidence, hit) in pairs {
        let bin = edges.partition_point(|edge| edge < confidence);
        sums.iter_mut().skip(bin).take(1).for_each(|sum| *sum += hit - confidence);
    }
    Some(sums.iter().map(|sum: &f64| sum.abs()).sum::<f64>() / pairs.len() as f64)
}

/// The inner edges, increasing, without repetition.
fn edges(sorted: &[f64], bins: usize) -> Vec<f64> {
    let (size, larger) = (sorted.len() / bins, sorted.len() % bins);
    let mut edges: Vec<f64> = Vec::new();
    let mut end = 0;
    for bin in 0..bins.min(sorted.len()) {
        end += size + usize::from(bin < larger);
        if let (Some(last), Some(next)) = (sorted.get(end.wrapping_sub(1)), sorted.get(end)) {
            let edge = (last + next) / 2.0;
            if edges.last() != Some(&edge) {
                edges.push(edge);
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIDENCE: [f64; 10] = [0.05, 0.15, 0.35, 0.45, 0.55, 0.62, 0.71, 0.83, 0.91, 0.97];
    const HIT: [f64; 10] = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];

    #[test]
    fn five_bins_of_equal_mass_meet_the_golden_value() {
        // The shared reference, section 2.12.
        let pairs: Vec<(f64, f64)> = CONFIDENCE.into_iter().zip(HIT).collect();
        let value = calibration_error_by_mass(&pairs, 5).expect("defined");
        assert!((value - 0.115).abs() < 1e-12, "{value}");
        let one = calibration_error_by_mass(&pairs, 1).expect("defined");
        assert!((one - 0.041).abs() < 1e-12, "one bin is |mean hit − mean confidence|: {one}");
    }

    #[test]
    fn equal_confidences_share_a_bin() {
        // Four bins of one each would have errors ½, ½, ½, ½; together the hits balance.
        let pairs = [(0.5, 1.0), (0.5, 0.0), (0.5, 1.0), (0.5, 0.0)];
        assert_eq!(calibration_error_by_mass(&pairs, 4), Some(0.0));
        assert_eq!(calibration_error_by_mass(&[(1.5, 1.0)], 2), None);
        assert_eq!(calibration_error_by_mass(&[], 2), None);
        assert_eq!(calibration_error_by_mass(&[(0.25, 1.0)], 10), Some(0.75));
    }
}
