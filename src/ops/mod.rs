//! The tensor kernels of the decoder, each differentiable in every tracked input.
//!
//! candle's own fused kernels (`softmax_last_dim`, `rms_norm`, `layer_norm`, `rope`) return tensors without a
//! backward and cut gradients in silence, so nothing outside this room calls them. Ours run single precision on the
//! CPU with vector code picked at run time, rows split over rayon's threads; elsewhere the same operations are
//! composed of candle's elementary ones. Where nothing is tracked candle keeps no graph, and nothing is stored for a
//! backward pass. Results do not depend on the number of threads.

mod activation;
mod attention;
mod attention_at;
pub(crate) mod composed;
mod embed;
mod linear;
mod linear_on_device;
mod lora;
mod loss;
mod matmul;
mod norm;
mod packed;
mod rotary;
mod simd;
mod slices;
mod softmax;
mod stored;
mod tap;

#[cfg(test)]
mod check;

pub use activation::{activate, gated};
pub use attention::{Attending, attend, attention, attention_pattern, fused_attention};
pub use attention_at::{attends_apart, attention_at};
pub use composed::softmax;
pub use embed::embed;
pub use linear::{linear, linear_columns, stored_by_column};
pub use lora::{FrozenWeight, lora_linear};
pub use loss::{argmax_rows, logprobs_at};
pub use norm::{layer_norm, normalize, rms_norm};
pub use packed::{PackedWeight, packed_linear};
pub use rotary::rotate;
pub use softmax::causal_softmax;
pub use stored::{Span, Stand, Stored, attend_over, attention_over, first_tokens, pattern_over};
pub use tap::GradientTap;

/// How a linear layer's weight is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, as `torch.nn.Linear` stores it.
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D` stores it.
    InOut,
}

/// The activation function of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x·σ(x).
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
    /// GELU with the error function.
    GeluErf,
    /// max(x, 0).
    Relu,
}

/// Which channels a rotary embedding of r pairs turns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Channel i with channel i + r.
    #[default]
    Halves,
    /// Channel 2i with channel 2i + 1.
    Neighbours,
}

/// Which keys a query may see, beyond those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CausalMask {
    /// Position of the first query minus the position of the first key.
    pub offset: usize,
    /// A query at position p sees keys at p − window + 1 … p; all up to p where `None`.
    pub window: Option<usize>,
}

impl CausalMask {
    /// The keys that query row `query` sees, of `keys` in all.
    pub fn visible(&self, query: usize, keys: usize) -> std::ops::Range<usize> {
        let end = (query + self.offset + 1).min(keys);
        let start = self.window.map_or(0, |window| (query + self.offset + 1).saturating_sub(window));
        start.min(end)..end
    }
}
