//! Tests of a circuit on numbers alone (Shi et al. 2024, arXiv 2410.13032, with their null hypotheses).
//!
//! A test's items are clusters of pairs: the pairs of one template are not independent. The equivalence test asks for
//! the *share* of clusters on which the circuit scores higher, as the paper's text does.

use crate::base::Seed;
use crate::base::seed::shuffle;
use crate::stats::circuit::HypothesisTest;
use crate::stats::{binomial_at_least, binomial_at_most};

/// Equivalence. Null: |P(circuit > model) − ½| ≤ `margin`. With k of n the larger of the counts above and below (a tie
/// counts half to each), p = P(X ≥ k) for X of Binomial(n, ½ + margin). Passed where the null stands.
pub fn equivalence_share(circuit: &[f64], model: &[f64], margin: f64, alpha: f64) -> HypothesisTest {
    let n = circuit.len().min(model.len());
    let halves: usize = circuit
        .iter()
        .zip(model)
        .map(|(circuit, model)| match circuit.total_cmp(model) {
            std::cmp::Ordering::Greater => 2,
            std::cmp::Ordering::Equal => 1,
            std::cmp::Ordering::Less => 0,
        })
        .sum();
    let larger = halves.max(2 * n - halves) / 2;
    let p_value = binomial_at_least(larger, n, 0.5 + margin);
    HypothesisTest {
        name: "equivalence".into(),
        null: format!("the circuit scores above the model on a share of ½ ± {margin}"),
        statistic: halves as f64 / (2 * n.max(1)) as f64,
        p_value,
        n,
        passed: p_value >= alpha,
    }
}

/// Independence. Null: the scores of the complement (the model with the circuit cut) are independent of the model's.
/// Statistic: HSIC with Gaussian kernels of median bandwidth (Gretton et al. 2008), p by permutation. Passed where the
/// null stands: what the circuit leaves behind says nothing about the model's answer.
pub fn independence(complement: &[f64], model: &[f64], permutations: usize, alpha: f64, seed: Seed) -> HypothesisTest {
    let n = complement.len().min(model.len());
    let (k, l) = (centred(&kernel(complement, n)), kernel(model, n));
    let mut order: Vec<usize> = (0..n).collect();
    let observed = hsic(&k, &l, &order);
    let mut rng = seed.rng();
    let mut extreme = 0usize;
    for _ in 0..permutations {
        shuffle(&mut rng, &mut order);
        extreme += usize::from(hsic(&k, &l, &order) >= observed * (1.0 - 1e-12));
    }
    let p_value = (1 + extreme) as f64 / (1 + permutations) as f64;
    HypothesisTest {
        name: "independence".into(),
        null: "the complement's scores are independent of the model's".into(),
        statistic: observed,
        p_value,
        n,
        passed: p_value >= alpha,
    }
}

/// Of `n` random draws `below` lie below the candidate. Null of the two tests against random circuits: the candidate
/// beats at most a share `quantile` of them, p = P(X ≥ below). Null of minimality: an edge beats at least that share of
/// randomly added ones, p = P(X ≤ below).
pub fn share_below(name: &str, below: usize, n: usize, quantile: f64, alpha: f64) -> HypothesisTest {
    let ideal = name == "minimality";
    let (null, p_value) = match ideal {
        true => (
            format!("the edge matters more than a share {quantile} of randomly added ones"),
            binomial_at_most(below, n, quantile),
        ),
        false => (
            format!("the circuit beats at most a share {quantile} of random circuits"),
            binomial_at_least(below, n, quantile),
        ),
    };
    let rejected = p_value < alpha;
    let statistic = below as f64 / n.max(1) as f64;
    HypothesisTest { name: name.into(), null, statistic, p_value, n, passed: rejected != ideal }
}

/// exp(−(x_i − x_j)² / 2σ²) with σ the median of the distances that are not 0; ones where all values are the same.
fn kernel(values: &[f64], n: usize) -> Vec<Vec<f64>> {
    let values: Vec<f64> = values.iter().copied().take(n).collect();
    let mut distances: Vec<f64> = Vec::new();
    for (number, a) in values.iter().enumerate() {
        distances.extend(values.iter().skip(number + 1).map(|b| (a - b).abs()).filter(|distance| *distance > 0.0));
    }
    distances.sort_by(f64::total_cmp);
    let width = distances.get(distances.len() / 2).copied().unwrap_or(1.0);
    let entry = |a: &f64, b: &f64| (-(a - b).powi(2) / (2.0 * width * width)).exp();
    values.iter().map(|a| values.iter().map(|b| entry(a, b)).collect()).collect()
}

/// H K H with H = I − 1/n.
fn centred(kernel: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = kernel.len().max(1) as f64;
    let means: Vec<f64> = kernel.iter().map(|row| row.iter().sum::<f64>() / n).collect();
    let all = means.iter().sum::<f64>() / n;
    let row = |(row, own): (&Vec<f64>, &f64)| row.iter().zip(&means).map(|(x, other)| x - own - other + all).collect();
    kernel.iter().zip(&means).map(row).collect()
}

/// trace(H K H L) / n² with L's rows and columns in `order`.
fn hsic(centred: &[Vec<f64>], other: &[Vec<f64>], order: &[usize]) -> f64 {
    let n = order.len().max(1) as f64;
    let at = |row: usize, column: usize| other.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0.0);
    let rows = centred.iter().zip(order);
    let total: f64 = rows.map(|(row, &i)| row.iter().zip(order).map(|(value, &j)| value * at(i, j)).sum::<f64>()).sum();
    total / (n * n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::seed::normal;

    #[test]
    fn equivalence_counts_a_share_and_not_a_mean() {
        // One huge difference: the mean of differences is far from ½, the share of positive ones is ½.
        let model = vec![0.0; 20];
        let circuit: Vec<f64> = (0..20)
            .map(|at| {
                if at == 0 {
                    1e6
                } else if at % 2 == 0 {
                    0.1
                } else {
                    -0.1
                }
            })
            .collect();
        let even = equivalence_share(&circuit, &model, 0.1, 0.05);
        assert!(even.passed && even.statistic == 0.5 && even.p_value > 0.8, "{even:?}");
        // All above by a hair: P(X = 20) = 0.6^20.
        let above = equivalence_share(&[1e-9; 20], &model, 0.1, 0.05);
        assert!(!above.passed && (above.p_value - 0.6f64.powi(20)).abs() < 1e-12, "{above:?}");
        assert_eq!(above.p_value, equivalence_share(&[-1.0; 20], &model, 0.1, 0.05).p_value);
        let same = equivalence_share(&model, &model, 0.1, 0.05);
        assert!(same.passed && same.statistic == 0.5);
    }

    #[test]
    fn independence_sees_a_relation_without_correlation() {
        let mut rng = Seed::new(4).rng();
        let x: Vec<f64> = (0..60).map(|_| normal(&mut rng)).collect();
        let noise: Vec<f64> = (0..60).map(|_| normal(&mut rng)).collect();
        let square: Vec<f64> = x.iter().map(|x| x * x).collect();
        let test = |other: &[f64]| independence(other, &x, 500, 0.05, Seed::new(9));
        assert!(test(&noise).passed, "{:?}", test(&noise));
        assert!(!test(&square).passed && test(&square).p_value < 0.01, "{:?}", test(&square));
        assert!(test(&[1.0; 60]).passed, "a constant is independent of everything");
    }

    #[test]
    fn independence_keeps_its_level() {
        let rejected = (0..200).filter(|&run| {
            let mut rng = Seed::new(run).rng();
            let mut draw = || (0..15).map(|_| normal(&mut rng)).collect::<Vec<f64>>();
            let (x, y) = (draw(), draw());
            !independence(&x, &y, 99, 0.1, Seed::new(1000 + run)).passed
        });
        // 20 expected, three standard errors are 13.
        let rejected = rejected.count();
        assert!((7..=33).contains(&rejected), "{rejected}");
    }

    #[test]
    fn shares_of_random_circuits_are_binomial() {
        // All 30 beaten: 0.9^30 = 0.0424.
        let all = share_below("sufficiency", 30, 30, 0.9, 0.05);
        assert!(all.passed && (all.p_value - 0.9f64.powi(30)).abs() < 1e-12, "{all:?}");
        assert!(!share_below("sufficiency", 29, 30, 0.9, 0.05).passed);
        // The idealised null of minimality stands where the edge beats enough, and falls where it beats none.
        assert!(share_below("minimality", 28, 30, 0.9, 0.05).passed);
        let none = share_below("minimality", 0, 30, 0.9, 0.05);
        assert!(!none.passed && none.p_value < 1e-20);
    }
}
