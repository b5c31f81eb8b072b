//! Means and covariances of activations and of a concept, gathered batch by batch.
//!
//! Batches are merged by the update of Welford (1962) in the pairwise form of Chan, Golub and LeVeque (1979): nothing
//! but one mean and one scatter is kept, and no difference of large sums is ever formed. Cost: O(n w²) a batch,
//! O(w²) memory.

use super::matrix::{Matrix, Vector};

/// Moments of activations x `[w]` and of a concept z `[c]` seen together.
#[derive(Debug, Clone)]
pub struct Moments {
    count: f64,
    mean_w: Vector,
    mean_c: Vector,
    scatter_ww: Matrix,
    scatter_wc: Matrix,
}

impl Moments {
    /// Nothing seen, for activations of width `width` and a concept of `columns` columns.
    pub fn new(width: usize, columns: usize) -> Self {
        Self {
            count: 0.0,
            mean_w: Vector::zeros(width),
            mean_c: Vector::zeros(columns),
            scatter_ww: Matrix::zeros(width, width),
            scatter_wc: Matrix::zeros(width, columns),
        }
    }

    /// Adds a batch: activations `[n, w]` and concepts `[n, c]`, row by row. A batch of other widths, or without rows,
    /// changes nothing and gives `false`.
    pub fn add(&mut self, x_nw: &Matrix, z_nc: &Matrix) -> bool {
        let rows = x_nw.nrows();
        let fits = x_nw.ncols() == self.mean_w.len() && z_nc.ncols() == self.mean_c.len() && z_nc.nrows() == rows;
        if !fits || rows == 0 {
            return false;
        }
        let added = rows as f64;
        let (x_mean, z_mean) = (x_nw.row_mean().transpose(), z_nc.row_mean().transpose());
        let (x_own, z_own) = (centred(x_nw, &x_mean), centred(z_nc, &z_mean));
        let (x_step, z_step) = (&x_mean - &self.mean_w, &z_mean - &self.mean_c);
        let total = self.count + added;
        let between = self.count * added / total;
        self.scatter_ww += x_own.tr_mul(&x_own) + &x_step * x_step.transpose() * between;
        self.scatter_wc += x_own.tr_mul(&z_own) + &x_step * z_step.transpose() * between;
        self.mean_w += x_step * (added / total);
        self.mean_c += z_step * (added / total);
        self.count = total;
        true
    }

    /// Rows seen.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The mean activation `[w]`.
    pub fn mean(&self) -> &Vector {
        &self.mean_w
    }

    /// Σ_xx `[w, w]`, divided by n.
    pub fn covariance(&self) -> Matrix {
        &self.scatter_ww / self.count.max(1.0)
    }

    /// Σ_xz `[w, c]`, divided by n.
    pub fn cross_covariance(&self) -> Matrix {
        &self.scatter_wc / self.count.max(1.0)
    }
}

/// The rows less a mean.
pub(super) fn centred(x_nw: &Matrix, mean_w: &Vector) -> Matrix {
    let mut own = x_nw.clone();
    for (mut column, mean) in own.column_iter_mut().zip(mean_w.iter()) {
        column.add_scalar_mut(-mean);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_to_the_whole() {
        let x = Matrix::from_fn(11, 3, |i, j| 1e6 + ((i * 7 + j * 5) % 13) as f64);
        let z = Matrix::from_fn(11, 2, |i, j| ((i + j) % 3) as f64);
        let mut parts = Moments::new(3, 2);
        for (start, rows) in [(0, 4), (4, 1), (5, 6)] {
            assert!(parts.add(&x.rows(start, rows).into_owned(), &z.rows(start, rows).into_owned()));
        }
        let mean = x.row_mean();
        let by_hand =
            |a: usize, b: usize| (0..11).map(|i| (x[(i, a)] - mean[a]) * (x[(i, b)] - mean[b])).sum::<f64>() / 11.0;
        assert_eq!(parts.count(), 11);
        for (a, b) in [(0, 0), (0, 2), (1, 2)] {
            assert!((parts.covariance()[(a, b)] - by_hand(a, b)).abs() < 1e-8, "no digits are lost to the offset");
        }
        let z_mean = z.row_mean();
        let cross = (0..11).map(|i| (x[(i, 1)] - mean[1]) * (z[(i, 0)] - z_mean[0])).sum::<f64>() / 11.0;
        assert!((parts.cross_covariance()[(1, 0)] - cross).abs() < 1e-9);
        assert!(!parts.add(&x, &Matrix::zeros(11, 1)) && parts.count() == 11, "another width changes nothing");
    }
}
