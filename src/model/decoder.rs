//! The one decoder: embedding, blocks, final norm, head, with a hook at every named point.
//!
//! Cost: one pass over the tokens; only the positions that are read out are unembedded.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};

use super::architecture::{Architecture, NormKind};
use super::attention::{Attention, Keep, Mask};
use super::cache::KeyValueCache;
use super::error::ModelError;
use super::hook::{HookKind, HookPoint, Hooks};
use super::layout::{BlockLayout, Layout, MlpInput, NormPlace, named};
use super::linear::{Linear, Lora};
use super::rotary::RotaryTables;
use crate::ops::{self, Activation, Span};

/// Which positions a pass unembeds.
#[derive(Debug, Clone, Copy)]
pub enum Readout<'a> {
    /// All: logits `[b, t, v]`.
    All,
    /// The listed (row, position) pairs: logits `[n, v]` in their order.
    Rows(&'a [(usize, usize)]),
}

/// Where a pass begins.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// At token ids `[b, t]`.
    Tokens(&'a Tensor),
    /// At the residual stream before a block.
    Residual {
        /// The first block that runs.
        layer: usize,
        /// `[b, t, d]`.
        resid_btd: &'a Tensor,
    },
}

/// What earlier positions a pass reads.
#[derive(Debug, Clone, Copy)]
pub struct Prefix<'a> {
    /// Their keys and values.
    pub cache: &'a KeyValueCache,
    /// One for each row of the pass.
    pub spans: &'a [Span],
}

/// One pass, its readout and hooks aside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub start: Start<'a>,
    pub prefix: Option<Prefix<'a>>,
    pub keep: Keep,
}

/// Calls the hook at a point if it is wanted there, and checks that what comes back has the shape that went in.
pub(crate) fn tap(hooks: &mut dyn Hooks, kind: HookKind, layer: usize, activation: Tensor) -> Result<Tensor> {
    let point = HookPoint::new(kind, layer);
    if !hooks.wants(point) {
        return Ok(activation);
    }
    let shape = activation.shape().clone();
    let replaced = hooks.at(point, activation)?;
    if replaced.shape() != &shape {
        candle_core::bail!("the hook at {point} returned shape {:?} for {:?}", replaced.dims(), shape.dims());
    }
    Ok(replaced)
}

#[derive(Debug, Clone)]
pub(crate) struct Norm {
    kind: NormKind,
    eps: f64,
    gain: Tensor,
    bias: Option<Tensor>,
}

impl Norm {
    pub fn new(
        place: &NormPlace,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let gain = named(tensors, &format!("{}.weight", place.module))?;
        let bias = match place.bias {
            true => Some(named(tensors, &format!("{}.bias", place.module))?),
            false => None,
        };
        Ok(Self { kind: architecture.norm, eps: architecture.norm_eps, gain, bias })
    }

    fn optional(
        place: &Option<NormPlace>,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Option<Self>, ModelError> {
        place.as_ref().map(|place| Self::new(place, architecture, tensors)).transpose()
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.kind {
            NormKind::Rms => ops::rms_norm(x, &self.gain, self.eps),
            NormKind::RmsOnePlus => ops::rms_norm(x, &(&self.gain + 1.0)?, self.eps),
            NormKind::Layer => ops::layer_norm(x, &self.gain, self.bias.as_ref(), self.eps),
        }
    }

    /// The final norm with its hook: before the gain for an RMS norm, after gain and bias for a layer norm.
    fn forward_hooked(&self, x: &Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let gain = match self.kind {
            NormKind::Layer => return tap(hooks, HookKind::FinalNormalized, 0, self.forward(x)?),
            NormKind::Rms => self.gain.clone(),
            NormKind::RmsOnePlus => (&self.gain + 1.0)?,
        };
        tap(hooks, HookKind::FinalNormalized, 0, ops::normalize(x, self.eps)?)?.broadcast_mul(&gain)
    }
}

#[derive(Debug, Clone)]
enum MlpIn {
    Plain(Linear),
    Gated { gate: Linear, up: Linear },
    GatedFused(Linear),
}

#[derive(Debug, Clone)]
struct Block {
    attention_in_norm: Option<Norm>,
    attention_out_norm: Option<Norm>,
    mlp_in_norm: Option<Norm>,
    mlp_out_norm: Option<Norm>,
    attention: Attention,
    mlp: MlpIn,
    mlp_out: Linear,
    activation: Activation,
    parallel: bool,
}

fn normed(norm: &Option<Norm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

impl Block {
    fn new(
        layout: &BlockLayout,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let norm = |place: &Option<NormPlace>| Norm::optional(place, architecture, tensors);
        let mlp = match &layout.mlp {
            MlpInput::Plain(up) => MlpIn::Plain(Linear::new(up, tensors)?),
            MlpInput::GatedFused(both) => MlpIn::GatedFused(Linear::new(both, tensors)?),
            MlpInput::Gated { gate, up } => {
                MlpIn::Gated { gate: Linear::new(gate, tensors)?, up: Linear::new(up, tensors)? }
            }
        };
        Ok(Self {
            attention_in_norm: norm(&layout.attention_in_norm)?,
            attention_out_norm: norm(&layout.attention_out_norm)?,
            mlp_in_norm: norm(&layout.mlp_in_norm)?,
            mlp_out_norm: norm(&layout.mlp_out_norm)?,
            attention: Attention::new(layout, architecture, tensors)?,
            mlp,
            mlp_out: Linear::new(&layout.mlp_out, tensors)?,
            activation: architecture.activation,
            parallel: architecture.parallel_residual,
        })
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut linears = self.attention.linears_mut();
        match &mut self.mlp {
            MlpIn::Plain(up) | MlpIn::GatedFused(up) => linears.push(up),
            MlpIn::Gated { gate, up } => linears.extend([gate, up]),
        }
        linears.push(&mut self.mlp_out);
        linears
    }

    fn forward(&self, layer: usize, resid_btd: Tensor, mask: &Mask<'_>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let resid_btd = tap(hooks, HookKind::ResidPre, layer, resid_btd)?;
        let input_btd = normed(&self.attention_in_norm, resid_btd.clone())?;
        let attn_btd = self.attention.forward(layer, &input_btd, mask, hooks)?;
        let attn_btd = tap(hooks, HookKind::AttnOut, layer, normed(&self.attention_out_norm, attn_btd)?)?;
        let resid_btd = match self.parallel {
            true => {
                let mlp_btd = self.mlp(layer, resid_btd.clone(), hooks)?;
                ((resid_btd + attn_btd)? + mlp_btd)?
            }
            false => {
                let mid_btd = tap(hooks, HookKind::ResidMid, layer, (resid_btd + attn_btd)?)?;
                let mlp_btd = self.mlp(layer, mid_btd.clone(), hooks)?;
                (mid_btd + mlp_btd)?
            }
        };
        tap(hooks, HookKind::ResidPost, layer, resid_btd)
    }

    /// What the MLP adds to the stream that it reads.
    fn mlp(&self, layer: usize, resid_btd: Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let input_btd = normed(&self.mlp_in_norm, resid_btd)?;
        let post_btm = match &self.mlp {
            MlpIn::Plain(up) => {
                let pre_btm = tap(hooks, HookKind::MlpPre, layer, up.forward(&input_btd)?)?;
                ops::activate(&pre_btm, self.activation)?
            }
            MlpIn::Gated { gate, up } => {
                let pre_btm = tap(hooks, HookKind::MlpPre, layer, gate.forward(&input_btd)?)?;
                ops::gated(&pre_btm, &up.forward(&input_btd)?, self.activation)?
            }
            MlpIn::GatedFused(both) => {
                let both = both.forward(&input_btd)?;
                let width = both.dim(D::Minus1)? / 2;
                let pre_btm = tap(hooks, HookKind::MlpPre, layer, both.narrow(D::Minus1, 0, width)?)?;
                ops::gated(&pre_btm, &both.narrow(D::Minus1, width, width)?, self.activation)?
            }
        };
        let post_btm = tap(hooks, HookKind::MlpPost, layer, post_btm)?;
        let out_btd = normed(&self.mlp_out_norm, self.mlp_out.forward(&post_btm)?)?;
        tap(hooks, HookKind::MlpOut, layer, out_btd)
    }
}

/// The weights of a model, arranged for a pass. A clone shares every tensor.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    architecture: Arc<Architecture>,
    embedding_vd: Tensor,
    positions_td: Option<Tensor>,
    rotaries: Arc<Vec<RotaryTables>>,
    blocks: Vec<Block>,
    final_norm: Norm,
    head: Linear,
}

impl Decoder {
    /// Arranges tensors that [`Layout::assign`] has checked.
    pub fn new(
        architecture: &Arc<Architecture>,
        layout: &Layout,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let embedding_vd = named(tensors, &layout.embedding.0)?;
        let positions_td = layout.positions.as_ref().map(|(name, ..)| named(tensors, name)).transpose()?;
        let block = |layout| Block::new(layout, architecture, tensors);
        let head = match layout.tied {
            true => Linear::with_weight(&layout.head, embedding_vd.clone(), tensors)?,
            false => Linear::new(&layout.head, tensors)?,
        };
        Ok(Self {
            embedding_vd,
            positions_td,
            rotaries: Arc::new(architecture.rotaries.iter().cloned().map(RotaryTables::new).collect()),
            blocks: layout.blocks.iter().map(block).collect::<std::result::Result<_, _>>()?,
            final_norm: Norm::new(&layout.final_norm, architecture, tensors)?,
            head,
            architecture: architecture.clone(),
        })
    }

    pub fn device(&self) -> &Device {
        self.embedding_vd.device()
    }

    pub fn dtype(&self) -> DType {
        self.embedding_vd.dtype()
    }

    /// Adds a low-rank update to the linear layer at a module path; false where there is no such layer.
    pub fn attach(&mut self, module: &str, lora: Lora) -> bool {
        let linears = self.blocks.iter_mut().flat_map(Block::linears_mut).chain([&mut self.head]);
        match linears.into_iter().find(|linear| linear.place.module == module) {
            Some(linear) => {
                linear.attach(lora);
                true
            }
            None => false,
        }
    }

    /// Runs a batch and reads out logits.
    pub fn forward(&self, pass: Pass<'_>, readout: Readout<'_>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let Pass { start, prefix, keep } = pass;
        let (Start::Tokens(input) | Start::Residual { resid_btd: input, .. }) = start;
        let (batch, tokens) = (input.dim(0)?, input.dim(1)?);
        let whole = |row| Span { row, start: 0, tokens };
        match prefix {
            Some(prefix) => hooks.begin(prefix.spans),
            None => hooks.begin(&(0..batch).map(whole).collect::<Vec<_>>()),
        }
        let (first, mut resid_btd) = match start {
            Start::Tokens(ids_bt) => (0, self.embed(ids_bt, prefix.map(|prefix| prefix.spans), hooks)?),
            Start::Residual { layer, resid_btd } => (layer, resid_btd.clone()),
        };
        let tables = self.rotaries.iter().map(|tables| match prefix {
            Some(prefix) => tables.of_spans(prefix.spans, tokens, self.device()),
            None => tables.of(tokens, self.device()),
        });
        let tables = tables.collect::<Result<Vec<_>>>()?;
        for (layer, (block, plan)) in self.blocks.iter().zip(&self.architecture.blocks).enumerate().skip(first) {
            let rotary = plan.rotary.and_then(|index| tables.get(index));
            let stored = prefix.and_then(|prefix| prefix.cache.layer(layer, prefix.spans));
            let mask = Mask { window: plan.window, rotary, stored, keep };
            resid_btd = block.forward(layer, resid_btd, &mask, hooks)?;
        }
        self.read_out(resid_btd, readout, hooks)
    }

    /// Whether keys of a text of one length serve a text of another.
    pub fn turned_alike(&self, one: usize, other: usize) -> bool {
        self.rotaries.iter().all(|tables| tables.alike(one, other))
    }

    /// The learned positions of a pass, `[1, t, d]` or `[b, t, d]`.
    fn positions(&self, table_td: &Tensor, tokens: usize, spans: Option<&[Span]>) -> Result<Tensor> {
        let Some(spans) = spans else { return table_td.narrow(0, 0, tokens)?.unsqueeze(0) };
        // Padding may reach beyond the table; nothing reads it.
        let last = table_td.dim(0)?.saturating_sub(1);
        let row = |span: &Span| (span.start..span.start + tokens).map(move |at| at.min(last) as u32);
        let index = Tensor::from_iter(spans.iter().flat_map(row), table_td.device())?;
        table_td.index_select(&index, 0)?.reshape((spans.len(), tokens, ()))
    }

    fn embed(&self, ids_bt: &Tensor, spans: Option<&[Span]>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let (_, tokens) = ids_bt.dims2()?;
        let embed_btd = ops::embed(&self.embedding_vd, ids_bt)?;
        let embed_btd = match self.architecture.embedding_scale {
            Some(scale) => (embed_btd * scale)?,
            None => embed_btd,
        };
        let embed_btd = tap(hooks, HookKind::Embed, 0, embed_btd)?;
        let Some(positions_td) = &self.positions_td else { return Ok(embed_btd) };
        let positions_1td = self.positions(positions_td, tokens, spans)?;
        if !hooks.wants(HookPoint::new(HookKind::PosEmbed, 0)) {
            return embed_btd.broadcast_add(&positions_1td);
        }
        let positions_btd = positions_1td.broadcast_as(embed_btd.shape())?.contiguous()?;
        embed_btd + tap(hooks, HookKind::PosEmbed, 0, positions_btd)?
    }

    fn read_out(&self, resid_btd: Tensor, readout: Readout<'_>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let tokens = resid_btd.dim(1)?;
        // The final norm works position by position, so what nobody reads is left out, unless a hook wants all.
        let hooked = hooks.wants(HookPoint::new(HookKind::FinalNormalized, 0));
        let normalized = match (hooked, readout) {
            (true, _) => self.final_norm.forward_hooked(&resid_btd, hooks)?,
            (false, Readout::All) => self.final_norm.forward(&resid_btd)?,
            (false, Readout::Rows(rows)) => self.final_norm.forward(&select(&resid_btd, rows, tokens)?)?,
        };
        let normalized = match readout {
            Readout::Rows(rows) if hooked => select(&normalized, rows, tokens)?,
            _ => normalized,
        };
        let logits = self.head.forward(&normalized)?;
        match self.architecture.final_softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }
}

/// The listed (row, position) vectors of `x: [b, t, d]`, as `[n, d]`.
fn select(x_btd: &Tensor, rows: &[(usize, usize)], tokens: usize) -> Result<Tensor> {
    let batch = x_btd.dim(0)?;
    if let Some((row, position)) = rows.iter().find(|(row, position)| *row >= batch || *position >= tokens) {
        candle_core::bail!("row {row}, position {position} lies outside a batch of {batch} rows of {tokens} tokens");
    }
    let index: Vec<u32> = rows.iter().map(|(row, position)| (row * tokens + position) as u32).collect();
    let index = Tensor::from_vec(index, rows.len(), x_btd.device())?;
    x_btd.flatten(0, 1)?.index_select(&index, 0)
}
