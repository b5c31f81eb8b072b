//! Whether a subspace acts through what the model really uses.
//!
//! Makelov, Lange and Nanda 2023 (arXiv 2311.17030): a direction may move the answer because it mixes one that varies
//! with the variable and that nothing reads, with one that is read and does not vary (a *dormant* path). The interchange
//! then carries the first one's difference into the second. Two marks: the subspace moves more than the whole
//! activation does, and what it moves is gone without its part in the null space of what reads the place.
//!
//! What reads the place is the span of the gradients of the outcome in the place's vectors, at the receiver's own
//! vector, half way and all the way to the patched one, and at the donor's: the leading directions that hold 1 − 10⁻³
//! of their energy. Nothing outside that span moves the outcome anywhere the interchanges go, whatever the family
//! and however many layers follow.

use candle_core::{Tensor, Var};

use super::das::within;
use super::error::DirectionError;
use super::matrix::{Matrix, from_tensor, leading, span_above, to_tensor};
use super::stage::Stage;

/// Share of the gradients' energy that the read space holds.
const READ_ENERGY: f64 = 1.0 - 1e-3;
/// A direction of which less than this (as a cosine) lies in the read space counts as unread.
const READ_COSINE: f64 = 0.1;

/// What reads a place, as far as the interchanges of a stage go under a basis.
#[derive(Debug, Clone)]
pub struct ReadSpace {
    /// `[w, r]`.
    pub basis_wr: Matrix,
}

impl ReadSpace {
    /// From gradients of each interchange's contrast. Cost: four passes and backward passes of the stage.
    pub fn of(stage: &Stage<'_>, basis_wk: &Matrix) -> Result<Self, DirectionError> {
        let width = stage.place.width();
        let basis = to_tensor(basis_wk, stage.model.device())?;
        let mut gram = Matrix::zeros(width, width);
        for chunk in stage.chunks() {
            let (own, donor) = stage.vectors(&chunk)?;
            let patched = within(&own, &donor, &basis)?;
            let half = ((&own + &patched)? * 0.5)?;
            for at in [&own, &half, &patched, &donor] {
                let gradient_uw = from_tensor(&contrast_gradient(stage, &chunk, at)?)?;
                gram += gradient_uw.tr_mul(&gradient_uw);
            }
        }
        Ok(Self { basis_wr: leading(&gram, READ_ENERGY, width) })
    }

    /// How many directions are read.
    pub fn dimensions(&self) -> usize {
        self.basis_wr.ncols()
    }

    /// The share of a basis `[w, k]` that lies in the null space: 1 − ‖Pᵀ B‖² / k.
    pub fn unread(&self, basis_wk: &Matrix) -> f64 {
        1.0 - self.basis_wr.tr_mul(basis_wk).norm_squared() / basis_wk.ncols().max(1) as f64
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

/// d(log-odds of answer a over b)/d(vectors) `[u, w]` at some vectors.
fn contrast_gradient(stage: &Stage<'_>, which: &[usize], at_uw: &Tensor) -> Result<Tensor, DirectionError> {
    let vectors = Var::from_tensor(&at_uw.detach())?;
    let scores_na = stage.run(which, vectors.as_tensor())?;
    let (n, answers) = scores_na.dims2()?;
    let mut signs = vec![0f32; n * answers];
    for (number, exchange) in which.iter().filter_map(|&one| stage.exchanges.get(one)).enumerate() {
        for (index, sign) in exchange.pair.contrast.into_iter().zip([1.0, -1.0]) {
            if let Some(slot) = signs.get_mut(number * answers + index) {
                *slot = sign;
            }
        }
    }
    let signs_na = Tensor::from_vec(signs, (n, answers), scores_na.device())?;
    let mut gradients = (scores_na * signs_na)?.sum_all()?.backward()?;
    match gradients.remove(&vectors) {
        Some(gradient) => Ok(gradient),
        None => Ok(at_uw.zeros_like()?),
    }
}
