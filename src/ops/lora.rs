//! A frozen linear layer with a low-rank update, as one operation.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::WeightLayout;
use super::linear::{Frozen, check, forward, is_stored_whole, linear, outer, reshaped, right, sizes};
use super::matmul::{Matrix, Onto, Threads, multiply};
use super::norm::tracked;
use super::slices::{Plain, fits, of, output, tensor};

/// y = x Wᵀ + b + s·(x Aᵀ) Bᵀ with a frozen W and b: `a: [r, in]`, `b: [out, r]`.
pub fn lora_linear(x: &Tensor, frozen: FrozenWeight<'_>, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let FrozenWeight { weight, bias, layout } = frozen;
    let all: Vec<&Tensor> = [Some(x), Some(weight), bias, Some(a), Some(b)].into_iter().flatten().collect();
    let plain = !weight.track_op() && !bias.is_some_and(Tensor::track_op);
    if !plain || !fits(&all) || !is_stored_whole(weight) || x.elem_count() == 0 {
        let low = linear(x, a, None, WeightLayout::OutIn)?;
        let update = linear(&(low * scale)?, b, None, WeightLayout::OutIn)?;
        return linear(x, weight, bias, layout)? + update;
    }
    check(x, weight, layout)?;
    check(x, a, WeightLayout::OutIn)?;
    if b.dims() != [sizes(weight, layout)?.1, a.dim(0)?] {
        candle_core::bail!(
            "low-rank factors {:?} and {:?} do not fit a weight of {:?}",
            a.dims(),
            b.dims(),
            weight.dims()
        );
    }
    let frozen = Frozen { weight: weight.clone(), bias: bias.cloned(), layout };
    x.contiguous()?.apply_op3(&a.contiguous()?, &b.contiguous()?, LowRank { frozen, scale: scale as f32 })
}

/// A weight that gets no gradient.
#[derive(Debug, Clone, Copy)]
pub struct FrozenWeight<'a> {
    /// `[out, in]` or `[in, out]`, as `layout` says.
    pub weight: &'a Tensor,
    /// `[out]`.
    pub bias: Option<&'a Tensor>,
    /// How the weight is stored.
    pub layout: WeightLayout,
}

/// A frozen linear layer with a low-rank update, as one operation of x, A and B.
struct LowRank {
    frozen: Frozen,
    scale: f32,
}

impl CustomOp3 for LowRank {
    fn name(&self) -> &'static str {
        "lora_linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        a: &CpuStorage,
        a_at: &Layout,
        b: &CpuStorage,
        b_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, a, b) = (of(x, x_at)?, of(a, a_at)?, of(b, b_at)?);
        let (rank, inputs) = a_at.shape().dims2()?;
        let outputs = b_at.shape().dims2()?.0;
        let rows = x.len() / inputs.max(1);
        let mut out = self.frozen.run(x)?;
        let low = forward(x, a, None, (inputs, rank), WeightLayout::OutIn);
        let up = (b, right(rank, outputs, WeightLayout::OutIn));
        let target = (out.as_mut_slice(), Matrix::dense(rows, outputs));
        multiply(target, (&low, Matrix::dense(rows, rank)), up, self.scale, Onto::Add, Threads::All);
        output(out, reshaped(x_at.shape(), outputs))
    }

    /// With y = … + s·(x Aᵀ) Bᵀ: dB = s·dYᵀ (x Aᵀ), dL = s·dY B, dA = dLᵀ x, dX = dY W + dL A.
    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x_plain, a_plain, b_plain, grad) = (Plain::new(x)?, Plain::new(a)?, Plain::new(b)?, Plain::new(grad)?);
        let (xs, a_values, b_values, grads) = (x_plain.values()?, a_plain.values()?, b_plain.values()?, grad.values()?);
        let (rank, inputs) = a.dims2()?;
        let outputs = b.dim(0)?;
        let rows = xs.len() / inputs.max(1);
        let for_b = tracked(b, || {
            let low = forward(&xs, &a_values, None, (inputs, rank), WeightLayout::OutIn);
            tensor(outer(&grads, outputs, &low, rank, self.scale), b.shape())
        })?;
        let mut for_low = vec![0f32; rows * rank];
        let target = (for_low.as_mut_slice(), Matrix::dense(rows, rank));
        let down = (&*b_values, Matrix::dense(outputs, rank));
        multiply(target, (&grads, Matrix::dense(rows, outputs)), down, self.scale, Onto::Overwrite, Threads::All);
        let for_a = tracked(a, || tensor(outer(&for_low, rank, &xs, inputs, 1.0), a.shape()))?;
        let for_x = tracked(x, || {
            let mut out = self.frozen.back(&grads)?;
            let target = (out.as_mut_slice(), Matrix::dense(rows, inputs));
            let update = (&*a_values, Matrix::dense(rank, inputs));
            multiply(target, (&for_low, Matrix::dense(rows, rank)), update, 1.0, Onto::Add, Threads::All);
            tensor(out, x.shape())
        })?;
        Ok((for_x, for_a, for_b))
    }
}
