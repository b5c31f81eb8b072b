//! Norms over the last dimension.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use multiversion::multiversion;

use super::composed;
use super::simd::{sum_of, sum_of_two};
use super::slices::{Plain, fill_rows, fits, matching, of, output, rows_of, sum_rows, tensor};

/// Root-mean-square norm over the last dimension: x / √(mean x² + ε) · gain.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor> {
    if !fits(&[x, gain]) || gain.elem_count() == 0 {
        return composed::rms_norm(x, gain, eps);
    }
    x.contiguous()?.apply_op2(&gain.contiguous()?, RmsNorm { eps })
}

/// Layer norm over the last dimension: (x − mean) / √(var + ε) · gain + bias.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    match bias {
        Some(bias) if fits(&[x, gain, bias]) && gain.elem_count() > 0 => {
            x.contiguous()?.apply_op3(&gain.contiguous()?, &bias.contiguous()?, LayerNorm { eps })
        }
        _ => composed::layer_norm(x, gain, bias, eps),
    }
}

/// x / √(mean x² + ε), over the last dimension. Its product with a gain is [`rms_norm`] to the bit.
pub fn normalize(x: &Tensor, eps: f64) -> Result<Tensor> {
    if !fits(&[x]) {
        return composed::normalize(x, eps);
    }
    let width = x.dim(candle_core::D::Minus1)?;
    rms_norm(x, &Tensor::ones(width, candle_core::DType::F32, x.device())?, eps)
}

struct RmsNorm {
    eps: f64,
}

/// 1 / √(mean x² + ε).
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f64) -> f32 {
    (1.0 / (sum_of(x, |x| x * x) / x.len() as f64 + eps).sqrt()) as f32
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn rms_rows(x: &[f32], gain: &[f32], eps: f64, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        let scale = inverse_rms(x, eps);
        out.iter_mut().zip(x.iter().zip(gain)).for_each(|(out, (x, gain))| *out = x * scale * gain);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn rms_input_gradient(x: &[f32], gain: &[f32], grad: &[f32], eps: f64, out: &mut [f32]) {
    let width = gain.len();
    for ((x, grad), out) in x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(out.chunks_exact_mut(width)) {
        let scale = inverse_rms(x, eps);
        out.iter_mut().zip(grad.iter().zip(gain)).for_each(|(out, (grad, gain))| *out = grad * gain);
        let along = sum_of_two(x, out, |x, g| x * g) / width as f64;
        let along = along as f32 * scale * scale * scale;
        out.iter_mut().zip(x).for_each(|(out, x)| *out = *out * scale - x * along);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn rms_gain_gradient(x: &[f32], grad: &[f32], eps: f64, sums: &mut [f32]) {
    let width = sums.len();
    for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
        let scale = inverse_rms(x, eps);
        sums.iter_mut().zip(x.iter().zip(grad)).for_each(|(sum, (x, grad))| *sum += x * scale * grad);
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        gain: &CpuStorage,
        gain_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain) = (of(x, x_at)?, of(gain, gain_at)?);
        let mut out = vec![0f32; x.len()];
        fill_rows(&mut out, gain.len(), |first, run| {
            rms_rows(matching(x, first, gain.len(), run), gain, self.eps, run)
        });
        output(out, x_at.shape())
    }

    fn bwd(&self, x: &Tensor, gain: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x_plain, gain_plain, grad_plain) = (Plain::new(x)?, Plain::new(gain)?, Plain::new(grad)?);
        let (xs, gains, grads) = (x_plain.values()?, gain_plain.values()?, grad_plain.values()?);
        let (xs, gains, grads, width) = (&*xs, &*gains, &*grads, gains.len());
        let input = tracked(x, || {
            let mut out = vec![0f32; xs.len()];
            fill_rows(&mut out, width, |first, run| {
                let (x, grad) = (matching(xs, first, width, run), matching(grads, first, width, run));
                rms_input_gradient(x, gains, grad, self.eps, run);
            });
            tensor(out, x.shape())
        })?;
        let gain = tracked(gain, || {
            let sums = sum_rows(xs.len() / width.max(1), width, |rows, sums| {
                rms_gain_gradient(rows_of(xs, rows.clone(), width), rows_of(grads, rows, width), self.eps, sums);
            });
            tensor(sums, width)
        })?;
        Ok((input, gain))
    }
}

/// A gradient that is computed only where somebody waits for it.
pub(super) fn tracked(tensor: &Tensor, gradient: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
    match tensor.track_op() {
        true => gradient().map(Some),
        false => Ok(None),
    }
}

struct LayerNorm {
    eps: f64,
}

/// Mean and 1 / √(var + ε).
#[inline(always)]
fn moments(x: &[f32], eps: f64) -> (f32, f32) {
    let mean = (sum_of(x, |x| x) / x.len() as f64) as f32;
    let variance = sum_of(x, |x| (x - mean) * (x - mean)) / x.len() as f64;
    (mean, (1.0 / (variance + eps).sqrt()) as f32)
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn layer_rows(x: &[f32], gain: &[f32], bias: &[f32], eps: f64, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        let (mean, scale) = moments(x, eps);
        let parameters = gain.iter().zip(bias);
        out.iter_mut()
            .zip(x.iter().zip(parameters))
            .for_each(|(out, (x, (gain, bias)))| *out = (x - mean) * scale * gain + bias);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn layer_input_gradient(x: &[f32], gain: &[f32], grad: &[f32], eps: f64, out: &mut [f32]) {
    let width = gain.len();
    for ((x, grad), out) in x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(out.chunks_exact_mut(width)) {
        let (mean, scale) = moments(x, eps);
        out.iter_mut().zip(grad.iter().zip(gain)).for_each(|(out, (grad, gain))| *out = grad * gain);
        let constant = (sum_of(out, |g| g) / width as f64) as f32;
        let along = (sum_of_two(x, out, |x, g| (x - mean) * g) / width as f64) as f32 * scale * scale;
        out.iter_mut().zip(x).for_each(|(out, x)| *out = (*out - constant - (x - mean) * along) * scale);
    }
}

/// Gain sums first, bias sums behind them.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn layer_parameter_gradient(x: &[f32], grad: &[f32], eps: f64, gain: &mut [f32], bias: &mut [f32]) {
    let width = gain.len();
    for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
        let (mean, scale) = moments(x, eps);
        gain.iter_mut().zip(x.iter().zip(grad)).for_each(|(sum, (x, grad))| *sum += (x - mean) * scale * grad);
        bias.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        gain: &CpuStorage,
        gain_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain, bias) = (of(x, x_at)?, of(gain, gain_at)?, of(bias, bias_at)?);
        let mut out = vec![0f32; x.len()];
        fill_rows(&mut out, gain.len(), |first, run| {
            layer_rows(matching(x, first, gain.len(), run), gain, bias, self.eps, run);
        });
        output(out, x_at.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x_plain, gain_plain, grad_plain) = (Plain::new(x)?, Plain::new(gain)?, Plain::new(grad)?);
        let (xs, gains, grads) = (x_plain.values()?, gain_plain.values()?, grad_plain.values()?);
        let (xs, gains, grads, width) = (&*xs, &*gains, &*grads, gains.len());
        let input = tracked(x, || {
            let mut out = vec![0f32; xs.len()];
            fill_rows(&mut out, width, |first, run| {
                let (x, grad) = (matching(xs, first, width, run), matching(grads, first, width, run));
                layer_input_gradient(x, gains, grad, self.eps, run);
            });
            tensor(out, x.shape())
        })?;
        if !gain.track_op() && !bias.track_op() {
            return Ok((input, None, None));
        }
        let sums = sum_rows(xs.len() / width.max(1), 2 * width, |rows, sums| {
            let (gain, bias) = sums.split_at_mut(width);
            layer_parameter_gradient(
                rows_of(xs, rows.clone(), width),
                rows_of(grads, rows, width),
                self.eps,
                gain,
                bias,
            );
        });
        let part = |start: usize| tensor(sums.iter().skip(start).take(width).copied().collect(), width);
        Ok((input, tracked(gain, || part(0))?, tracked(bias, || part(width))?))
    }
}
