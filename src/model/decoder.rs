//! The one decoder: embedding, blocks, final norm, head, with a hook at every named point.
//!
//! Cost: one pass over the tokens; only the positions that are read out are unembedded.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use super::architecture::Architecture;
use super::attention::{Branching, Keep, Mask};
use super::block::{Adding, Block, Reads, normed};
use super::cache::KeyValueCache;
use super::error::ModelError;
use super::hook::{HookKind, HookPoint, Hooks};
use super::layout::{Layout, named};
use super::linear::{Linear, Lora, Owners, Routes};
use super::norm::Norm;
use super::rotary::RotaryTables;
use super::stream_maps::StreamMaps;
use crate::ops::{self, Finishing, Likelihoods, PackedWeight, Span, Stand};

/// Which positions a pass unembeds.
#[derive(Debug, Clone, Copy)]
pub enum Readout<'a> {
    /// All: logits `[b, t, v]`.
    All,
    /// The listed (row, position) pairs: logits `[n, v]` in their order.
    Rows(&'a [(usize, usize)]),
    /// Of the listed (row, position) pairs some tokens alone: logits `[m]`.
    Entries {
        /// The pairs.
        rows: &'a [(usize, usize)],
        /// (number of the pair, token) of each logit.
        entries: &'a [(u32, u32)],
    },
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
    /// At the outputs of a block's heads, before their hook.
    Heads {
        /// The block.
        layer: usize,
        /// The stream before it, `[b, t, d]`.
        resid_btd: &'a Tensor,
        /// `[b, t, h, k]`.
        z_bthk: &'a Tensor,
    },
    /// At the stream between a block's attention and its MLP, before its hook; not in parallel blocks.
    Middle {
        /// The block.
        layer: usize,
        /// `[b, t, d]`.
        mid_btd: &'a Tensor,
    },
}

impl Start<'_> {
    /// Token ids `[b, t]`, or a stream `[b, t, d]`.
    fn input(&self) -> &Tensor {
        match self {
            Start::Tokens(ids_bt) => ids_bt,
            Start::Residual { resid_btd, .. } | Start::Heads { resid_btd, .. } => resid_btd,
            Start::Middle { mid_btd, .. } => mid_btd,
        }
    }

    /// The first block that runs, or the rest of it.
    pub(crate) fn layer(&self) -> usize {
        match self {
            Start::Tokens(_) => 0,
            Start::Residual { layer, .. } | Start::Heads { layer, .. } | Start::Middle { layer, .. } => *layer,
        }
    }

    /// The stream that it goes on from.
    pub(crate) fn stream(&self) -> Option<&Tensor> {
        match self {
            Start::Tokens(_) => None,
            _ => Some(self.input()),
        }
    }
}

/// What earlier positions a pass reads.
#[derive(Debug, Clone, Copy)]
pub struct Prefix<'a> {
    /// Their keys and values.
    pub cache: &'a KeyValueCache,
    /// One for each row of the pass.
    pub spans: &'a [Span],
    /// How the rows stand: where one stands behind the other, tokens are `[1, Σ tokens]`, streams `[1, Σ tokens, d]`,
    /// and readouts name row 0. Such a pass runs on the CPU in single precision, and gives no gradient.
    pub stand: Stand,
}

/// One pass, its readout and hooks aside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub start: Start<'a>,
    pub prefix: Option<Prefix<'a>>,
    /// How the rows of the prefix branch, where the pass is over a tree.
    pub tree: Option<Branching<'a>>,
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

/// The weights of a model, arranged for a pass. A clone shares every tensor.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    architecture: Arc<Architecture>,
    embedding_vd: Tensor,
    /// The embedding where it is kept in fewer bits; `embedding_vd` then holds its shape alone.
    packed_embedding: Option<PackedWeight>,
    positions_td: Option<Tensor>,
    rotaries: Arc<Vec<RotaryTables>>,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    head: Linear,
    routes: Option<Routes>,
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
            packed_embedding: None,
            positions_td,
            rotaries: Arc::new(architecture.rotaries.iter().cloned().map(RotaryTables::new).collect()),
            blocks: layout.blocks.iter().map(block).collect::<std::result::Result<_, _>>()?,
            final_norm: Norm::optional(&layout.final_norm, architecture, tensors)?,
            head,
            routes: None,
            architecture: architecture.clone(),
        })
    }

    pub fn device(&self) -> &Device {
        self.embedding_vd.device()
    }

    pub fn dtype(&self) -> DType {
        self.embedding_vd.dtype()
    }

    /// Keeps matrices in fewer bits, by their tensors' names.
    pub fn pack(&mut self, layout: &Layout, packed: &BTreeMap<String, PackedWeight>) {
        self.packed_embedding = packed.get(&layout.embedding.0).cloned();
        if let (true, Some(packed)) = (layout.tied, &self.packed_embedding) {
            self.head.pack(packed.clone());
        }
        for linear in self.linears_mut() {
            if let Some(packed) = packed.get(&format!("{}.weight", linear.place.module)) {
                linear.pack(packed.clone());
            }
        }
    }

    fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.blocks.iter_mut().flat_map(Block::linears_mut).chain([&mut self.head])
    }

    fn linear_mut(&mut self, module: &str) -> std::result::Result<&mut Linear, ModelError> {
        let missing = || ModelError::AdapterMismatch(format!("the model has no linear layer {module}"));
        self.linears_mut().find(|linear| linear.place.module == module).ok_or_else(missing)
    }

    /// Adds a low-rank update to the linear layer at a module path.
    pub fn attach(&mut self, module: &str, lora: Lora) -> std::result::Result<(), ModelError> {
        self.linear_mut(module)?.attach(lora)
    }

    /// Adds one for the rows that choose adapter `number`.
    pub fn offer(&mut self, number: usize, module: &str, lora: Lora) -> std::result::Result<(), ModelError> {
        self.linear_mut(module)?.offer(number, lora);
        Ok(())
    }

    /// Sets which texts of a batch use which of the offered adapters.
    pub fn route(&mut self, routes: &Routes) {
        self.linears_mut().for_each(|linear| linear.route(routes));
        self.routes = Some(routes.clone());
    }

    /// Whether texts were given adapters of their own.
    pub fn is_routed(&self) -> bool {
        self.routes.is_some()
    }

    /// Where the rows of a pass are other texts than their own numbers, the decoder in which they use those texts'
    /// adapters; refuses a batch for which no adapters were chosen.
    fn routed(&self, batch: usize, spans: Option<&[Span]>) -> Result<Option<Self>> {
        let Some(routes) = &self.routes else { return Ok(None) };
        let rows: Vec<usize> = match spans {
            Some(spans) => spans.iter().map(|span| span.row).collect(),
            None => (0..batch).collect(),
        };
        let beyond = rows.iter().any(|row| *row >= routes.len());
        if beyond || spans.is_none() && batch != routes.len() {
            candle_core::bail!("adapters were chosen for {} rows, the batch has {batch}", routes.len());
        }
        let own: Routes = Arc::new(rows.iter().map(|row| routes.get(*row).copied().flatten()).collect());
        if own == *routes {
            return Ok(None);
        }
        let mut routed = self.clone();
        routed.linears_mut().for_each(|linear| linear.route(&own));
        routed.routes = None;
        Ok(Some(routed))
    }

    /// Puts another tensor in the place of a weight, gain, bias or table; the head keeps its weight when the embedding
    /// that it is tied to is replaced, and the other way round.
    pub fn replace(&mut self, layout: &Layout, name: &str, tensor: &Tensor) -> std::result::Result<(), ModelError> {
        if layout.embedding.0 == name {
            self.packed_embedding = None;
        }
        let tables = [
            Some(&mut self.embedding_vd).filter(|_| layout.embedding.0 == name),
            self.positions_td.as_mut().filter(|_| layout.positions.as_ref().is_some_and(|(known, ..)| known == name)),
        ];
        let blocks = self.blocks.iter_mut().flat_map(|block| block.parameters(name));
        let final_norm = self.final_norm.as_mut().and_then(|norm| norm.parameter(name));
        let ends = [final_norm, self.head.parameter(name)];
        let mut found = false;
        for place in tables.into_iter().chain(ends).flatten().chain(blocks) {
            if place.shape() != tensor.shape() {
                let message = format!("{name} has shape {:?}, the adapter's {:?}", place.dims(), tensor.dims());
                return Err(ModelError::AdapterMismatch(message));
            }
            *place = tensor.clone();
            found = true;
        }
        match found {
            true => Ok(()),
            false => Err(ModelError::AdapterMismatch(format!("the model has no tensor {name} to replace"))),
        }
    }

    /// What the heads of a block read from the stream and write to it, as linear maps.
    pub fn stream_maps(&self, layer: usize) -> Result<StreamMaps> {
        match self.blocks.get(layer) {
            Some(block) => block.stream_maps(),
            None => candle_core::bail!("there is no block {layer}"),
        }
    }

    /// What a block's heads or neurons add to the stream, as a matrix.
    pub fn adding(&self, layer: usize, part: Adding) -> Result<Option<Tensor>> {
        match self.blocks.get(layer) {
            Some(block) => block.adding(part),
            None => candle_core::bail!("there is no block {layer}"),
        }
    }

    /// Whether that is a matrix in every block.
    pub fn adds_linearly(&self, part: Adding) -> bool {
        self.blocks.iter().all(|block| block.adds_linearly(part))
    }

    /// Runs a batch and reads out logits.
    pub fn forward(&self, pass: Pass<'_>, readout: Readout<'_>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        if let Some(routed) = self.routed_for(&pass)? {
            return routed.forward(pass, readout, hooks);
        }
        let reads = self.reads(&pass, readout)?;
        let (resid_btd, selected) = self.stream(pass, reads.as_ref(), hooks)?;
        let normalized = self.normalized(resid_btd, reads.as_ref(), selected, hooks)?;
        let owners = reads.as_ref().map_or(Owners::Batch, |reads| Owners::Listed(&reads.rows));
        let logits = match readout {
            Readout::Entries { entries, .. } => self.head.entries(&normalized, entries, owners)?,
            Readout::All | Readout::Rows(_) => self.head.forward_for(&normalized, owners)?,
        };
        self.finishing().apply(logits)
    }

    /// Runs a batch and reads out ln p of (number of the read, token) picks, and the most likely token of each read.
    pub fn likelihoods(
        &self,
        pass: Pass<'_>,
        rows: &[(usize, usize)],
        picks: &[(usize, u32)],
        hooks: &mut dyn Hooks,
    ) -> Result<Likelihoods> {
        if let Some(routed) = self.routed_for(&pass)? {
            return routed.likelihoods(pass, rows, picks, hooks);
        }
        let Some(reads) = self.reads(&pass, Readout::Rows(rows))? else { return Ok(Likelihoods::default()) };
        let (resid_btd, selected) = self.stream(pass, Some(&reads), hooks)?;
        let normalized = self.normalized(resid_btd, Some(&reads), selected, hooks)?;
        self.head.likelihoods(&normalized, picks, self.finishing(), &reads.rows)
    }

    /// What becomes of a logit behind the head.
    fn finishing(&self) -> Finishing {
        Finishing { scale: self.architecture.logit_scale, softcap: self.architecture.final_softcap }
    }

    fn routed_for(&self, pass: &Pass<'_>) -> Result<Option<Self>> {
        let behind = pass.prefix.is_some_and(|prefix| prefix.stand == Stand::Behind);
        match &self.routes {
            // A tree is of one adapter.
            Some(routes) if pass.tree.is_some() && routes.len() == 1 => Ok(None),
            Some(_) if behind => {
                candle_core::bail!("rows that choose adapters of their own stand below each other")
            }
            _ => self.routed(pass.start.input().dim(0)?, pass.prefix.map(|prefix| prefix.spans)),
        }
    }

    fn reads(&self, pass: &Pass<'_>, readout: Readout<'_>) -> Result<Option<Reads>> {
        let (batch, tokens) = (pass.start.input().dim(0)?, pass.start.input().dim(1)?);
        match readout {
            Readout::All => Ok(None),
            Readout::Rows(rows) | Readout::Entries { rows, .. } => {
                Reads::new(rows, batch, tokens, self.device()).map(Some)
            }
        }
    }

    /// The stream behind the last block, `[b, t, d]`, or of what is read of it alone, `[n, 1, d]`, and which of the two.
    fn stream(&self, pass: Pass<'_>, reads: Option<&Reads>, hooks: &mut dyn Hooks) -> Result<(Tensor, bool)> {
        let Pass { start, prefix, tree, keep } = pass;
        let (batch, tokens) = (start.input().dim(0)?, start.input().dim(1)?);
        let whole = |row| Span { row, start: 0, tokens };
        match prefix {
            Some(prefix) => hooks.begin(prefix.spans),
            None => hooks.begin(&(0..batch).map(whole).collect::<Vec<_>>()),
        }
        let mut selected = false;
        let first = start.layer();
        let mut resid_btd = match start {
            Start::Tokens(ids_bt) => self.embed(ids_bt, prefix, hooks)?,
            _ => start.input().clone(),
        };
        let tables = self.rotaries.iter().map(|tables| match prefix {
            Some(prefix) => tables.of_spans(prefix.spans, prefix.stand, tokens, self.device()),
            None => tables.of(tokens, self.device()),
        });
        let tables = tables.collect::<Result<Vec<_>>>()?;
        for (layer, (block, plan)) in self.blocks.iter().zip(&self.architecture.blocks).enumerate().skip(first) {
            let rotary = plan.rotary.and_then(|index| tables.get(index));
            let stored = prefix.and_then(|prefix| prefix.cache.layer(layer, prefix.spans, prefix.stand));
            let mask = Mask { window: plan.window, rotary, stored, tree, keep };
            // Behind the last keys and values, what nobody reads is left out.
            let read = reads.filter(|_| layer + 1 == self.blocks.len() && !self.ends_hooked(hooks));
            resid_btd = match start {
                Start::Heads { z_bthk, .. } if layer == first => {
                    let z_bthk = tap(hooks, HookKind::Z, layer, z_bthk.clone())?;
                    let z_btd = z_bthk.flatten_from(2)?;
                    let z_btd = read.map_or(Ok(z_btd.clone()), |read| read.of(&z_btd))?;
                    block.behind_heads(layer, resid_btd, z_btd, read, hooks)?
                }
                Start::Middle { .. } if layer == first => block.behind_attention(layer, resid_btd, read, hooks)?,
                _ => block.forward(layer, resid_btd, &mask, read, hooks)?,
            };
            selected |= read.is_some();
        }
        Ok((resid_btd, selected))
    }

    /// Whether keys of a text of one length serve a text of another.
    pub fn turned_alike(&self, one: usize, other: usize) -> bool {
        self.rotaries.iter().all(|tables| tables.alike(one, other))
    }

    /// The learned positions of a pass, `[1, t, d]` or `[b, t, d]`.
    fn positions(&self, table_td: &Tensor, tokens: usize, prefix: Option<Prefix<'_>>) -> Result<Tensor> {
        let offset = self.architecture.position_offset;
        let Some(Prefix { spans, stand, .. }) = prefix else {
            return table_td.narrow(0, offset, tokens)?.unsqueeze(0);
        };
        // Padding may reach beyond the table; nothing reads it.
        let last = table_td.dim(0)?.saturating_sub(1);
        let row = |span: &Span| {
            let length = if stand == Stand::Behind { span.tokens } else { tokens };
            (span.start..span.start + length).map(move |at| (offset + at).min(last) as u32)
        };
        let index = Tensor::from_iter(spans.iter().flat_map(row), table_td.device())?;
        table_td.index_select(&index, 0)?.reshape(((), tokens, table_td.dim(1)?))
    }

    fn embed(&self, ids_bt: &Tensor, prefix: Option<Prefix<'_>>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let (_, tokens) = ids_bt.dims2()?;
        let embed_btd = match &self.packed_embedding {
            Some(packed) => packed.embed(ids_bt)?,
            None => ops::embed(&self.embedding_vd, ids_bt)?,
        };
        let embed_btd = match self.architecture.embedding_scale {
            Some(scale) => (embed_btd * scale)?,
            None => embed_btd,
        };
        let embed_btd = tap(hooks, HookKind::Embed, 0, embed_btd)?;
        let Some(positions_td) = &self.positions_td else { return Ok(embed_btd) };
        let positions_1td = self.positions(positions_td, tokens, prefix)?;
        if !hooks.wants(HookPoint::new(HookKind::PosEmbed, 0)) {
            return embed_btd.broadcast_add(&positions_1td);
        }
        let positions_btd = positions_1td.broadcast_as(embed_btd.shape())?.contiguous()?;
        embed_btd + tap(hooks, HookKind::PosEmbed, 0, positions_btd)?
    }

    /// Whether a hook wants all positions of what the last block adds to the stream.
    fn ends_hooked(&self, hooks: &dyn Hooks) -> bool {
        let last = self.blocks.len().saturating_sub(1);
        let behind = HookKind::BLOCK.into_iter().skip_while(|kind| *kind != HookKind::AttnOut);
        hooks.wants(HookPoint::new(HookKind::FinalNormalized, 0))
            || behind.into_iter().any(|kind| hooks.wants(HookPoint::new(kind, last)))
    }

    /// What the head reads: the normed stream `[b, t, d]`, or `[n, d]` of what is read of it; `selected` where the stream
    /// holds that alone.
    fn normalized(
        &self,
        resid_btd: Tensor,
        reads: Option<&Reads>,
        selected: bool,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        // The final norm works position by position, unless a hook wants all.
        let hooked = hooks.wants(HookPoint::new(HookKind::FinalNormalized, 0));
        let normalized = match (hooked, reads.filter(|_| !selected)) {
            (true, reads) => {
                let normalized = match &self.final_norm {
                    Some(norm) => norm.forward_hooked(&resid_btd, hooks)?,
                    None => tap(hooks, HookKind::FinalNormalized, 0, resid_btd)?,
                };
                match reads {
                    None => normalized,
                    Some(reads) => reads.of(&normalized)?,
                }
            }
            (false, None) => normed(&self.final_norm, resid_btd)?,
            (false, Some(reads)) => normed(&self.final_norm, reads.of(&resid_btd)?)?,
        };
        match reads {
            None => Ok(normalized),
            Some(_) => normalized.flatten(0, 1),
        }
    }
}
