//! A basis that is trained and stays orthonormal.
//!
//! The basis B `[w, k]` is a point of the Stiefel manifold. With G = dL/dB, the gradient along the manifold is
//! G − B sym(BᵀG) (Euclidean metric); its running mean M is projected the same way at each new point, and the step is
//!
//! ```text
//! M ← β₁ proj(M) + (1 − β₁) proj(G)      v ← β₂ v + (1 − β₂) ‖proj(G)‖²
//! B ← qf(B − η · M̂ / (√v̂ + ε))
//! ```
//!
//! with the bias corrections of Adam and one scale for the whole matrix, so that a step is about η long in the norm of
//! Frobenius and does not depend on the coordinates (Li, Li and Todorovic 2020, arXiv 2002.01113, with QR in place of
//! their Cayley iteration: exact for any k at O(w k²)). qf is the orthonormal factor of QR with a positive diagonal
//! (Absil, Mahony and Sepulchre 2008, 4.1). Arithmetic in double precision.

use super::error::DirectionError;
use super::matrix::{Matrix, defect, retract};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.99;
const EPSILON: f64 = 1e-12;
/// The largest entry of BᵀB − I that is let pass after a step.
const TOLERANCE: f64 = 1e-9;

/// A basis with the state of its optimizer.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    basis_wk: Matrix,
    mean_wk: Matrix,
    square: f64,
    steps: usize,
}

impl Rotation {
    /// Starts at a basis.
    pub fn new(basis_wk: &Matrix) -> Self {
        let (width, rank) = basis_wk.shape();
        Self { basis_wk: retract(basis_wk), mean_wk: Matrix::zeros(width, rank), square: 0.0, steps: 0 }
    }

    /// The basis `[w, k]`.
    pub fn basis(&self) -> &Matrix {
        &self.basis_wk
    }

    /// One step against the gradient `[w, k]`.
    pub fn step(&mut self, gradient_wk: &Matrix, rate: f64) -> Result<(), DirectionError> {
        self.steps += 1;
        let along = self.along(gradient_wk);
        self.mean_wk = self.along(&self.mean_wk) * BETA1 + &along * (1.0 - BETA1);
        self.square = BETA2 * self.square + (1.0 - BETA2) * along.norm_squared();
        let count = self.steps as i32;
        let length = (self.square / (1.0 - BETA2.powi(count))).sqrt() + EPSILON;
        let step = &self.mean_wk * (rate / (1.0 - BETA1.powi(count)) / length);
        self.basis_wk = retract(&(&self.basis_wk - step));
        match defect(&self.basis_wk) {
            off if off <= TOLERANCE => Ok(()),
            off => Err(DirectionError::NotOrthonormal { step: self.steps, defect: off }),
        }
    }

    /// The part of `[w, k]` along the manifold.
    fn along(&self, matrix_wk: &Matrix) -> Matrix {
        let product = self.basis_wk.tr_mul(matrix_wk);
        matrix_wk - &self.basis_wk * ((&product + product.transpose()) * 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::direction::matrix::{principal_angles, random_basis};

    #[test]
    fn it_finds_the_leading_subspace_and_stays_orthonormal() {
        // L = −tr(Bᵀ S B) is least on the leading eigenvectors of S, which are known here.
        let truth = random_basis(12, 3, &Seed::new(2));
        let s = &truth * truth.transpose() * 4.0 + Matrix::identity(12, 12) * 0.5;
        let mut rotation = Rotation::new(&random_basis(12, 3, &Seed::new(9)));
        assert!(principal_angles(rotation.basis(), &truth).last().is_some_and(|angle| *angle > 20.0));
        for step in 0..200 {
            let gradient = &s * rotation.basis() * -2.0;
            rotation.step(&gradient, 0.2 * (1.0 - step as f64 / 200.0)).expect("a step");
            assert!(defect(rotation.basis()) < 1e-12);
        }
        assert!(principal_angles(rotation.basis(), &truth).iter().all(|angle| *angle < 0.5));
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_an_error() {
        let mut rotation = Rotation::new(&random_basis(5, 2, &Seed::new(2)));
        let gradient = Matrix::from_element(5, 2, f64::NAN);
        let error = rotation.step(&gradient, 0.1).expect_err("no step").to_string();
        assert!(error.contains("after 1 steps"), "{error}");
    }
}
