//! Causal self-attention with grouped keys and values.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::architecture::{Architecture, QkNorm};
use super::block::Reads;
use super::cache::{self, Kept};
use super::decoder::tap;
use super::error::ModelError;
use super::hook::{HookKind, HookPoint, Hooks};
use super::layout::{AttentionInput, BlockLayout, FusedOrder};
use super::linear::{Linear, Owners};
use super::norm::Norm;
use crate::ops::{self, Attending, CausalMask, Pairing, Stored, Tree};

/// What decides which keys a query sees and how it is turned.
pub(crate) struct Mask<'a> {
    pub window: Option<usize>,
    /// Cosines and sines `[t, pairs]`, or `[b, t, pairs]`.
    pub rotary: Option<&'a (Tensor, Tensor)>,
    /// Keys and values of earlier positions.
    pub stored: Option<Stored<'a>>,
    /// How the rows branch, where they are a tree.
    pub tree: Option<Branching<'a>>,
    pub keep: Keep,
}

/// What happens to the keys and values of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// They go with the pass.
    Nothing,
    /// They are written behind those that are stored.
    Stored,
}

/// A pass over a tree of texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Branching<'a> {
    /// The row behind whose end each row begins; behind stored positions where there is none.
    pub parents: &'a [Option<usize>],
    /// What is stored of it.
    pub kept: &'a [Kept],
}

#[derive(Debug, Clone)]
enum Input {
    /// Queries, keys, values.
    Separate(Box<[Linear; 3]>),
    Fused(Linear, FusedOrder),
}

#[derive(Debug, Clone)]
pub(crate) struct Attention {
    input: Input,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
    qk_norm: Option<QkNorm>,
    out: Linear,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    scale: f64,
    softcap: Option<f64>,
    pairing: Pairing,
}

impl Attention {
    pub fn new(
        layout: &BlockLayout,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let input = match &layout.attention {
            AttentionInput::Separate { q, k, v } => Input::Separate(Box::new([
                Linear::new(q, tensors)?,
                Linear::new(k, tensors)?,
                Linear::new(v, tensors)?,
            ])),
            AttentionInput::Fused(qkv, order) => Input::Fused(Linear::new(qkv, tensors)?, *order),
        };
        let norm = |place| Norm::optional(place, architecture, tensors);
        Ok(Self {
            input,
            q_norm: norm(&layout.q_norm)?,
            k_norm: norm(&layout.k_norm)?,
            qk_norm: architecture.qk_norm,
            out: Linear::new(&layout.attention_out, tensors)?,
            n_heads: architecture.n_heads,
            n_kv_heads: architecture.n_kv_heads,
            head_dim: architecture.head_dim,
            scale: architecture.attention_scale,
            softcap: architecture.attention_softcap,
            pairing: architecture.rotary_pairing,
        })
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut linears: Vec<_> = match &mut self.input {
            Input::Separate(parts) => parts.iter_mut().collect(),
            Input::Fused(qkv, _) => vec![qkv],
        };
        linears.push(&mut self.out);
        linears
    }

    /// The weight, bias or gain that is called `name`.
    pub fn parameter(&mut self, name: &str) -> Option<&mut Tensor> {
        let linears: Vec<_> = match &mut self.input {
            Input::Separate(parts) => parts.iter_mut().collect(),
            Input::Fused(qkv, _) => vec![qkv],
        };
        let linears = linears.into_iter().chain([&mut self.out]).filter_map(|linear| linear.parameter(name));
        let norms = [&mut self.q_norm, &mut self.k_norm].into_iter().flatten().filter_map(|norm| norm.parameter(name));
        linears.chain(norms).next()
    }

    /// Queries `[b, t, h, k]`, keys and values `[b, t, g, k]`; where positions are listed, the queries of those alone,
    /// `[n, 1, h, k]`.
    fn project(&self, x_btd: &Tensor, read: Option<&Reads>) -> Result<(Tensor, Tensor, Tensor)> {
        let Some(read) = read else { return self.project_all(x_btd) };
        let (batch, tokens, _) = x_btd.dims3()?;
        let (h, g, width) = (self.n_heads, self.n_kv_heads, self.head_dim);
        let split = |x: Tensor| x.reshape((batch, tokens, g, width));
        match &self.input {
            Input::Separate(parts) => {
                let [q, k, v] = parts.as_ref();
                let q_n1d = q.forward_for(&read.of(x_btd)?, Owners::Listed(&read.rows))?;
                Ok((q_n1d.reshape(((), 1, h, width))?, split(k.forward(x_btd)?)?, split(v.forward(x_btd)?)?))
            }
            Input::Fused(qkv, FusedOrder::Blocks) if qkv.is_plain() => {
                let [keys, values, end] = [h * width, (h + g) * width, (h + 2 * g) * width];
                let q_n1d = qkv.columns(&read.of(x_btd)?, 0..keys)?;
                let (k, v) = (qkv.columns(x_btd, keys..values)?, qkv.columns(x_btd, values..end)?);
                Ok((q_n1d.reshape(((), 1, h, width))?, split(k)?, split(v)?))
            }
            Input::Fused(..) => {
                let (q, k, v) = self.project_all(x_btd)?;
                Ok((read.of(&q)?, k, v))
            }
        }
    }

    fn project_all(&self, x_btd: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let (batch, tokens, _) = x_btd.dims3()?;
        let (h, g, k) = (self.n_heads, self.n_kv_heads, self.head_dim);
        let split = |x: Tensor, heads: usize| x.reshape((batch, tokens, heads, k));
        match &self.input {
            Input::Separate(parts) => {
                let [q, k, v] = parts.as_ref();
                Ok((split(q.forward(x_btd)?, h)?, split(k.forward(x_btd)?, g)?, split(v.forward(x_btd)?, g)?))
            }
            Input::Fused(qkv, FusedOrder::Blocks) => {
                let all = split(qkv.forward(x_btd)?, h + 2 * g)?;
                let part = |start, heads| all.narrow(2, start, heads)?.contiguous();
                Ok((part(0, h)?, part(h, g)?, part(h + g, g)?))
            }
            Input::Fused(qkv, FusedOrder::Groups) => {
                let readers = h / g.max(1);
                let all = qkv.forward(x_btd)?.reshape((batch, tokens, g, readers + 2, k))?;
                let part = |start, len| all.narrow(3, start, len)?.flatten(2, 3)?.contiguous();
                Ok((part(0, readers)?, part(readers, 1)?, part(readers + 1, 1)?))
            }
        }
    }

    /// The rows of the input projection that each head or group has, `[units, k, d]` with biases `[units, k]`: of
    /// queries, keys and values.
    pub fn input_rows(&self) -> Result<[(Tensor, Option<Tensor>); 3]> {
        let (h, g, k) = (self.n_heads, self.n_kv_heads, self.head_dim);
        let split = |linear: &Linear, heads: usize| {
            let (rows, bias) = linear.matrix()?;
            let width = rows.dim(1)?;
            let bias = bias.map(|bias| bias.reshape((heads, k))).transpose()?;
            Ok::<_, candle_core::Error>((rows.reshape((heads, k, width))?, bias))
        };
        match &self.input {
            Input::Separate(parts) => {
                let [q, k, v] = parts.as_ref();
                Ok([split(q, h)?, split(k, g)?, split(v, g)?])
            }
            Input::Fused(qkv, order) => {
                let (rows, bias) = split(qkv, h + 2 * g)?;
                let readers = h / g.max(1);
                let pick = |units: Vec<u32>| {
                    let units = Tensor::from_vec(units.clone(), units.len(), rows.device())?;
                    let bias = bias.as_ref().map(|bias| bias.index_select(&units, 0)).transpose()?;
                    Ok::<_, candle_core::Error>((rows.index_select(&units, 0)?, bias))
                };
                let (head, group) = (0..h as u32, 0..g as u32);
                let (h, g, readers) = (h as u32, g as u32, readers.max(1) as u32);
                match order {
                    FusedOrder::Blocks => Ok([
                        pick(head.collect())?,
                        pick(group.clone().map(|group| h + group).collect())?,
                        pick(group.map(|group| h + g + group).collect())?,
                    ]),
                    FusedOrder::Groups => Ok([
                        pick(head.map(|head| head / readers * (readers + 2) + head % readers).collect())?,
                        pick(group.clone().map(|group| group * (readers + 2) + readers).collect())?,
                        pick(group.map(|group| group * (readers + 2) + readers + 1).collect())?,
                    ]),
                }
            }
        }
    }

    /// The output projection, `[d, h·k]`.
    pub fn output_matrix(&self) -> Result<Tensor> {
        Ok(self.out.matrix()?.0)
    }

    /// The columns of the output projection that each head has, as `[h, k, d]`, and its bias `[d]`.
    pub fn output_columns(&self) -> Result<(Tensor, Option<Tensor>)> {
        let (matrix, bias) = self.out.matrix()?;
        Ok((matrix.t()?.contiguous()?.reshape((self.n_heads, self.head_dim, ()))?, bias))
    }

    /// Queries or keys, normalized where the family does so.
    fn normed(&self, x_bthk: Tensor, norm: &Option<Norm>) -> Result<Tensor> {
        match (norm, self.qk_norm) {
            (Some(norm), Some(QkNorm::PerHead)) => norm.forward(&x_bthk),
            (Some(norm), Some(QkNorm::Whole)) => norm.forward(&x_bthk.flatten_from(2)?)?.reshape(x_bthk.shape()),
            _ => Ok(x_bthk),
        }
    }

    /// z of a fused projection that nothing has to look into: no copy of queries, keys and values is made.
    fn straight(&self, layer: usize, x_btd: &Tensor, mask: &Mask<'_>, hooks: &dyn Hooks) -> Result<Option<Tensor>> {
        let Input::Fused(qkv, FusedOrder::Blocks) = &self.input else { return Ok(None) };
        let looked_into = [HookKind::Q, HookKind::K, HookKind::V, HookKind::Pattern];
        let hooked = looked_into.into_iter().any(|kind| hooks.wants(HookPoint::new(kind, layer)));
        let plain = self.n_heads == self.n_kv_heads && self.qk_norm.is_none() && mask.rotary.is_none();
        if hooked || !plain || mask.stored.is_some() {
            return Ok(None);
        }
        ops::fused_attention(&qkv.forward(x_btd)?, self.n_heads, self.attending(mask)).map(Some)
    }

    /// What the heads give, side by side: `[b, t, d]` → `[b, t, h·k]`; `[n, 1, h·k]` of the positions `read` where those
    /// alone are asked for.
    pub fn heads(
        &self,
        layer: usize,
        x_btd: &Tensor,
        mask: &Mask<'_>,
        read: Option<&Reads>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        // What a hook puts in may ask for a gradient.
        let looked_at = [HookKind::Q, HookKind::K, HookKind::V, HookKind::Pattern, HookKind::Z];
        let hooked = looked_at.into_iter().any(|kind| hooks.wants(HookPoint::new(kind, layer)));
        // Keys and values of every position, queries where something is read, unless that is nearly everywhere.
        let tokens = x_btd.dim(0)? * x_btd.dim(1)?;
        let apart = read.filter(|read| !hooked && 2 * read.rows.len() <= tokens && ops::attends_apart(x_btd));
        if let Some(read) = apart {
            return self.attended(layer, x_btd, mask, Some(read), hooks)?.flatten_from(2);
        }
        let z_bthk = match self.straight(layer, x_btd, mask, hooks)? {
            Some(z_bthk) => z_bthk,
            None => self.attended(layer, x_btd, mask, None, hooks)?,
        };
        let z_btd = tap(hooks, HookKind::Z, layer, z_bthk)?.flatten_from(2)?;
        match read {
            Some(read) => read.of(&z_btd),
            None => Ok(z_btd),
        }
    }

    /// z, `[b, t, h, k]`, with a hook at every point before it; of the positions `read` alone `[n, 1, h, k]`, without
    /// the hooks of queries and patterns.
    fn attended(
        &self,
        layer: usize,
        x_btd: &Tensor,
        mask: &Mask<'_>,
        read: Option<&Reads>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let (q_bthk, k_btgk, v_btgk) = self.project(x_btd, read)?;
        let q_bthk = self.normed(tap(hooks, HookKind::Q, layer, q_bthk)?, &self.q_norm)?;
        let k_btgk = self.normed(tap(hooks, HookKind::K, layer, k_btgk)?, &self.k_norm)?;
        let v_btgk = tap(hooks, HookKind::V, layer, v_btgk)?;
        let (q_bthk, k_btgk) = match (mask.rotary, read) {
            (Some((cos, sin)), None) => {
                let turned = |x| ops::rotate(x, cos, sin, self.pairing);
                (turned(&q_bthk)?, turned(&k_btgk)?)
            }
            (Some((cos, sin)), Some(read)) => {
                let (batch, tokens, _) = x_btd.dims3()?;
                let q_bthk = ops::rotate(
                    &q_bthk,
                    &read.of_table(cos, batch, tokens)?,
                    &read.of_table(sin, batch, tokens)?,
                    self.pairing,
                )?;
                (q_bthk, ops::rotate(&k_btgk, cos, sin, self.pairing)?)
            }
            (None, _) => (q_bthk, k_btgk),
        };
        let how = self.attending(mask);
        if let (Some(Branching { parents, kept }), Some(stored)) = (mask.tree, mask.stored) {
            let tree = Tree { spans: stored.spans, parents };
            let stored = [stored.keys, stored.values];
            let (batch, tokens, h, k) = q_bthk.dims4()?;
            let z_n1hk = match read {
                Some(read) => {
                    let at: Vec<usize> = read.places.iter().map(|(_, token)| *token).collect();
                    ops::tree_attention(&q_bthk, [&k_btgk, &v_btgk], &at, stored, tree, how)?
                }
                None => {
                    let at: Vec<usize> = (0..tokens).collect();
                    let q_n1hk = q_bthk.reshape((batch * tokens, 1, h, k))?;
                    ops::tree_attention(&q_n1hk, [&k_btgk, &v_btgk], &at, stored, tree, how)?
                }
            };
            for (stored, own) in stored.into_iter().zip([&k_btgk, &v_btgk]) {
                cache::keep(stored, own, kept)?;
            }
            return z_n1hk.reshape((batch, tokens, h, k));
        }
        let pattern = hooks.wants(HookPoint::new(HookKind::Pattern, layer));
        let z_bthk = match (read, pattern, mask.stored) {
            (Some(read), _, stored) => ops::attention_at(&q_bthk, (&k_btgk, &v_btgk), &read.places, stored, how)?,
            (None, false, None) => ops::attention(&q_bthk, &k_btgk, &v_btgk, how)?,
            (None, false, Some(stored)) => ops::attention_over(&q_bthk, &k_btgk, &v_btgk, stored, how)?,
            (None, true, None) => {
                let pattern_bhtt = ops::attention_pattern(&q_bthk, &k_btgk, how)?;
                ops::attend(&tap(hooks, HookKind::Pattern, layer, pattern_bhtt)?, &v_btgk)?
            }
            (None, true, Some(stored)) => {
                let pattern_bhts = ops::pattern_over(&q_bthk, &k_btgk, stored, how)?;
                ops::attend_over(&tap(hooks, HookKind::Pattern, layer, pattern_bhts)?, &v_btgk, stored)?
            }
        };
        if let (Keep::Stored, Some(stored)) = (mask.keep, mask.stored) {
            cache::append(stored.keys, &k_btgk, stored.spans)?;
            cache::append(stored.values, &v_btgk, stored.spans)?;
        }
        Ok(z_bthk)
    }

    fn attending(&self, mask: &Mask<'_>) -> Attending {
        let causal = CausalMask { offset: 0, window: mask.window };
        Attending { scale: self.scale, softcap: self.softcap, mask: causal }
    }

    /// What attention adds to the stream, of z side by side: `[.., h·k]` → `[.., d]`.
    pub fn project_out(&self, z: &Tensor, owners: Owners<'_>) -> Result<Tensor> {
        self.out.forward_for(z, owners)
    }
}
