//! Agreement of predicted and true classes, from counts.

use super::statistic::Undefined;

/// 2 TP / (predicted + true positives); 0 where there are neither.
pub(super) fn f1(hits: f64, predicted: f64, truths: f64) -> f64 {
    let sum = predicted + truths;
    if sum > 0.0 { 2.0 * hits / sum } else { 0.0 }
}

/// Matthews' correlation for any number of classes: with c agreements of s items and p_k, t_k how often class k is predicted
/// and true, (c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)); 0 where the denominator is. `classes` holds pairs p_k, t_k.
pub(super) fn matthews(agreements: f64, items: f64, classes: &[f64]) -> Result<f64, Undefined> {
    if items <= 0.0 {
        return Err(Undefined::Empty);
    }
    let (mut both, mut predicted, mut truths) = (0.0, 0.0, 0.0);
    for pair in classes.chunks_exact(2) {
        if let [p, t] = pair {
            both += p * t;
            predicted += p * p;
            truths += t * t;
        }
    }
    let square = (items * items - predicted) * (items * items - truths);
    Ok(if square > 0.0 { (agreements * items - both) / square.sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use crate::stats::{Item, Statistic};

    fn items(predicted: &[u8], truth: &[u8]) -> Vec<Item> {
        let pairs = predicted.iter().zip(truth).enumerate();
        let item = |(id, (&predicted, &truth)): (usize, (&u8, &u8))| Item {
            id: id.to_string(),
            cluster: id.to_string(),
            value: f64::from(predicted),
            group: None,
            weight: Some(f64::from(truth)),
        };
        pairs.map(item).collect()
    }

    #[test]
    fn f1_and_matthews_meet_scikit_learn() {
        // lm_eval.api.metrics f1_score and matthews_corrcoef (scikit-learn) on these vectors.
        let predicted = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1];
        let truth = [0, 1, 0, 0, 1, 1, 0, 1, 0, 1];
        let value = |statistic: Statistic, predicted: &[u8], truth: &[u8]| {
            statistic.evaluate(&items(predicted, truth)).expect("defined")
        };
        assert!((value(Statistic::F1, &predicted, &truth) - F1).abs() < 1e-15);
        assert!((value(Statistic::Matthews, &predicted, &truth) - MATTHEWS).abs() < 1e-15);
        let (predicted, truth) = ([2, 0, 1, 1, 2, 2, 0, 1, 3, 0], [2, 0, 1, 2, 2, 1, 0, 1, 0, 3]);
        assert!((value(Statistic::Matthews, &predicted, &truth) - MATTHEWS_OF_FOUR).abs() < 1e-15);
        assert_eq!(value(Statistic::Matthews, &[1, 1, 1], &[0, 1, 1]), 0.0);
        assert_eq!(value(Statistic::F1, &[0, 0], &[0, 0]), 0.0);
        assert!(Statistic::F1.evaluate(&items(&[2], &[1])).is_err(), "three classes have no binary F1");
    }

    const F1: f64 = 0.7272727272727273;
    const MATTHEWS: f64 = 0.408248290463863;
    const MATTHEWS_OF_FOUR: f64 = 0.4444444444444444;
}
