//! Erasers: affine maps after which a concept cannot be read linearly.
//!
//! r(x) = x − L R (x − μ), with L `[w, k]`, R `[k, w]` and R L = I, so that erasing twice is erasing once.
//!
//! *LEACE* (Belrose et al. 2023, arXiv 2306.03819): with W = Σ_xx^−½ (pseudo-inverse) and U the left singular vectors of
//! W Σ_xz, L = Σ_xx^½ U and R = Uᵀ W. The erased activations have no covariance with the concept, so no linear
//! classifier under a convex loss does better than a constant; of all such maps it moves x least in the norm of Σ_xx.
//! *Orthogonal*: L = B, R = Bᵀ of an orthonormal basis B: the coordinates in the subspace are set to those of the mean.
//! It moves x less in the plain norm, and promises nothing about what can still be read.

use candle_core::{Device, Tensor};
use nalgebra::linalg::SVD;

use super::error::DirectionError;
use super::matrix::{Matrix, Vector, from_tensor, roots, span, to_tensor};
use super::moments::{Moments, centred};

/// Canonical directions whose singular value is this much smaller than the largest are noise of the arithmetic.
const ABSENT: f64 = 1e-9;

/// An affine map that removes k directions from activations of width w.
#[derive(Debug, Clone, PartialEq)]
pub struct Eraser {
    mean_w: Vector,
    left_wk: Matrix,
    right_kw: Matrix,
}

impl Eraser {
    /// The LEACE eraser of a concept. k is the rank of Σ_xz, at most the concept's columns (for c classes given as
    /// indicators, c − 1). Refused where the concept does not vary together with any activation.
    pub fn leace(moments: &Moments) -> Result<Self, DirectionError> {
        let (half, inverse) = roots(&moments.covariance());
        let whitened = &inverse * moments.cross_covariance();
        let nothing = || DirectionError::NothingToErase { items: moments.count() };
        let svd = SVD::new(whitened, true, false);
        let left = svd.u.ok_or_else(nothing)?;
        let largest = svd.singular_values.amax();
        let kept = svd.singular_values.iter().enumerate().filter(|(_, value)| **value > ABSENT * largest);
        let columns: Vec<Vector> = kept.map(|(index, _)| left.column(index).into_owned()).collect();
        if columns.is_empty() || largest <= ABSENT {
            return Err(nothing());
        }
        let u = Matrix::from_columns(&columns);
        Ok(Self { mean_w: moments.mean().clone(), left_wk: half * &u, right_kw: u.tr_mul(&inverse) })
    }

    /// The orthogonal eraser of a subspace with basis `[w, k]`, around a mean `[w]`.
    pub fn orthogonal(basis_wk: &Matrix, mean_w: &Vector) -> Self {
        Self { mean_w: mean_w.clone(), left_wk: basis_wk.clone(), right_kw: basis_wk.transpose() }
    }

    /// One from the tensors of [`Eraser::tensors`]; refused where their shapes do not belong together.
    pub fn from_tensors([mean_w, left_wk, right_kw]: [&Tensor; 3]) -> Result<Self, DirectionError> {
        let made = Self {
            mean_w: Vector::from_iterator(mean_w.elem_count(), from_tensor(&mean_w.reshape((1, ()))?)?.iter().copied()),
            left_wk: from_tensor(left_wk)?,
            right_kw: from_tensor(right_kw)?,
        };
        let (width, rank) = made.left_wk.shape();
        if made.mean_w.len() != width || made.right_kw.shape() != (rank, width) {
            let found = [mean_w.dims(), left_wk.dims(), right_kw.dims()];
            return Err(candle_core::Error::Msg(format!("an eraser's tensors have shapes {found:?}")).into());
        }
        Ok(made)
    }

    /// μ `[w]`, L `[w, k]` and R `[k, w]` in single precision.
    pub fn tensors(&self, device: &Device) -> Result<[Tensor; 3], DirectionError> {
        let mean = Matrix::from_iterator(1, self.mean_w.len(), self.mean_w.iter().copied());
        Ok([
            to_tensor(&mean, device)?.squeeze(0)?,
            to_tensor(&self.left_wk, device)?,
            to_tensor(&self.right_kw, device)?,
        ])
    }

    /// The width of the activations.
    pub fn width(&self) -> usize {
        self.left_wk.nrows()
    }

    /// How many directions it removes.
    pub fn rank(&self) -> usize {
        self.left_wk.ncols()
    }

    /// The mean that erased activations keep.
    pub fn mean(&self) -> &Vector {
        &self.mean_w
    }

    /// An orthonormal basis `[w, k]` of what the map takes away (the columns of L).
    pub fn removed(&self) -> Matrix {
        span(&self.left_wk)
    }

    /// L R `[w, w]`: what is taken away of x − μ.
    pub fn projection(&self) -> Matrix {
        &self.left_wk * &self.right_kw
    }

    /// Rows `[n, w]` erased.
    pub fn apply(&self, x_nw: &Matrix) -> Matrix {
        x_nw - centred(x_nw, &self.mean_w) * self.right_kw.transpose() * self.left_wk.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::base::seed::normal;
    use crate::direction::probe::{Classes, Probe};

    /// Two or more classes whose means differ in some directions, correlated noise of unlike scales, and a ramp that
    /// goes along with the class. The setting of concept-erasure's own test, drawn here.
    fn synthetic(rows: usize, width: usize, classes: usize) -> (Matrix, Classes) {
        let mut rng = Seed::new(42).fork("synthetic").rng();
        let mix = Matrix::from_fn(width, width, |i, j| normal(&mut rng) * if i == j { 2.0 } else { 0.3 });
        let shift = Matrix::from_fn(classes, width, |_, j| if j % 4 == 0 { normal(&mut rng) } else { 0.0 });
        let labels: Vec<usize> = (0..rows).map(|row| row % classes).collect();
        let noise = Matrix::from_fn(rows, width, |_, _| normal(&mut rng));
        let x = noise * mix + Matrix::from_fn(rows, width, |i, j| shift[(labels[i], j)]);
        (x, Classes::new(labels, classes).expect("classes"))
    }

    fn fitted(x: &Matrix, z: &Matrix) -> (Moments, Eraser) {
        let mut moments = Moments::new(x.ncols(), z.ncols());
        for start in (0..x.nrows()).step_by(500) {
            let rows = 500.min(x.nrows() - start);
            assert!(moments.add(&x.rows(start, rows).into_owned(), &z.rows(start, rows).into_owned()));
        }
        let eraser = Eraser::leace(&moments).expect("a concept");
        (moments, eraser)
    }

    fn cross(x: &Matrix, z: &Matrix) -> f64 {
        let mut moments = Moments::new(x.ncols(), z.ncols());
        moments.add(x, z);
        moments.cross_covariance().amax()
    }

    fn largest_coefficient(x: &Matrix, classes: &Classes) -> f64 {
        Probe::fit(x, classes, 1e-6).expect("fit").coefficients().amax()
    }

    #[test]
    fn after_leace_a_logistic_regression_learns_nothing() {
        // reference: 2048 × 128, two classes: sup-norm of the coefficients above 0.1 before, below 1e-4 after.
        let (x, classes) = synthetic(2048, 128, 2);
        let z = classes.indicators();
        let (_, eraser) = fitted(&x, &z);
        assert_eq!(eraser.rank(), 1);
        let erased = eraser.apply(&x);
        let (before, after) = (largest_coefficient(&x, &classes), largest_coefficient(&erased, &classes));
        assert!(before > 0.1, "{before}");
        assert!(after < 1e-4, "{after}");
        assert!(cross(&x, &z) > 0.05 && cross(&erased, &z) < 1e-6, "{} {}", cross(&x, &z), cross(&erased, &z));
        assert!((eraser.apply(&erased) - &erased).amax() < 1e-9, "erasing twice is erasing once");
        assert!((erased.row_mean() - x.row_mean()).amax() < 1e-9, "the mean stays");
        assert!(x.row_mean().amax() > 1e-2, "there is a mean to keep");
        // The orthogonal projection on the same direction is another map, and leaves nothing of the mean either; but
        // projecting out the direction that a probe uses does leave some.
        let probe = Probe::fit(&x, &classes, 1e-3).expect("fit");
        let naive = Eraser::orthogonal(&span(probe.coefficients()), eraser.mean());
        assert!(cross(&naive.apply(&x), &z) > 1e-3, "{}", cross(&naive.apply(&x), &z));
    }

    #[test]
    fn many_classes_and_several_columns_are_erased_together() {
        let (x, classes) = synthetic(900, 24, 5);
        let (_, eraser) = fitted(&x, &classes.indicators());
        assert_eq!(eraser.rank(), 4, "five classes span four directions");
        assert!(largest_coefficient(&x, &classes) > 0.1);
        assert!(largest_coefficient(&eraser.apply(&x), &classes) < 1e-4);
        let mut rng = Seed::new(1).rng();
        let z = Matrix::from_fn(900, 3, |i, j| x[(i, j)] * 0.5 + normal(&mut rng));
        let (_, eraser) = fitted(&x, &z);
        assert_eq!(eraser.rank(), 3);
        assert!(cross(&x, &z) > 0.1 && cross(&eraser.apply(&x), &z) < 1e-6);
    }

    #[test]
    fn it_moves_less_than_the_orthogonal_map_in_the_norm_that_it_minimises() {
        let (x, classes) = synthetic(900, 24, 2);
        let (moments, eraser) = fitted(&x, &classes.indicators());
        let naive = Eraser::orthogonal(&eraser.removed(), eraser.mean());
        assert!(cross(&naive.apply(&x), &classes.indicators()) < 1e-6, "it erases too");
        let (_, inverse) = roots(&moments.covariance());
        let moved = |eraser: &Eraser| ((&x - eraser.apply(&x)) * &inverse).norm_squared();
        assert!(moved(&eraser) < moved(&naive), "{} against {}", moved(&eraser), moved(&naive));
    }

    #[test]
    fn nothing_to_erase_is_said() {
        let x = Matrix::from_fn(8, 3, |i, j| ((i * 3 + j) % 5) as f64);
        let mut moments = Moments::new(3, 1);
        moments.add(&x, &Matrix::from_element(8, 1, 1.0));
        let error = Eraser::leace(&moments).expect_err("a constant").to_string();
        assert!(error.contains("8"), "{error}");
    }

    #[test]
    fn tensors_are_the_same_map() {
        let (x, classes) = synthetic(200, 6, 2);
        let (_, eraser) = fitted(&x, &classes.indicators());
        let tensors = eraser.tensors(&Device::Cpu).expect("tensors");
        let back = Eraser::from_tensors([&tensors[0], &tensors[1], &tensors[2]]).expect("the same");
        assert!((back.apply(&x) - eraser.apply(&x)).amax() < 1e-5);
        assert!(Eraser::from_tensors([&tensors[0], &tensors[2], &tensors[1]]).is_err());
    }
}
