//! Whether a subspace acts through what the model really uses.
//!
//! Makelov, Lange and Nanda 2023 (arXiv 2311.17030): a direction may move the answer because it mixes one that varies
//! with the variable and that nothing reads, with one that is read and does not vary (a *dormant* path). The interchange
//! then carries the first one's difference into the second. Two marks: the subspace moves more than the whole
//! activation does, and what it moves is gone without its part in the null space of what reads the place.
//!
//! What reads the place are the input projections of everything behind it and the head ([`LanguageModel::reader_gram`]):
//! the leading directions that hold 1 − 10⁻³ of their energy. In trained models of full rank that is almost the whole
//! width, and the second mark says so: little is unread, and little of an effect can hang on it.

use super::error::DirectionError;
use super::matrix::{Matrix, from_tensor, leading, span_above};
use super::place::Place;
use crate::model::LanguageModel;

/// Share of the readers' energy that the read space holds.
const READ_ENERGY: f64 = 1.0 - 1e-3;
/// A direction of which less than this (as a cosine) lies in the read space counts as unread.
const READ_COSINE: f64 = 0.1;

/// What reads a place.
#[derive(Debug, Clone)]
pub struct ReadSpace {
    /// An orthonormal basis `[w, r]`.
    pub basis_wr: Matrix,
}

impl ReadSpace {
    /// From the weights behind a place; `None` where the place is no stream, sub-layer output or head.
    pub fn of(model: &LanguageModel, place: &Place) -> Result<Option<Self>, DirectionError> {
        let Some(gram) = model.reader_gram(place.point(), place.site().head)? else { return Ok(None) };
        let gram_ww = from_tensor(&gram)?;
        Ok(Some(Self { basis_wr: leading(&gram_ww, READ_ENERGY, place.width()) }))
    }

    /// How many directions are read.
    pub fn dimensions(&self) -> usize {
        self.basis_wr.ncols()
    }

    /// The share of a basis `[w, k]` that lies in the null space: 1 − ‖Pᵀ B‖² / k.
    pub fn unread(&self, basis_wk: &Matrix) -> f64 {
        let read = self.basis_wr.tr_mul(basis_wk).norm_squared() / basis_wk.ncols().max(1) as f64;
        (1.0 - read).clamp(0.0, 1.0)
    }

    /// What is left of a subspace without its part in the null space, as a basis `[w, r]`; r is 0 where nothing is read.
    pub fn read_part(&self, basis_wk: &Matrix) -> Matrix {
        let read = &self.basis_wr * self.basis_wr.tr_mul(basis_wk);
        match read.norm() < READ_COSINE {
            true => Matrix::zeros(basis_wk.nrows(), 0),
            false => span_above(&read, READ_COSINE),
        }
    }
}
