//! The causal softmax: scale, soft-cap, mask and softmax over the keys in one pass.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use multiversion::multiversion;

use super::simd::{exp, max_of, sum_of, sum_of_two, tanh};
use super::slices::{Plain, fill_rows, fits, matching, of, output, tensor};
use super::{CausalMask, composed};

/// Softmax over the keys of `scale · scores`, `scores: [.., q, k]`, with what the mask hides at 0. With a cap c the
/// scaled scores s become c·tanh(s/c) first.
pub fn causal_softmax(scores: &Tensor, scale: f64, mask: CausalMask, softcap: Option<f64>) -> Result<Tensor> {
    if !fits(&[scores]) || scores.elem_count() == 0 {
        return composed::causal_softmax(scores, scale, mask, softcap);
    }
    let scores = scores.contiguous()?;
    let queries = scores.dim(D::Minus2)?;
    let keys = scores.dim(D::Minus1)?;
    scores.apply_op1(CausalSoftmax {
        queries,
        keys,
        scaling: Scaling { scale: scale as f32, softcap: softcap.map(|cap| cap as f32) },
        mask,
    })
}

/// What happens to a score before the softmax.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaling {
    pub scale: f32,
    pub softcap: Option<f32>,
}

impl Scaling {
    #[inline(always)]
    fn apply(self, score: f32) -> f32 {
        let scaled = score * self.scale;
        match self.softcap {
            Some(cap) => cap * tanh(scaled / cap),
            None => scaled,
        }
    }

    #[inline(always)]
    fn derivative(self, score: f32) -> f32 {
        match self.softcap {
            Some(cap) => {
                let t = tanh(score * self.scale / cap);
                self.scale * (1.0 - t * t)
            }
            None => self.scale,
        }
    }
}

/// A run of keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub from: usize,
    pub to: usize,
}

impl Keys {
    pub fn len(&self) -> usize {
        self.to.saturating_sub(self.from)
    }
}

/// Rows `first..` of the scores of some keys become probabilities in place; row i belongs to query i modulo `queries`.
/// Every key that a row sees must be among them.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn softmax_rows(
    rows: &mut [f32],
    first: usize,
    queries: usize,
    keys: Keys,
    scaling: Scaling,
    mask: CausalMask,
) {
    for (number, row) in rows.chunks_exact_mut(keys.len().max(1)).enumerate() {
        let visible = mask.visible((first + number) % queries, keys.to);
        let (start, end) = (visible.start.saturating_sub(keys.from), visible.end.saturating_sub(keys.from));
        // Whole rows run in full vectors; what is hidden is taken out before and after.
        row.iter_mut().for_each(|score| *score = scaling.apply(*score));
        row.get_mut(..start).unwrap_or_default().fill(f32::NEG_INFINITY);
        row.get_mut(end..).unwrap_or_default().fill(f32::NEG_INFINITY);
        let top = max_of(row);
        row.iter_mut().for_each(|score| *score = exp(*score - top));
        row.get_mut(..start).unwrap_or_default().fill(0.0);
        row.get_mut(end..).unwrap_or_default().fill(0.0);
        let norm = (1.0 / sum_of(row, |weight| weight)) as f32;
        row.iter_mut().for_each(|weight| *weight *= norm);
    }
}

/// The gradient of the scores, in place of the gradient of the pattern. Where there is no soft-cap the scores
/// themselves are not needed and may be empty.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn softmax_gradient(pattern: &[f32], scores: &[f32], grad: &mut [f32], keys: usize, scaling: Scaling) {
    for (number, (pattern, grad)) in
        pattern.chunks_exact(keys.max(1)).zip(grad.chunks_exact_mut(keys.max(1))).enumerate()
    {
        let along = sum_of_two(pattern, grad, |p, g| p * g) as f32;
        grad.iter_mut().zip(pattern).for_each(|(g, p)| *g = p * (*g - along));
        match scaling.softcap {
            None => grad.iter_mut().for_each(|g| *g *= scaling.scale),
            Some(_) => {
                let scores = scores.get(number * keys..(number + 1) * keys).unwrap_or_default();
                grad.iter_mut().zip(scores).for_each(|(g, s)| *g *= scaling.derivative(*s));
            }
        }
    }
}

struct CausalSoftmax {
    queries: usize,
    keys: usize,
    scaling: Scaling,
    mask: CausalMask,
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal_softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = of(scores, at)?.to_vec();
        fill_rows(&mut out, self.keys, |first, run| {
            let keys = Keys { from: 0, to: self.keys };
            softmax_rows(run, first, self.queries, keys, self.scaling, self.mask);
        });
        output(out, at.shape())
    }

    fn bwd(&self, scores: &Tensor, pattern: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (score, pattern, grad) = (Plain::new(scores)?, Plain::new(pattern)?, Plain::new(grad)?);
        let (score, pattern, grad) = (score.values()?, pattern.values()?, grad.values()?);
        let (score, pattern, keys) = (&*score, &*pattern, self.keys);
        let mut out = grad.to_vec();
        fill_rows(&mut out, keys, |first, run| {
            let (scores, pattern) = (matching(score, first, keys, run), matching(pattern, first, keys, run));
            softmax_gradient(pattern, scores, run, keys, self.scaling);
        });
        tensor(out, scores.shape()).map(Some)
    }
}
