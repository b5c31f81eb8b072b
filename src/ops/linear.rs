//! Linear layers: frozen, trained, and frozen with a low-rank update.
//!
//! A frozen weight lives inside the operation, so its backward gives the input's gradient alone. candle's own matmul
//! would compute and keep a gradient of the weight's size for every frozen matrix.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape, Storage, Tensor,
};

use super::matmul::{Matrix, Onto, Threads, multiply};
use super::norm::tracked;
use super::slices::{Plain, fits, of, output, rows_of, sum_rows, tensor};
use super::{WeightLayout, composed};

/// y = x Wᵀ + b for `x: [.., in]`. Weight and bias get gradients where they are tracked, and only there.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let weight_tracked = weight.track_op() || bias.is_some_and(Tensor::track_op);
    let all: Vec<&Tensor> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
    if !fits(&all) || !weight.is_contiguous() || x.elem_count() == 0 {
        return match weight_tracked {
            true => composed::linear(x, weight, bias, layout),
            false => frozen_elsewhere(x, weight, bias, layout),
        };
    }
    check(x, weight, layout)?;
    let x = x.contiguous()?;
    if !weight_tracked {
        return x.apply_op1(Frozen { weight: weight.clone(), bias: bias.cloned(), layout });
    }
    match bias {
        Some(bias) => x.apply_op3(weight, &bias.contiguous()?, Trained { layout }),
        None => x.apply_op2(weight, Trained { layout }),
    }
}

/// y = x Wᵀ + b + s·(x Aᵀ) Bᵀ with a frozen W and b: `a: [r, in]`, `b: [out, r]`.
pub fn lora_linear(x: &Tensor, frozen: FrozenWeight<'_>, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let FrozenWeight { weight, bias, layout } = frozen;
    let all: Vec<&Tensor> = [Some(x), Some(weight), bias, Some(a), Some(b)].into_iter().flatten().collect();
    let plain = !weight.track_op() && !bias.is_some_and(Tensor::track_op);
    if !plain || !fits(&all) || !weight.is_contiguous() || x.elem_count() == 0 {
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

/// (in, out) of a weight.
fn sizes(weight: &Tensor, layout: WeightLayout) -> Result<(usize, usize)> {
    let (rows, columns) = weight.dims2()?;
    Ok(match layout {
        WeightLayout::OutIn => (columns, rows),
        WeightLayout::InOut => (rows, columns),
    })
}

fn check(x: &Tensor, weight: &Tensor, layout: WeightLayout) -> Result<()> {
    let inputs = sizes(weight, layout)?.0;
    match x.dims().last() == Some(&inputs) {
        true => Ok(()),
        false => candle_core::bail!("a linear layer of {inputs} inputs was given shape {:?}", x.dims()),
    }
}

/// W as the matrix `[in, out]` that rows of x are multiplied by.
fn right(inputs: usize, outputs: usize, layout: WeightLayout) -> Matrix {
    match layout {
        WeightLayout::OutIn => Matrix::dense(outputs, inputs).transposed(),
        WeightLayout::InOut => Matrix::dense(inputs, outputs),
    }
}

/// x's shape with another last dimension.
fn reshaped(shape: &Shape, last: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    if let Some(width) = dims.last_mut() {
        *width = last;
    }
    dims.into()
}

/// x W + b on slices.
fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, sizes: (usize, usize), layout: WeightLayout) -> Vec<f32> {
    let (inputs, outputs) = sizes;
    let rows = x.len() / inputs.max(1);
    let (mut out, onto) = match bias {
        Some(bias) => (bias.repeat(rows), Onto::Add),
        None => (vec![0f32; rows * outputs], Onto::Overwrite),
    };
    let product = (weight, right(inputs, outputs, layout));
    multiply(
        (&mut out, Matrix::dense(rows, outputs)),
        (x, Matrix::dense(rows, inputs)),
        product,
        1.0,
        onto,
        Threads::All,
    );
    out
}

/// dX = dY Wᵀ on slices.
fn input_gradient(grad: &[f32], weight: &[f32], sizes: (usize, usize), layout: WeightLayout) -> Vec<f32> {
    let (inputs, outputs) = sizes;
    let rows = grad.len() / outputs.max(1);
    let mut out = vec![0f32; rows * inputs];
    let back = (weight, right(inputs, outputs, layout).transposed());
    let target = (out.as_mut_slice(), Matrix::dense(rows, inputs));
    multiply(target, (grad, Matrix::dense(rows, outputs)), back, 1.0, Onto::Overwrite, Threads::All);
    out
}

/// scale·leftᵀ·right for two row-by-row matrices with the same number of rows.
fn outer(left: &[f32], left_width: usize, other: &[f32], other_width: usize, scale: f32) -> Vec<f32> {
    let rows = left.len() / left_width.max(1);
    let mut out = vec![0f32; left_width * other_width];
    let target = (out.as_mut_slice(), Matrix::dense(left_width, other_width));
    let left = (left, Matrix::dense(rows, left_width).transposed());
    multiply(target, left, (other, Matrix::dense(rows, other_width)), scale, Onto::Overwrite, Threads::All);
    out
}

struct Frozen {
    weight: Tensor,
    bias: Option<Tensor>,
    layout: WeightLayout,
}

impl Frozen {
    fn run(&self, x: &[f32]) -> Result<Vec<f32>> {
        let weight = Plain::new(&self.weight)?;
        let bias = self.bias.as_ref().map(Plain::new).transpose()?;
        let bias = bias.as_ref().map(Plain::values).transpose()?;
        Ok(forward(x, &weight.values()?, bias.as_deref(), sizes(&self.weight, self.layout)?, self.layout))
    }

    fn back(&self, grad: &[f32]) -> Result<Vec<f32>> {
        let weight = Plain::new(&self.weight)?;
        Ok(input_gradient(grad, &weight.values()?, sizes(&self.weight, self.layout)?, self.layout))
    }
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen_linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        output(self.run(of(x, at)?)?, reshaped(at.shape(), sizes(&self.weight, self.layout)?.1))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = Plain::new(grad)?;
        tensor(self.back(&grad.values()?)?, x.shape()).map(Some)
    }
}

/// A linear layer with a tracked weight (and bias).
struct Trained {
    layout: WeightLayout,
}

impl Trained {
    fn input(&self, x: &Tensor, weight: &Tensor, grads: &[f32]) -> Result<Option<Tensor>> {
        tracked(x, || {
            let plain = Plain::new(weight)?;
            let gradient = input_gradient(grads, &plain.values()?, sizes(weight, self.layout)?, self.layout);
            tensor(gradient, x.shape())
        })
    }

    fn weight(&self, x: &Tensor, weight: &Tensor, grads: &[f32]) -> Result<Option<Tensor>> {
        tracked(weight, || {
            let (inputs, outputs) = sizes(weight, self.layout)?;
            let plain = Plain::new(x)?;
            let xs = plain.values()?;
            let gradient = match self.layout {
                WeightLayout::OutIn => outer(grads, outputs, &xs, inputs, 1.0),
                WeightLayout::InOut => outer(&xs, inputs, grads, outputs, 1.0),
            };
            tensor(gradient, weight.shape())
        })
    }
}

/// (in, out) of a weight inside a custom op.
fn sizes_at(layout_at: &Layout, layout: WeightLayout) -> Result<(usize, usize)> {
    let (rows, columns) = layout_at.shape().dims2()?;
    Ok(match layout {
        WeightLayout::OutIn => (columns, rows),
        WeightLayout::InOut => (rows, columns),
    })
}

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        weight: &CpuStorage,
        weight_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = sizes_at(weight_at, self.layout)?;
        let out = forward(of(x, x_at)?, of(weight, weight_at)?, None, sizes, self.layout);
        output(out, reshaped(x_at.shape(), sizes.1))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = Plain::new(grad)?;
        let grads = grad.values()?;
        Ok((self.input(x, weight, &grads)?, self.weight(x, weight, &grads)?))
    }
}

impl CustomOp3 for Trained {
    fn name(&self) -> &'static str {
        "linear_with_bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        weight: &CpuStorage,
        weight_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = sizes_at(weight_at, self.layout)?;
        let out = forward(of(x, x_at)?, of(weight, weight_at)?, Some(of(bias, bias_at)?), sizes, self.layout);
        output(out, reshaped(x_at.shape(), sizes.1))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = Plain::new(grad)?;
        let grads = grad.values()?;
        let for_bias = tracked(bias, || tensor(column_sums(&grads, bias.elem_count()), bias.shape()))?;
        Ok((self.input(x, weight, &grads)?, self.weight(x, weight, &grads)?, for_bias))
    }
}

fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    sum_rows(values.len() / width.max(1), width, |rows, sums| {
        for row in rows_of(values, rows, width).chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    })
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

/// A frozen layer on another device or in another type: the product is candle's, the backward ours.
fn frozen_elsewhere(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let (inputs, outputs) = sizes(weight, layout)?;
    let shape = reshaped(x.shape(), outputs);
    let rows = x.elem_count() / inputs.max(1);
    let y = x.contiguous()?.reshape((rows, inputs))?.apply_op1(Elsewhere { weight: weight.detach(), layout })?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(shape)
}

/// x W for `x: [n, in]` by the device's own matrix product.
struct Elsewhere {
    weight: Tensor,
    layout: WeightLayout,
}

impl Elsewhere {
    /// W as `[in, out]`.
    fn right(&self) -> Result<Tensor> {
        match self.layout {
            WeightLayout::OutIn => self.weight.t(),
            WeightLayout::InOut => Ok(self.weight.clone()),
        }
    }

    fn product<S: BackendStorage>(&self, x: &S, at: &Layout, weight: &S, weight_at: &Layout) -> Result<(S, Shape)> {
        let (rows, inputs) = at.shape().dims2()?;
        let outputs = weight_at.shape().dims2()?.1;
        Ok((x.matmul(weight, (1, rows, outputs, inputs), at, weight_at)?, (rows, outputs).into()))
    }
}

macro_rules! on_device {
    ($name:ident, $storage:ty, $kind:ident) => {
        fn $name(&self, x: &$storage, at: &Layout) -> Result<($storage, Shape)> {
            let right = self.right()?;
            let (storage, weight_at) = right.storage_and_layout();
            match &*storage {
                Storage::$kind(weight) => self.product(x, at, weight, weight_at),
                _ => candle_core::bail!("input and weight are on different devices"),
            }
        }
    };
}

impl CustomOp1 for Elsewhere {
    fn name(&self) -> &'static str {
        "frozen_linear_on_device"
    }

    on_device!(cpu_fwd, CpuStorage, Cpu);
    on_device!(cuda_fwd, CudaStorage, Cuda);
    on_device!(metal_fwd, MetalStorage, Metal);

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.detach().contiguous()?.matmul(&self.right()?.t()?).map(Some)
    }
}
