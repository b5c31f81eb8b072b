//! Activation functions, alone and gated.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use multiversion::multiversion;

use super::norm::tracked;
use super::simd::{erf, exp, sigmoid};
use super::slices::{Plain, fill_rows, fits, matching, of, output, tensor};
use super::{Activation, composed};

/// The activation of each element.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if !fits(&[x]) {
        return composed::activate(x, activation);
    }
    x.contiguous()?.apply_op1(Activate(activation))
}

/// act(gate) · up.
pub fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    if !fits(&[gate, up]) {
        return composed::gated(gate, up, activation);
    }
    gate.contiguous()?.apply_op2(&up.contiguous()?, Gated(activation))
}

/// A function and its derivative at a point.
type Pair = (f32, f32);

#[inline(always)]
fn silu(x: f32) -> Pair {
    let s = sigmoid(x);
    (x * s, s * (1.0 + x * (1.0 - s)))
}

/// x/2·(1 + tanh u) = x·σ(2u), u = √(2/π)·(x + 0.044715 x³).
#[inline(always)]
fn gelu_tanh(x: f32) -> Pair {
    const SCALE: f32 = 0.797_884_6;
    const CUBE: f32 = 0.044_715;
    let s = sigmoid(2.0 * SCALE * (x + CUBE * x * x * x));
    (x * s, s + x * s * (1.0 - s) * 2.0 * SCALE * (1.0 + 3.0 * CUBE * x * x))
}

/// x·Φ(x).
#[inline(always)]
fn gelu_erf(x: f32) -> Pair {
    const DENSITY: f32 = 0.398_942_3;
    let below = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    (x * below, below + x * DENSITY * exp(-0.5 * x * x))
}

#[inline(always)]
fn relu(x: f32) -> Pair {
    match x < 0.0 {
        true => (0.0, 0.0),
        false => (x, if x > 0.0 { 1.0 } else { 0.0 }),
    }
}

#[inline(always)]
fn values(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> Pair) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out = f(*x).0);
}

#[inline(always)]
fn gradients(x: &[f32], grad: &[f32], out: &mut [f32], f: impl Fn(f32) -> Pair) {
    out.iter_mut().zip(x.iter().zip(grad)).for_each(|(out, (x, grad))| *out = grad * f(*x).1);
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn forward(x: &[f32], out: &mut [f32], activation: Activation) {
    match activation {
        Activation::Silu => values(x, out, silu),
        Activation::GeluTanh => values(x, out, gelu_tanh),
        Activation::GeluErf => values(x, out, gelu_erf),
        Activation::Relu => values(x, out, relu),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn backward(x: &[f32], grad: &[f32], out: &mut [f32], activation: Activation) {
    match activation {
        Activation::Silu => gradients(x, grad, out, silu),
        Activation::GeluTanh => gradients(x, grad, out, gelu_tanh),
        Activation::GeluErf => gradients(x, grad, out, gelu_erf),
        Activation::Relu => gradients(x, grad, out, relu),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn multiply_by(x: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out *= x);
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = of(x, x_at)?;
        let mut out = vec![0f32; x.len()];
        fill_rows(&mut out, 1, |first, run| forward(matching(x, first, 1, run), run, self.0));
        output(out, x_at.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (x_plain, grad) = (Plain::new(x)?, Plain::new(grad)?);
        let (xs, grads) = (x_plain.values()?, grad.values()?);
        let (xs, grads) = (&*xs, &*grads);
        let mut out = vec![0f32; xs.len()];
        fill_rows(&mut out, 1, |first, run| {
            backward(matching(xs, first, 1, run), matching(grads, first, 1, run), run, self.0);
        });
        tensor(out, x.shape()).map(Some)
    }
}

struct Gated(Activation);

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated_activation"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_at: &Layout,
        up: &CpuStorage,
        up_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (of(gate, gate_at)?, of(up, up_at)?);
        let mut out = vec![0f32; gate.len()];
        fill_rows(&mut out, 1, |first, run| {
            forward(matching(gate, first, 1, run), run, self.0);
            multiply_by(matching(up, first, 1, run), run);
        });
        output(out, gate_at.shape())
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (gate_plain, up_plain, grad_plain) = (Plain::new(gate)?, Plain::new(up)?, Plain::new(grad)?);
        let (gates, ups, grads) = (gate_plain.values()?, up_plain.values()?, grad_plain.values()?);
        let (gates, ups, grads) = (&*gates, &*ups, &*grads);
        let for_gate = tracked(gate, || {
            let mut out = vec![0f32; gates.len()];
            fill_rows(&mut out, 1, |first, run| {
                backward(matching(gates, first, 1, run), matching(grads, first, 1, run), run, self.0);
                multiply_by(matching(ups, first, 1, run), run);
            });
            tensor(out, gate.shape())
        })?;
        let for_up = tracked(up, || {
            let mut out = vec![0f32; gates.len()];
            fill_rows(&mut out, 1, |first, run| {
                forward(matching(gates, first, 1, run), run, self.0);
                multiply_by(matching(grads, first, 1, run), run);
            });
            tensor(out, up.shape())
        })?;
        Ok((for_gate, for_up))
    }
}
