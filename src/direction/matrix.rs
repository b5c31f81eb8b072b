//! Dense matrices in double precision: orthonormal bases, angles between subspaces, roots of covariances.
//!
//! A basis of a subspace of R^w is a matrix `[w, k]` with orthonormal columns. Sizes are those of activations, up to
//! about a thousand: an eigendecomposition takes about a second there.

use candle_core::{DType, Device, Tensor};
use nalgebra::linalg::{QR, SVD, SymmetricEigen};

use crate::base::Seed;
use crate::base::seed::normal;

/// A matrix of doubles.
pub type Matrix = nalgebra::DMatrix<f64>;
/// A column of doubles.
pub type Vector = nalgebra::DVector<f64>;

/// Directions whose singular value is this much smaller than the largest are taken as absent.
const ABSENT: f64 = 1e-9;

/// A tensor `[n, w]` as a matrix.
pub fn from_tensor(tensor: &Tensor) -> candle_core::Result<Matrix> {
    let (rows, columns) = tensor.dims2()?;
    let values: Vec<f32> = tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Ok(Matrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from)))
}

/// A matrix as a tensor of the same shape, in single precision.
pub fn to_tensor(matrix: &Matrix, device: &Device) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = matrix.transpose().iter().map(|value| *value as f32).collect();
    Tensor::from_vec(values, (matrix.nrows(), matrix.ncols()), device)
}

/// An orthonormal basis `[w, r]` of what the columns of `[w, k]` span, strongest direction first; r may be 0.
pub fn span(columns_wk: &Matrix) -> Matrix {
    span_above(columns_wk, ABSENT)
}

/// The same, without directions whose singular value is below `least` times the largest.
pub fn span_above(columns_wk: &Matrix, least: f64) -> Matrix {
    let empty = || Matrix::zeros(columns_wk.nrows(), 0);
    if columns_wk.ncols() == 0 {
        return empty();
    }
    let svd = SVD::new(columns_wk.clone(), true, false);
    let Some(left) = svd.u else { return empty() };
    let mut order: Vec<(usize, f64)> = svd.singular_values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let largest = order.first().map_or(0.0, |(_, value)| *value);
    let kept = order.iter().filter(|(_, value)| *value > least * largest);
    let columns: Vec<Vector> = kept.map(|(index, _)| left.column(*index).into_owned()).collect();
    if columns.is_empty() { empty() } else { Matrix::from_columns(&columns) }
}

/// The orthonormal matrix that QR takes from `[w, k]`, with R's diagonal positive, so that an orthonormal matrix comes
/// back as itself and near ones near it: the retraction of a step on the manifold of bases.
pub fn retract(matrix_wk: &Matrix) -> Matrix {
    let qr = QR::new(matrix_wk.clone());
    let (mut q, r) = (qr.q(), qr.r());
    for (mut column, sign) in q.column_iter_mut().zip(r.diagonal().iter()) {
        if *sign < 0.0 {
            column.neg_mut();
        }
    }
    q
}

/// The largest entry of BᵀB − I.
pub fn defect(basis_wk: &Matrix) -> f64 {
    let size = basis_wk.ncols();
    (basis_wk.tr_mul(basis_wk) - Matrix::identity(size, size)).amax()
}

/// A basis drawn evenly from all subspaces of dimension k of R^w.
pub fn random_basis(width: usize, rank: usize, seed: &Seed) -> Matrix {
    let mut rng = seed.rng();
    retract(&Matrix::from_fn(width, rank, |_, _| normal(&mut rng)))
}

/// The principal angles between two subspaces of one space, in degrees, ascending, as many as the smaller one has
/// dimensions: arccos of the singular values of AᵀB.
pub fn principal_angles(a_wk: &Matrix, b_wk: &Matrix) -> Vec<f64> {
    if a_wk.ncols() == 0 || b_wk.ncols() == 0 {
        return Vec::new();
    }
    let cosines = SVD::new(a_wk.tr_mul(b_wk), false, false).singular_values;
    let mut angles: Vec<f64> = cosines.iter().map(|cosine| cosine.clamp(0.0, 1.0).acos().to_degrees()).collect();
    angles.sort_by(f64::total_cmp);
    angles
}

/// S^½ and its pseudo-inverse S^−½ of a covariance `[w, w]`. Eigenvalues below w·ε times the largest count as 0.
pub fn roots(covariance_ww: &Matrix) -> (Matrix, Matrix) {
    let eigen = SymmetricEigen::new(covariance_ww.clone());
    let floor = eigen.eigenvalues.amax() * covariance_ww.nrows() as f64 * f64::EPSILON;
    let power = |of: &dyn Fn(f64) -> f64| {
        let values = eigen.eigenvalues.map(|value| if value > floor { of(value) } else { 0.0 });
        let mut scaled = eigen.eigenvectors.clone();
        for (mut column, value) in scaled.column_iter_mut().zip(values.iter()) {
            column *= *value;
        }
        scaled * eigen.eigenvectors.transpose()
    };
    (power(&f64::sqrt), power(&|value| 1.0 / value.sqrt()))
}

/// The fewest eigenvectors of a symmetric positive matrix `[w, w]` that hold `energy` of its trace, at most `most`, as
/// a basis `[w, r]`, strongest first.
pub fn leading(gram_ww: &Matrix, energy: f64, most: usize) -> Matrix {
    let eigen = SymmetricEigen::new(gram_ww.clone());
    let mut order: Vec<(usize, f64)> = eigen.eigenvalues.iter().map(|value| value.max(0.0)).enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = order.iter().map(|(_, value)| value).sum();
    let (mut held, mut columns) = (0.0, Vec::new());
    for (index, value) in order.into_iter().take(most) {
        if held >= energy * total || value <= 0.0 {
            break;
        }
        held += value;
        columns.push(eigen.eigenvectors.column(index).into_owned());
    }
    if columns.is_empty() { Matrix::zeros(gram_ww.nrows(), 0) } else { Matrix::from_columns(&columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_orthonormal_and_spans_have_their_rank() {
        let basis = random_basis(20, 4, &Seed::new(3));
        assert!(defect(&basis) < 1e-12);
        assert!((retract(&basis) - &basis).amax() < 1e-12, "an orthonormal matrix is its own retraction");
        let doubled = Matrix::from_columns(&[basis.column(0) * 3.0, basis.column(1) * 2.0, basis.column(0) * -1.0]);
        let found = span(&doubled);
        assert_eq!(found.ncols(), 2);
        assert!(principal_angles(&found, &basis.columns(0, 2).into_owned()).iter().all(|angle| *angle < 1e-5));
        assert_eq!(span(&Matrix::zeros(5, 2)).ncols(), 0);
    }

    #[test]
    fn angles_are_those_of_the_plane() {
        let axis = |columns: &[[f64; 3]]| Matrix::from_iterator(3, columns.len(), columns.iter().flatten().copied());
        let turned = axis(&[[30f64.to_radians().cos(), 30f64.to_radians().sin(), 0.0]]);
        let angles = principal_angles(&axis(&[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), &turned);
        assert!(angles.len() == 1 && (angles[0] - 30.0).abs() < 1e-9, "{angles:?}");
    }

    #[test]
    fn roots_of_a_degenerate_covariance() {
        let basis = random_basis(6, 3, &Seed::new(5));
        let values = Matrix::from_diagonal(&Vector::from_vec(vec![4.0, 1.0, 0.25]));
        let covariance = &basis * values * basis.transpose();
        let (half, inverse) = roots(&covariance);
        assert!((&half * &half - &covariance).amax() < 1e-10);
        assert!((&half * &inverse - &basis * basis.transpose()).amax() < 1e-9, "the projector on its range");
        assert_eq!(leading(&covariance, 0.9, 6).ncols(), 2);
    }

    #[test]
    fn tensors_keep_rows_and_columns() {
        let tensor = Tensor::new(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).expect("tensor");
        let matrix = from_tensor(&tensor).expect("matrix");
        assert_eq!((matrix[(0, 2)], matrix[(1, 0)]), (3.0, 4.0));
        let back: Vec<Vec<f32>> = to_tensor(&matrix, &Device::Cpu).expect("tensor").to_vec2().expect("rows");
        assert_eq!(back, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    }
}
