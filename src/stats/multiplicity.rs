//! Many tests at once: Holm for the family of headline claims, Benjamini–Hochberg for exploratory slices.

/// Holm's (1979) adjusted p-values, in the order given: controls the chance of any false rejection under any
/// dependence. NaN is kept and not counted in the family.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let family = order.len();
    let mut adjusted = p_values.to_vec();
    let mut floor = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        if let (Some(slot), Some(p)) = (adjusted.get_mut(index), p_values.get(index)) {
            floor = floor.max((family - rank) as f64 * p).min(1.0);
            *slot = floor;
        }
    }
    adjusted
}

/// Benjamini and Hochberg's (1995) adjusted p-values (q-values), in the order given: controls the expected share of
/// false discoveries under independence or positive dependence. NaN is kept and not counted in the family.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let family = order.len() as f64;
    let mut adjusted = p_values.to_vec();
    let mut ceiling = 1.0f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        if let (Some(slot), Some(p)) = (adjusted.get_mut(index), p_values.get(index)) {
            ceiling = ceiling.min(family * p / (rank + 1) as f64);
            *slot = ceiling;
        }
    }
    adjusted
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<(f64, usize)> = p_values.iter().copied().zip(0..).filter(|(p, _)| !p.is_nan()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
    }

    #[test]
    fn both_meet_the_golden_values() {
        // Golden vectors of the shared reference, section 2.12.
        let p = [0.01, 0.02, 0.03, 0.04, 0.05, 0.2];
        close(&holm(&p), &[0.06, 0.10, 0.12, 0.12, 0.12, 0.20]);
        close(&benjamini_hochberg(&p), &[0.06, 0.06, 0.06, 0.06, 0.06, 0.20]);
    }

    #[test]
    fn adjusted_values_never_fall_where_p_rises() {
        // By hand: 3·0.03/2 = 0.045 may not exceed its right neighbour 0.04; and 1·0.03 may not fall below 2·0.02.
        close(&benjamini_hochberg(&[0.01, 0.03, 0.04]), &[0.03, 0.04, 0.04]);
        close(&holm(&[0.01, 0.03, 0.02]), &[0.03, 0.04, 0.04]);
    }

    #[test]
    fn order_is_kept_and_nan_left_out() {
        close(&holm(&[0.5, 0.01]), &[0.5, 0.02]);
        close(&benjamini_hochberg(&[0.5, 0.01]), &[0.5, 0.02]);
        let adjusted = holm(&[f64::NAN, 0.03]);
        assert!(adjusted[0].is_nan() && adjusted[1] == 0.03);
        assert!(holm(&[]).is_empty());
    }
}
