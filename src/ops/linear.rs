//! Linear layers, frozen and trained.
//!
//! A frozen weight lives inside the operation, so its backward gives the input's gradient alone. candle's own matmul
//! would compute and keep a gradient of the weight's size for every frozen matrix.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::linear_on_device::frozen_elsewhere;
use super::matmul::{self, Matrix, Onto, Threads, multiply};
use super::norm::tracked;
use super::slices::{Plain, fits, of, output, rows_of, sum_rows, tensor};
use super::{WeightLayout, composed};

/// y = x Wᵀ + b for `x: [.., in]`. Weight and bias get gradients where they are tracked, and only there.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let weight_tracked = weight.track_op() || bias.is_some_and(Tensor::track_op);
    let all: Vec<&Tensor> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
    if !fits(&all) || !is_stored_whole(weight) || x.elem_count() == 0 {
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
    let weight = weight.contiguous()?;
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Trained { layout }),
        None => x.apply_op2(&weight, Trained { layout }),
    }
}

/// The outputs `columns` of [`linear`], `[.., columns]`, on the CPU in single precision and without a gradient.
pub fn linear_columns(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: WeightLayout,
    columns: Range<usize>,
) -> Result<Tensor> {
    check(x, weight, layout)?;
    let outputs = sizes(weight, layout)?.1;
    let all: Vec<&Tensor> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
    if columns.start > columns.end || columns.end > outputs || !fits(&all) {
        candle_core::bail!("outputs {columns:?} of a linear layer of {outputs}");
    }
    let (plain, (weight, stored)) = (Plain::new(x)?, stored(weight)?);
    let bias = bias.map(|bias| Plain::new(&bias.narrow(0, columns.start, columns.len())?)).transpose()?;
    let bias = bias.as_ref().map(Plain::values).transpose()?;
    let whole = inward(stored, layout);
    let part = Matrix { offset: columns.start * whole.column, columns: columns.len(), ..whole };
    let out = product(&plain.values()?, (&weight.values()?, part), bias.as_deref());
    tensor(out, reshaped(x.shape(), columns.len()))
}

/// Whether a weight lies in memory row by row or column by column.
pub(super) fn is_stored_whole(weight: &Tensor) -> bool {
    weight.is_contiguous() || weight.t().is_ok_and(|turned| turned.is_contiguous())
}

/// The same weight column by column in memory: for a weight `[out, in]` the order in which products with many rows read
/// it fastest.
pub fn stored_by_column(weight: &Tensor) -> Result<Tensor> {
    const TILE: usize = 32;
    let (rows, columns) = weight.dims2()?;
    if !fits(&[weight]) || rows * columns == 0 {
        return Ok(weight.clone());
    }
    let plain = Plain::new(weight)?;
    let from = plain.values()?;
    let mut turned = vec![0f32; rows * columns];
    turned.par_chunks_mut(TILE * rows).enumerate().for_each(|(tile, out)| {
        let first = tile * TILE;
        for top in (0..rows).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                let run = from.get(row * columns + first..).unwrap_or_default();
                for (column, value) in out.chunks_exact_mut(rows).zip(run) {
                    column.get_mut(row).into_iter().for_each(|place| *place = *value);
                }
            }
        }
    });
    tensor(turned, (columns, rows))?.t()
}

/// A weight's values, and where its element (row, column) is among them.
fn stored(weight: &Tensor) -> Result<(Plain, Matrix)> {
    let (rows, columns) = weight.dims2()?;
    match weight.is_contiguous() {
        true => Ok((Plain::new(weight)?, Matrix::dense(rows, columns))),
        false => Ok((Plain::new(&weight.t()?)?, Matrix::dense(columns, rows).transposed())),
    }
}

/// A weight's matrix as `[in, out]`.
fn inward(stored: Matrix, layout: WeightLayout) -> Matrix {
    match layout {
        WeightLayout::OutIn => stored.transposed(),
        WeightLayout::InOut => stored,
    }
}

/// (in, out) of a weight.
pub(super) fn sizes(weight: &Tensor, layout: WeightLayout) -> Result<(usize, usize)> {
    let (rows, columns) = weight.dims2()?;
    Ok(match layout {
        WeightLayout::OutIn => (columns, rows),
        WeightLayout::InOut => (rows, columns),
    })
}

pub(super) fn check(x: &Tensor, weight: &Tensor, layout: WeightLayout) -> Result<()> {
    let inputs = sizes(weight, layout)?.0;
    match x.dims().last() == Some(&inputs) {
        true => Ok(()),
        false => candle_core::bail!("a linear layer of {inputs} inputs was given shape {:?}", x.dims()),
    }
}

/// W as the matrix `[in, out]` that rows of x are multiplied by.
pub(super) fn right(inputs: usize, outputs: usize, layout: WeightLayout) -> Matrix {
    match layout {
        WeightLayout::OutIn => Matrix::dense(outputs, inputs).transposed(),
        WeightLayout::InOut => Matrix::dense(inputs, outputs),
    }
}

/// x's shape with another last dimension.
pub(super) fn reshaped(shape: &Shape, last: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    if let Some(width) = dims.last_mut() {
        *width = last;
    }
    dims.into()
}

/// x W + b on slices.
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    sizes: (usize, usize),
    layout: WeightLayout,
) -> Vec<f32> {
    let (inputs, outputs) = sizes;
    product(x, (weight, right(inputs, outputs, layout)), bias)
}

/// x W + b for a matrix `[in, out]` inside a slice.
fn product(x: &[f32], (weight, matrix): (&[f32], Matrix), bias: Option<&[f32]>) -> Vec<f32> {
    let (inputs, outputs) = (matrix.rows, matrix.columns);
    let rows = x.len() / inputs.max(1);
    let left = (x, Matrix::dense(rows, inputs));
    let Some(bias) = bias else { return matmul::product(left, (weight, matrix), Threads::All) };
    let mut out = bias.repeat(rows);
    let target = (out.as_mut_slice(), Matrix::dense(rows, outputs));
    multiply(target, left, (weight, matrix), 1.0, Onto::Add, Threads::All);
    out
}

/// dX = dY Wᵀ on slices.
fn input_gradient(grad: &[f32], weight: &[f32], sizes: (usize, usize), layout: WeightLayout) -> Vec<f32> {
    let (inputs, outputs) = sizes;
    back(grad, (weight, right(inputs, outputs, layout)))
}

/// dY Wᵀ for W as `[in, out]` inside a slice.
fn back(grad: &[f32], (weight, matrix): (&[f32], Matrix)) -> Vec<f32> {
    let left = Matrix::dense(grad.len() / matrix.columns.max(1), matrix.columns);
    matmul::product((grad, left), (weight, matrix.transposed()), Threads::All)
}

/// scale·leftᵀ·right for two row-by-row matrices with the same number of rows.
pub(super) fn outer(left: &[f32], left_width: usize, other: &[f32], other_width: usize, scale: f32) -> Vec<f32> {
    let rows = left.len() / left_width.max(1);
    let mut out = vec![0f32; left_width * other_width];
    let target = (out.as_mut_slice(), Matrix::dense(left_width, other_width));
    let left = (left, Matrix::dense(rows, left_width).transposed());
    multiply(target, left, (other, Matrix::dense(rows, other_width)), scale, Onto::Overwrite, Threads::All);
    out
}

/// A linear layer whose weight and bias get no gradient.
pub(super) struct Frozen {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub layout: WeightLayout,
}

impl Frozen {
    /// x W + b.
    pub fn run(&self, x: &[f32]) -> Result<Vec<f32>> {
        let (weight, matrix) = stored(&self.weight)?;
        let bias = self.bias.as_ref().map(Plain::new).transpose()?;
        let bias = bias.as_ref().map(Plain::values).transpose()?;
        Ok(product(x, (&weight.values()?, inward(matrix, self.layout)), bias.as_deref()))
    }

    /// The gradient of x.
    pub fn back(&self, grad: &[f32]) -> Result<Vec<f32>> {
        let (weight, matrix) = stored(&self.weight)?;
        Ok(back(grad, (&weight.values()?, inward(matrix, self.layout))))
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
