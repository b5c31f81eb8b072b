//! The same operations written with candle's elementary ones: what runs on devices and types that have no kernel of
//! ours, and the oracle that tests hold the kernels against. Differentiable throughout.

use candle_core::{D, DType, Device, Result, Tensor};

use super::{Activation, CausalMask, Pairing, WeightLayout};

/// y = x Wᵀ + b for `x: [.., in]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let (inputs, outputs) = match layout {
        WeightLayout::OutIn => (weight.dim(1)?, weight.dim(0)?),
        WeightLayout::InOut => (weight.dim(0)?, weight.dim(1)?),
    };
    let mut shape = x.dims().to_vec();
    let rows = x.elem_count() / inputs.max(1);
    let x = x.reshape((rows, inputs))?;
    let y = match layout {
        WeightLayout::OutIn => x.matmul(&weight.t()?)?,
        WeightLayout::InOut => x.matmul(weight)?,
    };
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    y.reshape(shape)
}

/// Rows of a table `[v, d]` at ids of any shape: `[.., d]`.
pub fn embed(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let mut shape = ids.dims().to_vec();
    shape.push(table.dim(1)?);
    table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
}

/// x / √(mean x² + ε), over the last dimension.
pub fn normalize(x: &Tensor, eps: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&scale)
}

/// Root-mean-square norm over the last dimension: x / √(mean x² + ε) · gain.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor> {
    normalize(x, eps)?.broadcast_mul(gain)
}

/// Layer norm over the last dimension: (x − mean) / √(var + ε) · gain + bias.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let y = normalize(&centred, eps)?.broadcast_mul(gain)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// Softmax over the keys of `scale · scores`, `scores: [.., q, k]`, with what the mask hides at 0.
pub fn causal_softmax(scores: &Tensor, scale: f64, mask: CausalMask, softcap: Option<f64>) -> Result<Tensor> {
    let (queries, keys) = (scores.dim(D::Minus2)?, scores.dim(D::Minus1)?);
    masked_softmax(scores, scale, &hidden_scores(queries, keys, mask, scores.device())?, softcap)
}

/// The same with the mask as a tensor to be added, −∞ where a key is hidden.
pub fn masked_softmax(scores: &Tensor, scale: f64, hidden: &Tensor, softcap: Option<f64>) -> Result<Tensor> {
    let scores = (scores * scale)?;
    let scores = match softcap {
        Some(cap) => ((scores / cap)?.tanh()? * cap)?,
        None => scores,
    };
    softmax(&scores.broadcast_add(&hidden.to_dtype(scores.dtype())?)?)
}

/// Softmax over the last dimension.
pub fn softmax(scores: &Tensor) -> Result<Tensor> {
    let top = scores.max_keepdim(D::Minus1)?.detach();
    let weights = scores.broadcast_sub(&top)?.exp()?;
    weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)
}

/// −∞ where the mask hides a key, else 0.
fn hidden_scores(queries: usize, keys: usize, mask: CausalMask, device: &Device) -> Result<Tensor> {
    let mut values = vec![f32::NEG_INFINITY; queries * keys];
    for (query, row) in values.chunks_mut(keys.max(1)).enumerate() {
        if let Some(visible) = row.get_mut(mask.visible(query, keys)) {
            visible.fill(0.0);
        }
    }
    Tensor::from_vec(values, (queries, keys), device)
}

/// Rotary embedding of the first `2·r` channels of `x: [b, t, h, k]` by `cos, sin: [t, r]`, or `[b, t, r]` where rows
/// differ, paired as told.
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, pairing: Pairing) -> Result<Tensor> {
    let (pairs, width) = (cos.dim(D::Minus1)?, x.dim(D::Minus1)?);
    let cos = cos.unsqueeze(cos.rank() - 1)?.to_dtype(x.dtype())?;
    let sin = sin.unsqueeze(sin.rank() - 1)?.to_dtype(x.dtype())?;
    let turn = |first: &Tensor, second: &Tensor| {
        let turned_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
        let turned_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
        Ok::<_, candle_core::Error>((turned_first, turned_second))
    };
    let turned = match pairing {
        Pairing::Halves => {
            let (first, second) = turn(&x.narrow(D::Minus1, 0, pairs)?, &x.narrow(D::Minus1, pairs, pairs)?)?;
            Tensor::cat(&[first, second], D::Minus1)?
        }
        Pairing::Neighbours => {
            let (batch, tokens, heads, _) = x.dims4()?;
            let paired = x.narrow(D::Minus1, 0, 2 * pairs)?.reshape((batch, tokens, heads, pairs, 2))?;
            let channel = |index| paired.narrow(D::Minus1, index, 1)?.squeeze(D::Minus1);
            let (first, second) = turn(&channel(0)?, &channel(1)?)?;
            Tensor::stack(&[first, second], D::Minus1)?.flatten_from(3)?
        }
    };
    match width - 2 * pairs {
        0 => Ok(turned),
        rest => Tensor::cat(&[turned, x.narrow(D::Minus1, 2 * pairs, rest)?], D::Minus1),
    }
}

/// x·σ(x).
pub fn silu(x: &Tensor) -> Result<Tensor> {
    x.silu()
}

/// GELU in its tanh form.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    x.gelu()
}

/// GELU with the error function.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// The activation alone.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Silu => silu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::GeluErf => gelu_erf(x),
        Activation::Relu => x.relu(),
    }
}

/// act(gate) · up.
pub fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    activate(gate, activation)? * up
}

/// log softmax(logits)[row, token] for each pick, `logits: [n, v]` → `[picks]`.
pub fn logprobs_at(logits: &Tensor, picks: &[(usize, u32)]) -> Result<Tensor> {
    let (rows, vocab) = logits.dims2()?;
    if picks.is_empty() {
        return Tensor::zeros(0, DType::F32, logits.device());
    }
    if let Some((row, token)) = picks.iter().find(|(row, token)| *row >= rows || *token as usize >= vocab) {
        candle_core::bail!("row {row}, token {token} is outside logits of shape [{rows}, {vocab}]");
    }
    let logits = logits.to_dtype(DType::F32)?;
    let top = logits.max_keepdim(D::Minus1)?.detach();
    let sums = (logits.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?.log()? + top)?.squeeze(1)?;
    let at: Vec<i64> = picks.iter().map(|&(row, token)| (row * vocab) as i64 + i64::from(token)).collect();
    let of: Vec<u32> = picks.iter().map(|&(row, _)| row as u32).collect();
    let at = Tensor::from_vec(at, picks.len(), logits.device())?;
    let of = Tensor::from_vec(of, picks.len(), logits.device())?;
    logits.flatten_all()?.index_select(&at, 0)? - sums.index_select(&of, 0)?
}

/// The column of the largest value of each row of `[n, v]`, the first of equals.
pub fn argmax_rows(logits: &Tensor) -> Result<Vec<u32>> {
    logits.argmax(D::Minus1)?.to_vec1::<u32>()
}
