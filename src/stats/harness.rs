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
    /// The aggregate; `None` of nothing.
    pub fn of(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let mean = || sum(values) / values.len() as f64;
        match self {
            Self::Mean => Some(mean()),
            Self::Perplexity => Some((-mean()).exp()),
            Self::Median => {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                sorted.get(sorted.len() / 2).copied()
            }
        }
    }
}

/// Python's `sum` before 3.12: left to right.
fn sum(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |total, value| total + value)
}

/// `bootstrap_stderr(f, xs, iters)`. Iterations that do not fill a chunk are not run, as in the original: the number of
/// replicates is a multiple of the chunk. `None` below two replicates or without values.
pub fn harness_bootstrap(aggregation: HarnessAggregation, values: &[f64], iterations: usize) -> Option<f64> {
    let chunk = iterations.min(1000);
    if chunk == 0 || values.is_empty() {
        return None;
    }
    let replicates: Vec<Vec<f64>> = (0..iterations / chunk)
        .into_par_iter()
        .map(|index| chunk_replicates(aggregation, values, chunk, index))
        .collect();
    let replicates = replicates.concat();
    if replicates.len() < 2 {
        return None;
    }
    let mean = sum(&replicates) / replicates.len() as f64;
    let squares: Vec<f64> = replicates.iter().map(|replicate| (replicate - mean).powi(2)).collect();
    Some((sum(&squares) / (replicates.len() - 1) as f64).sqrt())
}

fn chunk_replicates(aggregation: HarnessAggregation, values: &[f64], chunk: usize, index: usize) -> Vec<f64> {
    let mut random = PythonRandom::new(index as u64);
    let mut drawn = Vec::with_capacity(values.len());
    let mut replicates = Vec::with_capacity(chunk);
    for _ in 0..chunk {
        drawn.clear();
        drawn.extend((0..values.len()).filter_map(|_| values.get(random.choice_index(values.len())).copied()));
        replicates.extend(aggregation.of(&drawn));
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
        let value = HarnessAggregation::Perplexity.of(&LIKELIHOODS).expect("five values");
        assert!((value - 5.4739473917272).abs() < 1e-13);
        let error = harness_bootstrap(HarnessAggregation::Perplexity, &LIKELIHOODS, 2000);
        assert_eq!(error, Some(2.3159588745660904));
    }

    #[test]
    fn the_median_is_the_upper_middle() {
        assert_eq!(HarnessAggregation::Median.of(&[4.0, 1.0, 3.0, 2.0]), Some(3.0));
        assert_eq!(HarnessAggregation::Mean.of(&[]), None);
        assert_eq!(harness_bootstrap(HarnessAggregation::Mean, &[1.0], 0), None);
    }
}
