//! The hooks of a circuit run.
//!
//! While a pass goes on, donor − own is written down for every sender as it is met: `[rows, s, t·d]`. A receiver's own
//! stream is the pass's plus its row of shares times these differences; queries, keys and values are projected anew
//! from it, MLP and logits read it where they stand.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, bail};

use super::donor::SenderMeans;
use super::graph::{PathGraph, Receiver, Sender};
use super::mask::EdgeMask;
use crate::model::{HookKind, HookPoint, Hooks, Part, StreamMaps};

/// What stands in for the senders of the rows of one pass.
pub(super) enum Donors<'a> {
    /// Activations of other runs, row for row.
    Runs(BTreeMap<HookPoint, Tensor>),
    /// Nothing.
    Zero,
    /// Means.
    Means(&'a SenderMeans),
}

/// Carries out one mask a row.
pub(super) struct PathHooks<'a> {
    graph: PathGraph,
    maps: &'a [StreamMaps],
    donors: Donors<'a>,
    masks: Vec<&'a EdgeMask>,
    tokens: usize,
    /// donor − own of the senders met so far, `[rows, s, t·d]`.
    differences: Tensor,
    /// The stream before the present block.
    stream_btd: Option<Tensor>,
}

impl<'a> PathHooks<'a> {
    /// Hooks for rows of `tokens` positions, row i under mask i.
    pub fn new(
        maps: &'a [StreamMaps],
        donors: Donors<'a>,
        masks: Vec<&'a EdgeMask>,
        tokens: usize,
        like: &Tensor,
    ) -> Result<Self> {
        let Some(graph) = masks.first().map(|mask| mask.graph()) else { bail!("a circuit run without rows") };
        let shape = (masks.len(), graph.senders(), tokens * graph.d_model);
        let differences = Tensor::zeros(shape, DType::F32, like.device())?;
        Ok(Self { graph, maps, donors, masks, tokens, differences, stream_btd: None })
    }

    fn maps(&self, layer: usize) -> Result<&StreamMaps> {
        self.maps.get(layer).ok_or_else(|| candle_core::Error::Msg(format!("there is no block {layer}")))
    }

    /// Writes donor − own of the senders that begin at `sender`; `own` and what `of` makes of a donor's activation are
    /// `[count, rows·t, d]`.
    fn met(
        &mut self,
        sender: Sender,
        point: HookPoint,
        own_cnd: &Tensor,
        of: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let (rows, width) = (self.masks.len(), self.graph.d_model);
        let (first, count) = (self.graph.sender_index(sender), own_cnd.dim(0)?);
        let own = own_cnd.reshape((count, rows, self.tokens, width))?;
        let difference = match &self.donors {
            Donors::Runs(at) => match at.get(&point) {
                Some(activation) => (of(activation)?.reshape(own.shape())? - own)?,
                None => bail!("{point} was not captured"),
            },
            Donors::Zero => own.neg()?,
            Donors::Means(means) => means.senders(first, count, self.tokens)?.unsqueeze(1)?.broadcast_sub(&own)?,
        };
        let difference = difference.transpose(0, 1)?.contiguous()?.reshape((rows, count, self.tokens * width))?;
        self.differences.slice_set(&difference.to_dtype(DType::F32)?, 1, first)
    }

    /// What is added to the streams of `units` receivers from `first` on, `[rows, units, t·d]`.
    fn added(&self, first: Receiver, units: usize) -> Result<Option<Tensor>> {
        let Some(shares) = EdgeMask::stack(&self.masks, first, units, self.differences.device())? else {
            return Ok(None);
        };
        let reached = self.differences.narrow(1, 0, self.graph.reach(first))?.contiguous()?;
        shares.matmul(&reached).map(Some)
    }

    /// Queries, keys or values, each unit's from its own stream.
    fn projected(&self, layer: usize, part: Part, plain: Tensor) -> Result<Tensor> {
        let units = self.graph.units(part);
        let Some(added) = self.added(Receiver::Attention { layer, part, unit: 0 }, units)? else { return Ok(plain) };
        let Some(stream_btd) = &self.stream_btd else { bail!("the stream before block {layer} was not met") };
        let (rows, width) = (self.masks.len(), self.graph.d_model);
        let added = added.reshape((rows, units, self.tokens, width))?.to_dtype(stream_btd.dtype())?;
        let streams = added.broadcast_add(&stream_btd.unsqueeze(1)?)?.transpose(0, 1)?.contiguous()?;
        let streams_und = streams.reshape((units, rows * self.tokens, width))?;
        let out_unk = self.maps(layer)?.project(part, &streams_und)?;
        out_unk.transpose(0, 1)?.contiguous()?.reshape(plain.shape())
    }

    /// The stream as one receiver reads it.
    fn own_stream(&self, receiver: Receiver, stream_btd: Tensor) -> Result<Tensor> {
        match self.added(receiver, 1)? {
            Some(added) => stream_btd.add(&added.reshape(stream_btd.shape())?.to_dtype(stream_btd.dtype())?),
            None => Ok(stream_btd),
        }
    }
}

impl Hooks for PathHooks<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        match point.kind {
            HookKind::Embed
            | HookKind::ResidPre
            | HookKind::Q
            | HookKind::K
            | HookKind::V
            | HookKind::Z
            | HookKind::MlpIn
            | HookKind::MlpOut => true,
            HookKind::ResidPost => point.layer + 1 == self.graph.n_layers,
            _ => false,
        }
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> Result<Tensor> {
        let layer = point.layer;
        let whole = |activation: &Tensor| activation.detach().flatten(0, 1)?.unsqueeze(0);
        match point.kind {
            HookKind::Embed => self.met(Sender::Input, point, &whole(&activation)?, whole)?,
            HookKind::ResidPre => self.stream_btd = Some(activation.detach()),
            HookKind::Q => return self.projected(layer, Part::Query, activation),
            HookKind::K => return self.projected(layer, Part::Key, activation),
            HookKind::V => return self.projected(layer, Part::Value, activation),
            HookKind::Z => {
                let maps = self.maps(layer)?.clone();
                let heads = |activation: &Tensor| maps.head_outputs(&activation.detach().flatten(0, 1)?);
                self.met(Sender::Head { layer, head: 0 }, point, &heads(&activation)?, heads)?;
            }
            HookKind::MlpIn => return self.own_stream(Receiver::Mlp { layer }, activation),
            HookKind::MlpOut => self.met(Sender::Mlp { layer }, point, &whole(&activation)?, whole)?,
            HookKind::ResidPost => return self.own_stream(Receiver::Logits, activation),
            _ => {}
        }
        Ok(activation)
    }
}
