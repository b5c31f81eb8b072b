//! Boundless distributed alignment search: how many dimensions a variable needs is learnt with them.
//!
//! Wu et al. 2023 (arXiv 2305.08809), on the leading K of w rotated coordinates:
//!
//! ```text
//! h ← h + B diag(m) Bᵀ (h′ − h)      m_j = σ((β K − j) / T), j = 0 … K − 1      L = KL(wanted ‖ patched) + λ β
//! ```
//!
//! With K = w this is Rᵀ[(1 − m) R h + m R h′] for R = Bᵀ. The boundary β is clamped to [10⁻³, 1] and starts at ½; the
//! temperature T falls geometrically from K/8 to 0.1, so that the mask hardens as the work goes on. What is kept is
//! the first round(β K) columns (at least one), interchanged whole. B moves as in [`super::rotation`], β by Adam. Cost:
//! steps passes and backward passes over a batch, from the place's block on.

use candle_core::{Tensor, Var};

use super::das::{DasSpec, Trained, divergence, leading_differences, order, rate_at, whole_loss};
use super::error::DirectionError;
use super::matrix::{Matrix, from_tensor, to_tensor};
use super::rotation::Rotation;
use super::stage::Stage;
use crate::base::Progress;

/// λ: what a boundary at the whole width costs, in nats.
const BOUNDARY_COST: f64 = 0.1;
const LOWEST: f64 = 1e-3;
const COLDEST: f64 = 0.1;
const BOUNDARY_RATE: f64 = 0.03;

/// Trains at most `spec.rank` dimensions on the interchanges of a stage; the result may have fewer.
pub fn train_boundless(stage: &Stage<'_>, spec: &DasSpec, progress: &dyn Progress) -> Result<Trained, DirectionError> {
    stage.place.check_rank(spec.rank)?;
    progress.start("boundless das", spec.steps as u64);
    let mut rotation = Rotation::new(&leading_differences(stage, spec.rank, &spec.seed)?);
    let mut boundary = Boundary { value: 0.5, mean: 0.0, square: 0.0, steps: 0 };
    let warmest = (spec.rank as f64 / 8.0).max(1.0);
    let mut batches = order(stage.len(), spec, &spec.seed.fork("boundless"));
    let mut curve = Vec::with_capacity(spec.steps);
    for step in 0..spec.steps {
        if progress.cancelled() {
            return Err(DirectionError::Interrupted);
        }
        let done = step as f64 / spec.steps.max(1) as f64;
        let temperature = warmest * (COLDEST / warmest).powf(done);
        let (loss, along, slope) = descent(stage, (rotation.basis(), boundary.value), temperature, &batches())?;
        curve.push(loss);
        rotation.step(&along, rate_at(spec, step))?;
        boundary.step(slope + BOUNDARY_COST);
        progress.advance(1);
    }
    progress.finish();
    let kept = ((boundary.value * spec.rank as f64).round() as usize).clamp(1, spec.rank);
    let basis_wk: Matrix = rotation.basis().columns(0, kept).into_owned();
    let losses = vec![whole_loss(stage, &basis_wk)?];
    Ok(Trained { basis_wk, curve, losses })
}

/// The loss of some interchanges under a soft mask, its gradient in the basis, and its slope in the boundary.
fn descent(
    stage: &Stage<'_>,
    (basis_wk, boundary): (&Matrix, f64),
    temperature: f64,
    which: &[usize],
) -> Result<(f64, Matrix, f64), DirectionError> {
    let device = stage.model.device();
    let rank = basis_wk.ncols();
    let basis = Var::from_tensor(&to_tensor(basis_wk, device)?)?;
    let edge = Var::from_tensor(&Tensor::new(&[boundary as f32], device)?)?;
    let places: Vec<f32> = (0..rank).map(|place| place as f32).collect();
    let places = Tensor::from_vec(places, rank, device)?;
    let scores = ((edge.as_tensor() * rank as f64)?.broadcast_sub(&places)? / temperature)?;
    // σ(x) = ½ (1 + tanh(x/2)), which stays finite where e^x does not.
    let mask_k = (((scores * 0.5)?.tanh()? + 1.0)? * 0.5)?;
    let (own, donor) = stage.vectors(which)?;
    let inside_uk = (&donor - &own)?.matmul(basis.as_tensor())?.broadcast_mul(&mask_k)?;
    let patched = (&own + inside_uk.matmul(&basis.as_tensor().t()?)?)?;
    let loss = divergence(stage, which, &stage.run(which, &patched)?)?;
    let mut gradients = loss.backward()?;
    let missing = || candle_core::Error::Msg(format!("no gradient reaches the basis at {}", stage.place.site()));
    let along = from_tensor(&gradients.remove(&basis).ok_or_else(missing)?)?;
    let slope = gradients.remove(&edge).ok_or_else(missing)?.sum_all()?.to_scalar::<f32>()?;
    Ok((f64::from(loss.to_scalar::<f32>()?), along, f64::from(slope)))
}

/// The boundary with the state of its optimizer (Adam).
struct Boundary {
    value: f64,
    mean: f64,
    square: f64,
    steps: i32,
}

impl Boundary {
    fn step(&mut self, slope: f64) {
        self.steps += 1;
        self.mean = 0.9 * self.mean + 0.1 * slope;
        self.square = 0.99 * self.square + 0.01 * slope * slope;
        let (mean, square) =
            (self.mean / (1.0 - 0.9f64.powi(self.steps)), self.square / (1.0 - 0.99f64.powi(self.steps)));
        self.value = (self.value - BOUNDARY_RATE * mean / (square.sqrt() + 1e-12)).clamp(LOWEST, 1.0);
    }
}
