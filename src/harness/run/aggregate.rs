//! From values of documents to lm-eval's number and its standard error (`api/metrics.py`).

use rayon::prelude::*;

use super::super::yaml::file::Aggregation;
use super::super::yaml::function::{Code, DocValue};
use crate::stats::{HarnessAggregation, harness_bootstrap};

/// How values become one number, as lm-eval calls it; `function` where a task brings its own.
pub(super) fn name(aggregation: Aggregation) -> &'static str {
    match aggregation {
        Aggregation::Named(name) => name,
        Aggregation::Function(_) => "function",
    }
}

fn numbers(values: &[DocValue]) -> Vec<f64> {
    values.iter().map(DocValue::first).collect()
}

/// Σ first / Σ second.
fn weighted_mean(values: &[DocValue]) -> f64 {
    let pairs: Vec<[f64; 2]> = values.iter().filter_map(DocValue::tuple).collect();
    let sum = |of: fn(&[f64; 2]) -> f64| pairs.iter().map(of).fold(0.0, |total, value| total + value);
    sum(|[value, _]| *value) / sum(|[_, weight]| *weight)
}

/// The number that an aggregation makes of the values; NaN where there is none.
pub fn aggregate(aggregation: Aggregation, values: &[DocValue]) -> f64 {
    if let Aggregation::Function(function) = aggregation {
        return match function.code {
            Code::Aggregation(of) => of(values),
            _ => f64::NAN,
        };
    }
    match name(aggregation) {
        "median" => HarnessAggregation::Median.of(&numbers(values)),
        "perplexity" => HarnessAggregation::Perplexity.of(&numbers(values)),
        "nanmean" => {
            let present: Vec<f64> = numbers(values).into_iter().filter(|value| !value.is_nan()).collect();
            HarnessAggregation::Mean.of(&present)
        }
        "weighted_perplexity" => (-weighted_mean(values)).exp(),
        "bits_per_byte" => -weighted_mean(values) / std::f64::consts::LN_2,
        "f1" => f1(&pairs(values)),
        "matthews_corrcoef" => matthews(&pairs(values)),
        _ => HarnessAggregation::Mean.of(&numbers(values)),
    }
}

/// lm-eval's standard error of that number: closed for means, by bootstrap for median, perplexity, F1, Matthews'
/// correlation and the mean without NaN; none for everything else, below two values, and where no replicates are asked for.
pub fn standard_error(aggregation: Aggregation, values: &[DocValue], iterations: usize) -> Option<f64> {
    if values.len() < 2 || iterations == 0 {
        return None;
    }
    let firsts = numbers(values);
    match name(aggregation) {
        "mean" => {
            let n = firsts.len() as f64;
            let mean = HarnessAggregation::Mean.of(&firsts);
            let squares = firsts.iter().map(|value| (value - mean).powi(2)).fold(0.0, |total, square| total + square);
            Some((squares / (n - 1.0)).sqrt() / n.sqrt())
        }
        "median" => HarnessAggregation::Median.bootstrap_error(&firsts, iterations),
        "perplexity" => HarnessAggregation::Perplexity.bootstrap_error(&firsts, iterations),
        "nanmean" => harness_bootstrap(&firsts, iterations, |drawn| {
            let present: Vec<f64> = drawn.iter().copied().filter(|value| !value.is_nan()).collect();
            HarnessAggregation::Mean.of(&present)
        }),
        "f1" => harness_bootstrap(&pairs(values), iterations, f1),
        "matthews_corrcoef" => harness_bootstrap(&pairs(values), iterations, matthews),
        _ => None,
    }
}

/// (gold, prediction).
fn pairs(values: &[DocValue]) -> Vec<(i64, i64)> {
    values.par_iter().filter_map(DocValue::tuple).map(|[gold, predicted]| (gold as i64, predicted as i64)).collect()
}

/// 2 TP / (2 TP + FP + FN) of class 1; 0 where the denominator is, NaN where there is a third class.
fn f1(pairs: &[(i64, i64)]) -> f64 {
    if pairs.iter().any(|(gold, predicted)| !(0..=1).contains(gold) || !(0..=1).contains(predicted)) {
        return f64::NAN;
    }
    let count = |wanted: (i64, i64)| pairs.iter().filter(|pair| **pair == wanted).count() as f64;
    let (hits, wrong) = (count((1, 1)), count((0, 1)) + count((1, 0)));
    if 2.0 * hits + wrong == 0.0 { 0.0 } else { 2.0 * hits / (2.0 * hits + wrong) }
}

/// Matthews' correlation coefficient for any number of classes; 0 where golds or predictions are all alike.
fn matthews(pairs: &[(i64, i64)]) -> f64 {
    let mut classes: Vec<i64> = pairs.iter().flat_map(|(gold, predicted)| [*gold, *predicted]).collect();
    classes.sort_unstable();
    classes.dedup();
    let n = pairs.len() as f64;
    let (mut both, mut golds, mut predictions) = (0.0, 0.0, 0.0);
    for class in &classes {
        let gold = pairs.iter().filter(|(gold, _)| gold == class).count() as f64;
        let predicted = pairs.iter().filter(|(_, predicted)| predicted == class).count() as f64;
        both += gold * predicted;
        golds += gold * gold;
        predictions += predicted * predicted;
    }
    let right = pairs.iter().filter(|(gold, predicted)| gold == predicted).count() as f64;
    let spread = (n * n - predictions) * (n * n - golds);
    if spread == 0.0 { 0.0 } else { (right * n - both) / spread.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuples(values: &[(f64, f64)]) -> Vec<DocValue> {
        values.iter().map(|(a, b)| DocValue::Tuple(vec![*a, *b])).collect()
    }

    #[test]
    fn aggregations_and_errors_meet_those_of_lm_eval() {
        // lm_eval.api.metrics of 0.4.13 (scikit-learn 1.9 for F1 and Matthews' coefficient) on these values; errors with
        // `stderr_for_metric(metric, 3000)`.
        let golds = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
        let predictions = [0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        let choices = tuples(&golds.into_iter().zip(predictions).collect::<Vec<_>>());
        let likelihoods: Vec<DocValue> = [-1.5, -2.25, -0.75, -3.0, -1.0].map(DocValue::Number).into();
        let texts = tuples(&[(-10.0, 3.0), (-20.5, 7.0), (-3.25, 1.0)]);
        for (name, values, value, error) in [
            ("f1", &choices, 0.6666666666666666, Some(0.19956224832211356)),
            ("matthews_corrcoef", &choices, 0.2581988897471611, Some(0.358130698557854)),
            ("mean", &likelihoods, -1.7, Some(0.4138236339311712)),
            ("median", &likelihoods, -1.5, Some(0.6045722969805254)),
            ("perplexity", &likelihoods, 5.4739473917272, Some(2.3119045258482)),
            ("weighted_perplexity", &texts, 21.50277116411053, None),
            ("bits_per_byte", &texts, 4.426450693636593, None),
        ] {
            let aggregation = Aggregation::Named(name);
            let found = aggregate(aggregation, values);
            assert!((found - value).abs() < 1e-13, "{name}: {found} for {value}");
            assert_eq!(standard_error(aggregation, values, 3000), error, "{name}");
            assert_eq!(standard_error(aggregation, values, 0), None);
        }
        assert!(f1(&[(0, 2)]).is_nan() && matthews(&[(1, 1), (1, 0)]) == 0.0);
    }
}
