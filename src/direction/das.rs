//! Distributed alignment search: the subspace whose interchange makes the model answer as wanted.
//!
//! Geiger et al. 2024 (arXiv 2303.02536) with a basis of k columns (low-rank DAS) in place of a whole rotation, since
//! the other columns have no part in an interchange. With h the receiver's vector, h′ the donor's, B `[w, k]`:
//!
//! ```text
//! h ← h + B Bᵀ (h′ − h)        L = mean_i KL(p_wanted ‖ p_patched) over the answers, in nats
//! ```
//!
//! p is the model's distribution over the given answers (their likelihoods, normalised among them). The basis starts
//! at the leading directions of the differences h′ − h of minimal pairs, and at random bases; the start that ends with
//! the least training loss is kept. Gradients of first order only, of the basis alone: frozen weights have none. Cost:
//! starts · steps passes and backward passes over a batch, from the place's block on.

use candle_core::{DType, Tensor, Var};

use super::error::DirectionError;
use super::exchange::ExchangeKind;
use super::matrix::{Matrix, from_tensor, leading, random_basis, retract, to_tensor};
use super::rotation::Rotation;
use super::stage::Stage;
use crate::base::seed::shuffle;
use crate::base::{Progress, Seed};

/// How a basis is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DasSpec {
    /// Dimensions of the subspace.
    pub rank: usize,
    /// Steps of each start.
    pub steps: usize,
    /// Interchanges of a step.
    pub batch: usize,
    /// Length of the first step in the norm of Frobenius; falls to 0 along a cosine.
    pub rate: f64,
    /// Random bases to start from, beside the leading directions of the differences.
    pub random_starts: usize,
    /// The root of random starts and of the order of interchanges.
    pub seed: Seed,
}

impl DasSpec {
    /// The usual training at a rank.
    pub fn new(rank: usize, seed: Seed) -> Self {
        Self { rank, steps: 100, batch: 32, rate: 0.2, random_starts: 1, seed }
    }
}

/// A trained basis.
#[derive(Debug, Clone)]
pub struct Trained {
    /// `[w, k]`, orthonormal.
    pub basis_wk: Matrix,
    /// The loss of every step of the start that was kept, in nats.
    pub curve: Vec<f64>,
    /// The final loss over all interchanges, of every start: the leading directions first.
    pub losses: Vec<f64>,
}

/// Trains a basis on the interchanges of a stage.
pub fn train(stage: &Stage<'_>, spec: &DasSpec, progress: &dyn Progress) -> Result<Trained, DirectionError> {
    stage.place.check_rank(spec.rank)?;
    let width = stage.place.width();
    let mut starts = vec![leading_differences(stage, spec.rank, &spec.seed)?];
    for number in 0..spec.random_starts {
        starts.push(random_basis(width, spec.rank, &spec.seed.fork(&format!("start {number}"))));
    }
    progress.start("das", (starts.len() * spec.steps) as u64);
    let mut best: Option<(f64, Matrix, Vec<f64>)> = None;
    let mut losses = Vec::new();
    for (number, start) in starts.iter().enumerate() {
        let seed = spec.seed.fork(&format!("order {number}"));
        let (basis, curve) = descend(stage, start, spec, &seed, progress)?;
        let loss = whole_loss(stage, &basis)?;
        losses.push(loss);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, basis, curve));
        }
    }
    progress.finish();
    let (_, basis_wk, curve) = best.unwrap_or_else(|| (f64::NAN, Matrix::zeros(width, 0), Vec::new()));
    Ok(Trained { basis_wk, curve, losses })
}

fn descend(
    stage: &Stage<'_>,
    start: &Matrix,
    spec: &DasSpec,
    seed: &Seed,
    progress: &dyn Progress,
) -> Result<(Matrix, Vec<f64>), DirectionError> {
    let mut rotation = Rotation::new(start);
    let mut batches = order(stage.len(), spec, seed);
    let mut curve = Vec::with_capacity(spec.steps);
    for step in 0..spec.steps {
        if progress.cancelled() {
            return Err(DirectionError::Interrupted);
        }
        let (loss, gradient) = interchange_gradient(stage, rotation.basis(), &batches())?;
        curve.push(loss);
        rotation.step(&gradient, rate_at(spec, step))?;
        progress.advance(1);
    }
    Ok((rotation.basis().clone(), curve))
}

/// The interchanges of one step after another: all in random order, then all again.
pub(super) fn order(count: usize, spec: &DasSpec, seed: &Seed) -> impl FnMut() -> Vec<usize> + use<> {
    let (mut rng, batch) = (seed.rng(), spec.batch.max(1));
    let mut left: Vec<usize> = Vec::new();
    move || {
        if left.len() < batch.min(count) {
            left = (0..count).collect();
            shuffle(&mut rng, &mut left);
        }
        left.split_off(left.len().saturating_sub(batch))
    }
}

/// The length of a step.
pub(super) fn rate_at(spec: &DasSpec, step: usize) -> f64 {
    let turn = std::f64::consts::PI * step as f64 / spec.steps.max(1) as f64;
    spec.rate * 0.5 * (1.0 + turn.cos())
}

/// The loss of some interchanges of a stage under a basis `[w, k]`, and its gradient `[w, k]` in the basis' entries, as if
/// they were free.
pub fn interchange_gradient(
    stage: &Stage<'_>,
    basis_wk: &Matrix,
    which: &[usize],
) -> Result<(f64, Matrix), DirectionError> {
    let basis = Var::from_tensor(&to_tensor(basis_wk, stage.model.device())?)?;
    let loss = interchange_loss(stage, basis.as_tensor(), which)?;
    let mut gradients = loss.backward()?;
    let gradient = gradients
        .remove(&basis)
        .ok_or_else(|| candle_core::Error::Msg(format!("no gradient reaches the basis at {}", stage.place.site())))?;
    Ok((f64::from(loss.to_scalar::<f32>()?), from_tensor(&gradient)?))
}

/// Mean KL(wanted ‖ patched) of some interchanges under a basis tensor `[w, k]`, a scalar differentiable in it.
pub(super) fn interchange_loss(
    stage: &Stage<'_>,
    basis_wk: &Tensor,
    which: &[usize],
) -> Result<Tensor, DirectionError> {
    let (own, donor) = stage.vectors(which)?;
    let patched_na = stage.run(which, &within(&own, &donor, basis_wk)?)?;
    divergence(stage, which, &patched_na)
}

/// Mean KL(wanted ‖ patched) over answers, of the patched answers' log-likelihoods `[n, answers]`.
pub(super) fn divergence(stage: &Stage<'_>, which: &[usize], patched_na: &Tensor) -> Result<Tensor, DirectionError> {
    let (n, answers) = patched_na.dims2()?;
    let wanted: Vec<f32> = which
        .iter()
        .filter_map(|&one| stage.wanted().get(one))
        .flat_map(|scores| log_normalised(scores))
        .map(|value| value as f32)
        .collect();
    let wanted_na = Tensor::from_vec(wanted, (n, answers), patched_na.device())?;
    let total_n1 = patched_na.log_sum_exp(1)?.unsqueeze(1)?;
    let patched_na = patched_na.broadcast_sub(&total_n1)?;
    Ok(((wanted_na.exp()? * (wanted_na - patched_na)?)?.sum_all()? / n.max(1) as f64)?)
}

/// own + B Bᵀ (donor − own) of vectors `[u, w]`.
pub(super) fn within(own_uw: &Tensor, donor_uw: &Tensor, basis_wk: &Tensor) -> candle_core::Result<Tensor> {
    own_uw + (donor_uw - own_uw)?.matmul(basis_wk)?.matmul(&basis_wk.t()?)?
}

/// Log-likelihoods normalised among themselves.
pub(super) fn log_normalised(scores: &[f64]) -> Vec<f64> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = top + scores.iter().map(|score| (score - top).exp()).sum::<f64>().ln();
    scores.iter().map(|score| score - total).collect()
}

/// The loss over all interchanges of a stage.
pub(super) fn whole_loss(stage: &Stage<'_>, basis: &Matrix) -> Result<f64, DirectionError> {
    let basis_wk = to_tensor(basis, stage.model.device())?;
    let mut sum = 0.0;
    for chunk in stage.chunks() {
        let mean = interchange_loss(stage, &basis_wk, &chunk)?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
        sum += f64::from(mean) * chunk.len() as f64;
    }
    Ok(sum / stage.len().max(1) as f64)
}

/// The leading right singular vectors of donor − own over minimal interchanges (all, where there is none), filled up
/// with random directions where the differences span fewer than `rank`.
pub(super) fn leading_differences(stage: &Stage<'_>, rank: usize, seed: &Seed) -> Result<Matrix, DirectionError> {
    let kind = |wanted: fn(ExchangeKind) -> bool| -> Vec<usize> {
        let numbered = stage.exchanges.iter().enumerate();
        numbered.filter(|(_, exchange)| wanted(exchange.kind)).map(|(number, _)| number).collect()
    };
    let mut which = kind(|kind| kind == ExchangeKind::Minimal);
    if which.is_empty() {
        which = kind(|_| true);
    }
    let (own, donor) = stage.vectors(&which)?;
    let differences_uw = from_tensor(&(donor - own)?)?;
    let found = leading(&differences_uw.tr_mul(&differences_uw), 1.0, rank);
    let filling = random_basis(stage.place.width(), rank, &seed.fork("filling"));
    let columns = found.column_iter().chain(filling.column_iter()).take(rank);
    Ok(retract(&Matrix::from_columns(&columns.map(|column| column.into_owned()).collect::<Vec<_>>())))
}
