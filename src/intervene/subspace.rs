//! Subspaces of an activation: an orthonormal basis, kept with its digest.
//!
//! With B `[k, w]` and B Bᵀ = I, the part of an activation x `[w]` inside the subspace is Bᵀ B x. What is inside can be
//! interchanged (own + Bᵀ B (donor − own)) or projected out (own − Bᵀ B own), and everything orthogonal stays.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use crate::base::Digest;
use crate::base::digest::Hasher;

/// Largest entry of B Bᵀ − I that a basis in single precision may have.
pub const ORTHONORMAL: f64 = 1e-4;
/// A vector whose rest is this much shorter than itself adds no dimension to the span of those before it.
const DEPENDENT: f64 = 1e-6;

/// An orthonormal basis of a subspace of an activation of width `w`.
#[derive(Clone)]
pub struct Subspace {
    /// The basis `[k, w]`, float32, on the CPU: rows are orthonormal to [`ORTHONORMAL`].
    basis_kd: Tensor,
    dimensions: usize,
    width: usize,
    digest: Digest,
}

impl Subspace {
    /// A subspace from its basis `[k, w]`, copied to the CPU in single precision and cut from any graph. Refused where
    /// it is empty, has more rows than columns, is not finite, or is not orthonormal to 1e-4.
    pub fn new(basis_kd: &Tensor) -> Result<Self, InterveneError> {
        let basis_kd = basis_kd.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
        let (dimensions, width) = basis_kd.dims2()?;
        let refuse = |message: String| Err(InterveneError::Basis { dimensions, width, message });
        if dimensions == 0 || dimensions > width {
            return refuse("a basis has at least one row, and no more rows than columns".into());
        }
        let rows: Vec<Vec<f32>> = basis_kd.to_vec2()?;
        let mut worst = (0.0f64, 0, 0);
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().take(i + 1) {
                let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let off = (product - f64::from(u8::from(i == j))).abs();
                if !off.is_finite() {
                    return refuse(format!("row {i} holds a value that is not finite"));
                }
                worst = if off > worst.0 { (off, i, j) } else { worst };
            }
        }
        let (off, i, j) = worst;
        if off > ORTHONORMAL {
            return refuse(format!(
                "the product of rows {i} and {j} is off by {off:.1e}, more than {ORTHONORMAL:.0e}; orthonormalise the rows first (Subspace::spanned)"
            ));
        }
        let mut hasher = Hasher::default();
        hasher.part("shape", format!("{dimensions}x{width}").as_bytes());
        let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        hasher.part("basis", &bytes);
        Ok(Self { basis_kd, dimensions, width, digest: hasher.finish() })
    }

    /// The span of the rows of `vectors` `[n, w]`, by modified Gram–Schmidt in double precision, twice over; rows that
    /// the earlier ones already span add nothing.
    pub fn spanned(vectors: &Tensor) -> Result<Self, InterveneError> {
        let rows: Vec<Vec<f64>> = vectors.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2()?;
        let width = vectors.dims2()?.1;
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for row in rows {
            let length = norm(&row);
            let mut rest = row;
            for _ in 0..2 {
                for known in &basis {
                    let along: f64 = rest.iter().zip(known).map(|(a, b)| a * b).sum();
                    rest.iter_mut().zip(known).for_each(|(x, b)| *x -= along * b);
                }
            }
            let left = norm(&rest);
            if left > DEPENDENT * length {
                rest.iter_mut().for_each(|x| *x /= left);
                basis.push(rest);
            }
        }
        let dimensions = basis.len();
        if dimensions == 0 {
            let message = "the vectors are all zero and span nothing".to_owned();
            return Err(InterveneError::Basis { dimensions, width, message });
        }
        let values: Vec<f32> = basis.into_iter().flatten().map(|x| x as f32).collect();
        Self::new(&Tensor::from_vec(values, (dimensions, width), &Device::Cpu)?)
    }

    /// The basis `[k, w]`, float32, on the CPU.
    pub fn basis_kd(&self) -> &Tensor {
        &self.basis_kd
    }

    /// Number of dimensions, k.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Width of the activation that it is a subspace of, w.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The digest of shape and values.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The part inside the subspace, row by row: `[n, w]` → `[n, w]`, differentiable in `x_nw`.
    pub fn inside(&self, x_nw: &Tensor) -> candle_core::Result<Tensor> {
        let basis_kd = self.basis_kd.to_device(x_nw.device())?.to_dtype(x_nw.dtype())?;
        x_nw.matmul(&basis_kd.t()?)?.matmul(&basis_kd)
    }
}

fn norm(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl std::fmt::Debug for Subspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subspace({}x{}, {})", self.dimensions, self.width, self.digest)
    }
}

impl PartialEq for Subspace {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Subspace {}

impl std::hash::Hash for Subspace {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Serialize for Subspace {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.basis_kd.to_vec2::<f32>().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Subspace {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows: Vec<Vec<f32>> = Vec::deserialize(deserializer)?;
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(serde::de::Error::custom("the rows of a basis must be of one length"));
        }
        let shape = (rows.len(), width);
        let values: Vec<f32> = rows.into_iter().flatten().collect();
        let basis = Tensor::from_vec(values, shape, &Device::Cpu).map_err(serde::de::Error::custom)?;
        Self::new(&basis).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[[f32; 3]]) -> Tensor {
        Tensor::from_vec(values.concat(), (values.len(), 3), &Device::Cpu).expect("rows")
    }

    #[test]
    fn a_span_is_orthonormal_and_keeps_what_lies_in_it() {
        let vectors = rows(&[[2., 0., 0.], [1., 1., 0.], [3., 1., 0.]]);
        let subspace = Subspace::spanned(&vectors).expect("span");
        assert_eq!((subspace.dimensions(), subspace.width()), (2, 3));
        let x = rows(&[[5., -2., 7.]]);
        let inside: Vec<Vec<f32>> = subspace.inside(&x).expect("inside").to_vec2().expect("values");
        assert!(inside[0].iter().zip([5., -2., 0.]).all(|(a, b)| (a - b).abs() < 1e-6), "{inside:?}");
    }

    #[test]
    fn what_is_no_basis_is_refused_with_the_rows_that_are_wrong() {
        let refuse = |tensor: &Tensor| Subspace::new(tensor).expect_err("refused").to_string();
        let text = refuse(&rows(&[[1., 0., 0.], [0.1, 1., 0.]]));
        assert!(text.contains("rows 1 and 0") && text.contains("1.0e-1"), "{text}");
        assert!(refuse(&rows(&[[2., 0., 0.]])).contains("rows 0 and 0"));
        assert!(refuse(&rows(&[[f32::NAN, 0., 0.]])).contains("not finite"));
        assert!(refuse(&Tensor::zeros((4, 3), DType::F32, &Device::Cpu).expect("zeros")).contains("no more rows"));
        let nothing = Subspace::spanned(&rows(&[[0., 0., 0.]])).expect_err("nothing").to_string();
        assert!(nothing.contains("span nothing"), "{nothing}");
    }

    #[test]
    fn json_keeps_the_values_and_checks_them_again() {
        let subspace = Subspace::spanned(&rows(&[[1., 2., 3.], [0., 1., -1.]])).expect("span");
        let json = serde_json::to_string(&subspace).expect("JSON");
        assert_eq!(serde_json::from_str::<Subspace>(&json).expect("subspace"), subspace);
        assert!(serde_json::from_str::<Subspace>("[[1.0,1.0]]").is_err());
        assert!(serde_json::from_str::<Subspace>("[[1.0,0.0],[1.0]]").is_err());
    }
}
