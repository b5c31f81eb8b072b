//! Log-probabilities of chosen tokens, without a table of all of them.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use multiversion::multiversion;
use rayon::prelude::*;

use super::composed;
use super::simd::{exp, max_of, sum_of};
use super::slices::{Plain, fill_rows, fits, of, output, tensor};

/// log softmax(logits)[row, token] for each pick, `logits: [n, v]` → `[picks]`, f32.
pub fn logprobs_at(logits: &Tensor, picks: &[(usize, u32)]) -> Result<Tensor> {
    let (rows, vocab) = logits.dims2()?;
    if picks.is_empty() {
        return Tensor::zeros(0, DType::F32, logits.device());
    }
    if let Some((row, token)) = picks.iter().find(|(row, token)| *row >= rows || *token as usize >= vocab) {
        candle_core::bail!("row {row}, token {token} is outside logits of shape [{rows}, {vocab}]");
    }
    if !fits(&[logits]) {
        return composed::logprobs_at(logits, picks);
    }
    logits.contiguous()?.apply_op1(LogProbs { vocab, picks: picks.to_vec(), log_sums: OnceLock::new() })
}

/// The column of the largest value of each row of `[n, v]`, the first of equals.
pub fn argmax_rows(logits: &Tensor) -> Result<Vec<u32>> {
    let (_, vocab) = logits.dims2()?;
    if !fits(&[logits]) || vocab == 0 {
        return composed::argmax_rows(logits);
    }
    let logits = Plain::new(logits)?;
    let values = logits.values()?;
    Ok(values.par_chunks_exact(vocab).map(first_largest).collect())
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn first_largest(row: &[f32]) -> u32 {
    let top = max_of(row);
    row.iter().position(|value| *value == top).unwrap_or(0) as u32
}

/// ln Σ e^x.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn log_sum_exp(row: &[f32]) -> f32 {
    let top = max_of(row);
    (f64::from(top) + sum_of(row, |x| exp(x - top)).ln()) as f32
}

/// out ← weight · softmax(row).
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn weighted_softmax(row: &[f32], log_sum: f32, weight: f32, out: &mut [f32]) {
    out.iter_mut().zip(row).for_each(|(out, x)| *out = weight * exp(x - log_sum));
}

struct LogProbs {
    vocab: usize,
    picks: Vec<(usize, u32)>,
    /// ln Σ e^x of each row, kept for the backward pass.
    log_sums: OnceLock<Vec<f32>>,
}

impl LogProbs {
    fn log_sums(&self, logits: &[f32]) -> &[f32] {
        self.log_sums.get_or_init(|| logits.par_chunks_exact(self.vocab).map(log_sum_exp).collect())
    }
}

impl CustomOp1 for LogProbs {
    fn name(&self) -> &'static str {
        "logprobs_at"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let logits = of(logits, at)?;
        let log_sums = self.log_sums(logits);
        let pick = |&(row, token): &(usize, u32)| {
            let logit = logits.get(row * self.vocab + token as usize).copied().unwrap_or(f32::NAN);
            logit - log_sums.get(row).copied().unwrap_or(f32::NAN)
        };
        let values: Vec<f32> = self.picks.iter().map(pick).collect();
        output(values, self.picks.len())
    }

    /// Σ over a row's picks of g·(1[token] − softmax).
    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (plain, grad) = (Plain::new(logits)?, Plain::new(grad)?);
        let (values, grads) = (plain.values()?, grad.values()?);
        let (values, vocab) = (&*values, self.vocab);
        let log_sums = self.log_sums(values);
        let mut weights = vec![0f32; log_sums.len()];
        for ((row, _), g) in self.picks.iter().zip(grads.iter()) {
            if let Some(weight) = weights.get_mut(*row) {
                *weight -= g;
            }
        }
        let mut out = vec![0f32; values.len()];
        fill_rows(&mut out, vocab, |first, run| {
            let rows = values.chunks_exact(vocab).zip(log_sums.iter().zip(&weights)).skip(first);
            for (out, (row, (log_sum, weight))) in run.chunks_exact_mut(vocab).zip(rows) {
                weighted_softmax(row, *log_sum, *weight, out);
            }
        });
        for ((row, token), g) in self.picks.iter().zip(grads.iter()) {
            if let Some(out) = out.get_mut(row * vocab + *token as usize) {
                *out += g;
            }
        }
        tensor(out, logits.shape()).map(Some)
    }
}
