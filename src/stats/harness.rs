//! lm-evaluation-harness' bootstrap error, bit for bit (`lm_eval/api/metrics.py`, `bootstrap_stderr`).
//!
//! Replicates come in chunks of min(1000, iterations); chunk i draws with Python's `Random(i)`, each replicate with
//! `choices(xs, k=len(xs))`; the error is the sample standard deviation of all replicates. Items are taken as
//! independent: for anything new use the cluster bootstrap.

use rayon::prelude::*;

use super::python_random::PythonRandom;

/// How the harness aggregates, where its error needs a bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HarnessAggregation {
    /// Arithmetic mean (the harness has a closed form for it; here for checks).
    Mean,
    /// The element at index n/2 of the sorted values, without averaging the middle two.
    Median,
    /// exp(−mean) of log-likelihoods.
    Perplexity,
}

impl HarnessAggregation {
    /// The aggregate; NaN of nothing.
    pub fn of(self, values: &[f64]) -> f64 {
        let mean = || sum(values) / values.len() as f64;
        match self {
            Self::Mean => mean(),
            Self::Perplexity => (-mean()).exp(),
            Self::Median => {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
            }
        }
    }

    /// The harness' error of this aggregate.
    pub fn bootstrap_error(self, values: &[f64], iterations: usize) -> Option<f64> {
        harness_bootstrap(values, iterations, |drawn| self.of(drawn))
    }
}

/// Python's `sum` before 3.12: left to right.
fn sum(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |total, value| total + value)
}

/// `bootstrap_stderr(f, xs, iters)` for any aggregate of items of any kind (log-likelihoods, pairs of gold and
/// prediction). Iterations that do not fill a chunk are not run, as in the original: the number of replicates is a
/// multiple of the chunk. `None` below two replicates or without values. Sums run left to right, as Python's `sum` does
/// before 3.12; from 3.12 on it compensates, and the last digits may differ.
pub fn harness_bootstrap<T, F>(values: &[T], iterations: usize, aggregate: F) -> Option<f64>
where
    T: Copy + Send + Sync,
    F: Fn(&[T]) -> f64 + Sync,
{
    let chunk = iterations.min(1000);
    if chunk == 0 || values.is_empty() {
        return None;
    }
    let chunks = (0..iterations / chunk).into_par_iter();
    let replicates: Vec<Vec<f64>> = chunks.map(|index| chunk_replicates(values, chunk, index, &aggregate)).collect();
    let replicates = replicates.concat();
    if replicates.len() < 2 {
        return None;
    }
    let mean = sum(&replicates) / replicates.len() as f64;
    let squares: Vec<f64> = replicates.iter().map(|replicate| (replicate - mean).powi(2)).collect();
    Some((sum(&squares) / (replicates.len() - 1) as f64).sqrt())
}

fn chunk_replicates<T: Copy>(values: &[T], chunk: usize, index: usize, aggregate: &impl Fn(&[T]) -> f64) -> Vec<f64> {
    let mut random = PythonRandom::new(index as u64);
    let mut drawn = Vec::with_capacity(values.len());
    let mut replicates = Vec::with_capacity(chunk);
    for _ in 0..chunk {
        drawn.clear();
        drawn.extend((0..values.len()).filter_map(|_| values.get(random.choice_index(values.len())).copied()));
        replicates.push(aggregate(&drawn));
    }
    replicates
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKELIHOODS: [f64; 5] = [-1.5, -2.25, -0.75, -3.0, -1.0];

    #[test]
    fn perplexity_and_its_error_meet_the_harness() {
        // Golden values of the shared reference, section 2.12, executed with lm-evaluation-harness itself.
        let value = HarnessAggregation::Perplexity.of(&LIKELIHOODS);
        assert!((value - 5.4739473917272).abs() < 1e-13);
        let error = HarnessAggregation::Perplexity.bootstrap_error(&LIKELIHOODS, 2000);
        assert_eq!(error, Some(2.3159588745660904));
    }

    #[test]
    fn chunks_and_aggregates_meet_its_code_run_by_cpython() {
        // `bootstrap_stderr` with its multiprocessing pool replaced by a loop, CPython 3.11, on x_i = ((37 i) mod 101)/8,
        // i = 1..40, and 3500 iterations: three chunks, 500 iterations left out.
        let values: Vec<f64> = (1..=40).map(|i| f64::from(37 * i % 101) / 8.0).collect();
        let error = |aggregation: HarnessAggregation| aggregation.bootstrap_error(&values, 3500);
        assert_eq!(error(HarnessAggregation::Mean), Some(0.5571590634212611));
        assert_eq!(error(HarnessAggregation::Median), Some(0.9675574632567219));
        // Kinds of items other than numbers: the share of pairs that agree.
        let pairs: Vec<(i32, i32)> = (0..40).map(|i| (i % 2, i % 3 % 2)).collect();
        let agree = |drawn: &[(i32, i32)]| drawn.iter().filter(|(a, b)| a == b).count() as f64 / drawn.len() as f64;
        assert_eq!(harness_bootstrap(&pairs, 300, agree), Some(0.07997748254730343));
    }

    #[test]
    fn the_median_is_the_upper_middle() {
        assert_eq!(HarnessAggregation::Median.of(&[4.0, 1.0, 3.0, 2.0]), 3.0);
        assert!(HarnessAggregation::Mean.of(&[]).is_nan());
        assert_eq!(HarnessAggregation::Mean.bootstrap_error(&[1.0], 0), None);
        assert_eq!(HarnessAggregation::Mean.bootstrap_error(&[], 100), None);
    }
}
