//! One block: attention and MLP, each between its norms, side by side or one after the other, around the residual stream.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use super::architecture::Architecture;
use super::attention::{Attention, Mask};
use super::decoder::tap;
use super::error::ModelError;
use super::hook::{HookKind, Hooks};
use super::layout::{BlockLayout, NormPlace};
use super::linear::{Linear, Owners};
use super::mlp::Mlp;
use super::norm::Norm;
use super::stream_maps::StreamMaps;

/// What of a block writes to the stream through a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adding {
    /// Heads, `[h·k, d]`.
    Heads,
    /// Neurons of a dense MLP, `[m, d]`.
    Neurons,
}

#[derive(Debug, Clone)]
pub(crate) struct Block {
    attention_in_norm: Option<Norm>,
    attention_out_norm: Option<Norm>,
    mlp_in_norm: Option<Norm>,
    mlp_out_norm: Option<Norm>,
    attention: Attention,
    mlp: Mlp,
    parallel: bool,
    residual_scale: Option<f64>,
}

pub(crate) fn normed(norm: &Option<Norm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

pub(crate) fn scaled(x: Tensor, scale: Option<f64>) -> Result<Tensor> {
    match scale {
        Some(scale) => x * scale,
        None => Ok(x),
    }
}

impl Block {
    pub fn new(
        layout: &BlockLayout,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let norm = |place: &Option<NormPlace>| Norm::optional(place, architecture, tensors);
        Ok(Self {
            attention_in_norm: norm(&layout.attention_in_norm)?,
            attention_out_norm: norm(&layout.attention_out_norm)?,
            mlp_in_norm: norm(&layout.mlp_in_norm)?,
            mlp_out_norm: norm(&layout.mlp_out_norm)?,
            attention: Attention::new(layout, architecture, tensors)?,
            mlp: Mlp::new(&layout.mlp, architecture, tensors)?,
            parallel: architecture.parallel_residual,
            residual_scale: architecture.residual_scale,
        })
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut linears = self.attention.linears_mut();
        linears.extend(self.mlp.linears_mut());
        linears
    }

    /// The tensors of this block that are called `name`: two where attention and MLP share a norm.
    pub fn parameters<'a>(&'a mut self, name: &'a str) -> impl Iterator<Item = &'a mut Tensor> {
        let Self { attention_in_norm, attention_out_norm, mlp_in_norm, mlp_out_norm, attention, mlp, .. } = self;
        let norms = [attention_in_norm, attention_out_norm, mlp_in_norm, mlp_out_norm];
        let norms = norms.into_iter().flatten().filter_map(move |norm| norm.parameter(name));
        let linears = mlp.linears_mut().into_iter().filter_map(move |linear| linear.parameter(name));
        norms.chain(linears).chain(attention.parameter(name))
    }

    /// What the heads read from the stream and write to it, as linear maps.
    pub fn stream_maps(&self) -> Result<StreamMaps> {
        StreamMaps::new(&self.attention, [&self.attention_in_norm, &self.attention_out_norm], self.residual_scale)
    }

    /// The stream after the block, `[b, t, d]`; `[n, 1, d]` of the positions `read` where those alone are asked for.
    pub fn forward(
        &self,
        layer: usize,
        resid_btd: Tensor,
        mask: &Mask<'_>,
        read: Option<&Reads>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let resid_btd = tap(hooks, HookKind::ResidPre, layer, resid_btd)?;
        let input_btd = normed(&self.attention_in_norm, resid_btd.clone())?;
        let z_btd = self.attention.heads(layer, &input_btd, mask, read, hooks)?;
        self.behind_heads(layer, resid_btd, z_btd, read, hooks)
    }

    /// The rest of the block behind the heads' outputs, side by side `[b, t, h·k]`, or `[n, 1, h·k]` of the positions
    /// `read`. `resid_btd` is the stream before it, of every position.
    pub fn behind_heads(
        &self,
        layer: usize,
        resid_btd: Tensor,
        z_btd: Tensor,
        read: Option<&Reads>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        // From here on every position goes its own way.
        let (z_btd, resid_btd, owners) = match read {
            None => (z_btd, resid_btd, Owners::Batch),
            Some(read) => (z_btd, read.of(&resid_btd)?, Owners::Listed(&read.rows)),
        };
        let attn_btd = normed(&self.attention_out_norm, self.attention.project_out(&z_btd, owners)?)?;
        let attn_btd = tap(hooks, HookKind::AttnOut, layer, scaled(attn_btd, self.residual_scale)?)?;
        let resid_btd = match self.parallel {
            true => {
                let mlp_btd = self.mlp(layer, resid_btd.clone(), owners, hooks)?;
                ((resid_btd + attn_btd)? + mlp_btd)?
            }
            false => return self.behind_middle(layer, (resid_btd + attn_btd)?, owners, hooks),
        };
        tap(hooks, HookKind::ResidPost, layer, resid_btd)
    }

    /// The rest of a block that is not parallel behind its attention, from the stream between the two, `[b, t, d]`.
    pub fn behind_attention(
        &self,
        layer: usize,
        mid_btd: Tensor,
        read: Option<&Reads>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        if self.parallel {
            candle_core::bail!("in a parallel block no stream stands between attention and MLP");
        }
        match read {
            None => self.behind_middle(layer, mid_btd, Owners::Batch, hooks),
            Some(read) => self.behind_middle(layer, read.of(&mid_btd)?, Owners::Listed(&read.rows), hooks),
        }
    }

    fn behind_middle(
        &self,
        layer: usize,
        mid_btd: Tensor,
        owners: Owners<'_>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let mid_btd = tap(hooks, HookKind::ResidMid, layer, mid_btd)?;
        let mlp_btd = self.mlp(layer, mid_btd.clone(), owners, hooks)?;
        tap(hooks, HookKind::ResidPost, layer, (mid_btd + mlp_btd)?)
    }

    /// Whether heads or neurons are added to the stream as they come out of their matrix: no norm stands behind it.
    pub fn adds_linearly(&self, part: Adding) -> bool {
        match part {
            Adding::Heads => self.attention_out_norm.is_none(),
            Adding::Neurons => self.mlp_out_norm.is_none() && self.mlp.is_dense(),
        }
    }

    /// What a unit of each head or neuron adds to the stream, as rows `[.., d]`, adapters merged in and without a
    /// gradient; `None` where that is not linear.
    pub fn adding(&self, part: Adding) -> Result<Option<Tensor>> {
        if !self.adds_linearly(part) {
            return Ok(None);
        }
        let matrix = match part {
            Adding::Heads => Some(self.attention.output_matrix()?),
            Adding::Neurons => self.mlp.output_matrix()?,
        };
        let rows = |matrix_do: Tensor| scaled(matrix_do.t()?.contiguous()?, self.residual_scale);
        matrix.map(rows).transpose()
    }

    /// What the MLP adds to the stream that it reads.
    fn mlp(&self, layer: usize, resid_btd: Tensor, owners: Owners<'_>, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let resid_btd = tap(hooks, HookKind::MlpIn, layer, resid_btd)?;
        let input_btd = normed(&self.mlp_in_norm, resid_btd)?;
        let out_btd = normed(&self.mlp_out_norm, self.mlp.forward(layer, &input_btd, owners, hooks)?)?;
        tap(hooks, HookKind::MlpOut, layer, scaled(out_btd, self.residual_scale)?)
    }
}

/// The positions of a batch that are read out.
#[derive(Debug)]
pub(crate) struct Reads {
    /// Places in `[b · t]`.
    index_n: Tensor,
    /// The same as (row, token).
    pub places: Vec<(usize, usize)>,
    /// The batch row of each.
    pub rows: Vec<usize>,
}

impl Reads {
    /// Refuses (row, position) pairs outside a batch of `batch` rows of `tokens` tokens.
    pub fn new(reads: &[(usize, usize)], batch: usize, tokens: usize, device: &Device) -> Result<Self> {
        if let Some((row, position)) = reads.iter().find(|(row, position)| *row >= batch || *position >= tokens) {
            candle_core::bail!(
                "row {row}, position {position} lies outside a batch of {batch} rows of {tokens} tokens"
            );
        }
        let index: Vec<u32> = reads.iter().map(|(row, position)| (row * tokens + position) as u32).collect();
        let index_n = Tensor::from_vec(index, reads.len(), device)?;
        Ok(Self { index_n, places: reads.to_vec(), rows: reads.iter().map(|(row, _)| *row).collect() })
    }

    /// Their vectors, `[n, 1, d]`, of `x: [b, t, d]`.
    pub fn of(&self, x_btd: &Tensor) -> Result<Tensor> {
        x_btd.flatten(0, 1)?.index_select(&self.index_n, 0)?.unsqueeze(1)
    }

    /// Their rows, `[n, 1, pairs]`, of a table `[t, pairs]` that every row shares or `[b, t, pairs]`.
    pub fn of_table(&self, table: &Tensor, batch: usize, tokens: usize) -> Result<Tensor> {
        let pairs = table.dim(candle_core::D::Minus1)?;
        self.of(&table.broadcast_as((batch, tokens, pairs))?.contiguous()?)
    }
}
