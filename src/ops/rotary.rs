//! Rotary position embedding.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use multiversion::multiversion;

use super::slices::{Plain, fill_rows, fits, matching, of, output, tensor};
use super::{Pairing, composed};

/// Turns the first `2·r` channels of `x: [b, t, h, k]` by `cos, sin: [t, r]`, or by `[b, t, r]` where rows have tables of
/// their own, paired as told.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, pairing: Pairing) -> Result<Tensor> {
    let (batch, tokens, _, width) = x.dims4()?;
    let pairs = cos.dim(D::Minus1)?;
    let shared = cos.dims() == [tokens, pairs];
    if !(shared || cos.dims() == [batch, tokens, pairs]) || sin.dims() != cos.dims() || 2 * pairs > width {
        candle_core::bail!("rotary tables {:?} and {:?} do not fit {:?}", cos.dims(), sin.dims(), x.dims());
    }
    if !fits(&[x, cos, sin]) || pairs == 0 {
        return composed::rotate(x, cos, sin, pairing);
    }
    let op = Rotate { cos: cos.detach(), sin: sin.detach(), pairs, pairing };
    x.contiguous()?.apply_op1(op)
}

struct Rotate {
    cos: Tensor,
    sin: Tensor,
    pairs: usize,
    pairing: Pairing,
}

/// Rows of one token: each `width` channels, all turned by the same table row; back where `sign` is −1.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn turn(x: &[f32], width: usize, cos: &[f32], sin: &[f32], sign: f32, out: &mut [f32]) {
    let pairs = cos.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let (Some((x_first, rest)), Some((out_first, out_rest))) =
            (x.split_at_checked(pairs), out.split_at_mut_checked(pairs))
        else {
            continue;
        };
        let (Some((x_second, rest)), Some((out_second, out_rest))) =
            (rest.split_at_checked(pairs), out_rest.split_at_mut_checked(pairs))
        else {
            continue;
        };
        let inputs = x_first.iter().zip(x_second).zip(cos.iter().zip(sin));
        for ((a, b), ((x, y), (cos, sin))) in out_first.iter_mut().zip(out_second).zip(inputs) {
            let sin = sin * sign;
            *a = x * cos - y * sin;
            *b = y * cos + x * sin;
        }
        out_rest.copy_from_slice(rest);
    }
}

/// The same where channel 2i pairs with channel 2i + 1.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn turn_neighbours(x: &[f32], width: usize, cos: &[f32], sin: &[f32], sign: f32, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(x);
        for (pair, (cos, sin)) in out.chunks_exact_mut(2).zip(cos.iter().zip(sin)) {
            let [a, b] = pair else { continue };
            let (x, y, sin) = (*a, *b, sin * sign);
            *a = x * cos - y * sin;
            *b = y * cos + x * sin;
        }
    }
}

impl Rotate {
    /// `x` is `[b, t, h, k]`; each run of `h·k` values belongs to one token.
    fn run(&self, x: &[f32], dims: (usize, usize, usize, usize), sign: f32) -> Result<Vec<f32>> {
        let (_, _, heads, width) = dims;
        let (cos, sin) = (Plain::new(&self.cos)?, Plain::new(&self.sin)?);
        let (cos, sin) = (cos.values()?, sin.values()?);
        let (cos, sin, row) = (&*cos, &*sin, heads * width);
        let rows = cos.len() / self.pairs;
        let mut out = vec![0f32; x.len()];
        fill_rows(&mut out, row, |first, run| {
            let x = matching(x, first, row, run);
            for (number, (x, out)) in x.chunks_exact(row).zip(run.chunks_exact_mut(row)).enumerate() {
                let at = (first + number) % rows * self.pairs;
                let table = at..at + self.pairs;
                let (cos, sin) = (cos.get(table.clone()).unwrap_or_default(), sin.get(table).unwrap_or_default());
                match self.pairing {
                    Pairing::Halves => turn(x, width, cos, sin, sign, out),
                    Pairing::Neighbours => turn_neighbours(x, width, cos, sin, sign, out),
                }
            }
        });
        Ok(out)
    }
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = self.run(of(x, x_at)?, x_at.shape().dims4()?, 1.0)?;
        output(values, x_at.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = Plain::new(grad)?;
        tensor(self.run(&grad.values()?, x.dims4()?, -1.0)?, x.shape()).map(Some)
    }
}
