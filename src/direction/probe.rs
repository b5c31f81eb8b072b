//! Linear probes: multinomial logistic regression with an L2 penalty.
//!
//! Minimises  mean_i −log softmax(W ẑ_i + b)_{y_i} + λ/2 ‖W‖²  over standardised activations ẑ; λ has no unit. The
//! intercept is not penalised. Cost: O(n w c) an iteration of L-BFGS.

use nalgebra::RowDVector;

use super::error::DirectionError;
use super::matrix::{Matrix, Vector};
use super::minimise::minimise;
use super::moments::centred;

/// The gradient at which a fit is taken as converged.
const CONVERGED: f64 = 1e-7;

/// The class of each row, of `count` classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    labels: Vec<usize>,
    count: usize,
}

impl Classes {
    /// Labels from 0 to `count` − 1. Refused where one lies outside, or fewer than two classes occur.
    pub fn new(labels: Vec<usize>, count: usize) -> Result<Self, DirectionError> {
        let mut seen = vec![false; count];
        for &label in &labels {
            match seen.get_mut(label) {
                Some(slot) => *slot = true,
                None => return Err(DirectionError::Classes { items: labels.len(), classes: count }),
            }
        }
        match seen.iter().filter(|seen| **seen).count() < 2 {
            true => Err(DirectionError::Classes { items: labels.len(), classes: seen.iter().filter(|s| **s).count() }),
            false => Ok(Self { labels, count }),
        }
    }

    /// The labels.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One column a class, 1 where a row is of it: the concept `[n, c]` that an eraser takes.
    pub fn indicators(&self) -> Matrix {
        let mut z_nc = Matrix::zeros(self.labels.len(), self.count);
        for (mut row, &label) in z_nc.row_iter_mut().zip(&self.labels) {
            row.iter_mut().skip(label).take(1).for_each(|entry| *entry = 1.0);
        }
        z_nc
    }

    /// The rows' share of each class.
    pub fn shares(&self) -> Vec<f64> {
        let rows = self.labels.len().max(1) as f64;
        (0..self.count).map(|class| self.labels.iter().filter(|label| **label == class).count() as f64 / rows).collect()
    }
}

/// A fitted probe.
#[derive(Debug, Clone)]
pub struct Probe {
    /// `[w, c]`, of activations as they are, columns summing to 0.
    weights_wc: Matrix,
    intercept_c: Vector,
}

impl Probe {
    /// Fits on rows `[n, w]` with penalty λ = `penalty`.
    pub fn fit(x_nw: &Matrix, classes: &Classes, penalty: f64) -> Result<Self, DirectionError> {
        let (rows, width, count) = (x_nw.nrows(), x_nw.ncols(), classes.count());
        if rows != classes.labels().len() || rows == 0 {
            return Err(DirectionError::Classes { items: rows, classes: count });
        }
        let mean_w: Vector = x_nw.row_mean().transpose();
        let own = centred(x_nw, &mean_w);
        let spread: Vec<f64> = own.column_iter().map(|column| (column.norm_squared() / rows as f64).sqrt()).collect();
        let largest = spread.iter().copied().fold(0.0, f64::max);
        let scale: Vec<f64> = spread.into_iter().map(|sd| if sd > 1e-9 * largest { sd } else { 1.0 }).collect();
        let mut z_nw = own;
        for (mut column, scale) in z_nw.column_iter_mut().zip(&scale) {
            column /= *scale;
        }
        let wanted_nc = classes.indicators();
        let mut start = Matrix::zeros(width + 1, count);
        for (mut column, share) in start.column_iter_mut().zip(classes.shares()) {
            column.iter_mut().skip(width).for_each(|entry| *entry = share.max(1e-6).ln());
        }
        let start = Vector::from_column_slice(start.as_slice());
        let found = minimise(start, CONVERGED, |flat| loss(flat, &z_nw, &wanted_nc, penalty));
        let found = Matrix::from_column_slice(width + 1, count, found.as_slice());
        let mut weights_wc = found.rows(0, width).into_owned();
        for (mut row, scale) in weights_wc.row_iter_mut().zip(&scale) {
            let mean = row.mean();
            row.add_scalar_mut(-mean);
            row /= *scale;
        }
        let intercept_c = found.row(width).transpose() - weights_wc.tr_mul(&mean_w);
        Ok(Self { weights_wc, intercept_c })
    }

    /// W `[w, c]`.
    pub fn coefficients(&self) -> &Matrix {
        &self.weights_wc
    }

    /// The likeliest class of each row `[n, w]`.
    pub fn predict(&self, x_nw: &Matrix) -> Vec<usize> {
        let scores_nc = x_nw * &self.weights_wc;
        let best = |row: Vec<f64>| {
            let scored = row.iter().zip(self.intercept_c.iter()).map(|(score, intercept)| score + intercept);
            scored.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(class, _)| class)
        };
        scores_nc.row_iter().map(|row| best(row.iter().copied().collect())).collect()
    }
}

/// The penalised loss and its gradient at parameters `[(w + 1) · c]`, intercepts in the last row.
fn loss(flat: &Vector, z_nw: &Matrix, wanted_nc: &Matrix, penalty: f64) -> (f64, Vector) {
    let (rows, width) = z_nw.shape();
    let parameters = Matrix::from_column_slice(width + 1, wanted_nc.ncols(), flat.as_slice());
    let weights = parameters.rows(0, width);
    let mut scores_nc = z_nw * weights;
    let intercept: RowDVector<f64> = parameters.row(width).into_owned();
    let mut value = 0.0;
    for (mut row, wanted) in scores_nc.row_iter_mut().zip(wanted_nc.row_iter()) {
        row += &intercept;
        let top = row.max();
        row.add_scalar_mut(-top);
        let total: f64 = row.iter().map(|score| score.exp()).sum();
        value += total.ln() - row.dot(&wanted);
        row.apply(|score| *score = score.exp() / total);
    }
    let errors_nc = (scores_nc - wanted_nc) / rows as f64;
    let mut gradient = Matrix::zeros(width + 1, wanted_nc.ncols());
    gradient.rows_mut(0, width).copy_from(&(z_nw.tr_mul(&errors_nc) + weights * penalty));
    gradient.row_mut(width).copy_from(&errors_nc.row_sum());
    let value = value / rows as f64 + 0.5 * penalty * weights.norm_squared();
    (value, Vector::from_column_slice(gradient.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_binary_column_gives_the_log_odds_ratio() {
        // Counts 3:1 and 1:3, so the slope is 2 ln 3 (the same case as the unpenalised logit's).
        let x = Matrix::from_column_slice(8, 1, &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        let classes = Classes::new(vec![1, 0, 0, 0, 1, 1, 1, 0], 2).expect("two classes");
        let probe = Probe::fit(&x, &classes, 0.0).expect("fit");
        let slope = probe.coefficients()[(0, 1)] - probe.coefficients()[(0, 0)];
        assert!((slope - 2.0 * 3f64.ln()).abs() < 1e-4, "{slope}");
        assert_eq!(probe.predict(&x), [0, 0, 0, 0, 1, 1, 1, 1]);
        let held = Probe::fit(&x, &classes, 1.0).expect("fit");
        assert!((held.coefficients()[(0, 1)] - held.coefficients()[(0, 0)]).abs() < 1.0, "the penalty shrinks");
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let z = Matrix::from_fn(7, 2, |i, j| ((i * 3 + j * 5) % 7) as f64 / 3.0 - 1.0);
        let wanted = Classes::new(vec![0, 1, 2, 0, 1, 2, 1], 3).expect("three").indicators();
        let at = Vector::from_fn(9, |i, _| (i as f64 - 4.0) / 5.0);
        let (_, gradient) = loss(&at, &z, &wanted, 0.3);
        for i in 0..9 {
            let nudged = |by: f64| {
                let mut moved = at.clone();
                moved[i] += by;
                loss(&moved, &z, &wanted, 0.3).0
            };
            let slope = (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
            assert!((slope - gradient[i]).abs() < 1e-8, "{i}: {slope} against {}", gradient[i]);
        }
    }

    #[test]
    fn one_class_is_refused() {
        let error = Classes::new(vec![1, 1, 1], 2).expect_err("one class").to_string();
        assert!(error.contains('3'), "{error}");
        assert!(Classes::new(vec![0, 2], 2).is_err());
    }
}
