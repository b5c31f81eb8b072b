//! Named hook points: where a forward pass can be read and written.
//!
//! The names and their meaning are TransformerLens': `hook_q` and `hook_k` before any norm of theirs and before
//! rotation, `hook_z` the weighted values a head before the output projection, `hook_attn_out` and `hook_mlp_out` what
//! is added to the residual stream, `mlp.hook_pre` before the activation (of the gate, where there is one) and
//! `mlp.hook_post` what the output projection reads, `hook_mlp_in` the stream that the MLP reads, before its norm, `ln_final.hook_normalized` for an RMS norm before its gain and for
//! a layer norm after gain and bias. A mixture of experts has `mlp.hook_expert_weights`, the router's softmax over all
//! experts, in place of `mlp.hook_pre` and `mlp.hook_post`: what is written there decides which experts run, and how
//! much each counts. Shapes: stream points `[b, t, d]`, `q` and `z` `[b, t, h, k]`, `k` and `v` `[b, t, g, k]`,
//! `pattern` `[b, h, t, t]`, MLP inner points `[b, t, m]`, expert weights `[b, t, e]`.
//!
//! A hook that is not wanted costs one branch; a wanted one that returns its argument costs a reference count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::ops::Span;

/// What is read at a hook point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// Token embedding, after any embedding scale.
    Embed,
    /// Learned position embedding.
    PosEmbed,
    /// Residual stream before a block.
    ResidPre,
    /// Queries before rotation.
    Q,
    /// Keys before rotation.
    K,
    /// Values.
    V,
    /// Attention probabilities.
    Pattern,
    /// Weighted values of each head, before the output projection.
    Z,
    /// What attention adds to the stream.
    AttnOut,
    /// Residual stream between attention and MLP.
    ResidMid,
    /// The stream that the MLP reads, before its norm: what is written here reaches the MLP alone.
    MlpIn,
    /// MLP pre-activation (of the gate where there is one).
    MlpPre,
    /// What the MLP's output projection reads.
    MlpPost,
    /// The router's softmax over all experts, before the largest are chosen (mixtures of experts alone).
    ExpertWeights,
    /// What the MLP adds to the stream.
    MlpOut,
    /// Residual stream after a block.
    ResidPost,
    /// The final norm's normalized value.
    FinalNormalized,
}

impl HookKind {
    /// The kinds that exist once a block, in the order in which a block passes them.
    pub const BLOCK: [HookKind; 14] = [
        HookKind::ResidPre,
        HookKind::Q,
        HookKind::K,
        HookKind::V,
        HookKind::Pattern,
        HookKind::Z,
        HookKind::AttnOut,
        HookKind::ResidMid,
        HookKind::MlpIn,
        HookKind::MlpPre,
        HookKind::MlpPost,
        HookKind::ExpertWeights,
        HookKind::MlpOut,
        HookKind::ResidPost,
    ];

    fn name(self) -> &'static str {
        match self {
            HookKind::Embed => "hook_embed",
            HookKind::PosEmbed => "hook_pos_embed",
            HookKind::ResidPre => "hook_resid_pre",
            HookKind::Q => "attn.hook_q",
            HookKind::K => "attn.hook_k",
            HookKind::V => "attn.hook_v",
            HookKind::Pattern => "attn.hook_pattern",
            HookKind::Z => "attn.hook_z",
            HookKind::AttnOut => "hook_attn_out",
            HookKind::ResidMid => "hook_resid_mid",
            HookKind::MlpIn => "hook_mlp_in",
            HookKind::MlpPre => "mlp.hook_pre",
            HookKind::MlpPost => "mlp.hook_post",
            HookKind::ExpertWeights => "mlp.hook_expert_weights",
            HookKind::MlpOut => "hook_mlp_out",
            HookKind::ResidPost => "hook_resid_post",
            HookKind::FinalNormalized => "ln_final.hook_normalized",
        }
    }
}

/// One place of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookPoint {
    /// What is read there.
    pub kind: HookKind,
    /// The block, 0 for the points that exist once a model.
    pub layer: usize,
}

impl HookPoint {
    /// The point of `kind` in block `layer`.
    pub fn new(kind: HookKind, layer: usize) -> Self {
        Self { kind, layer }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if HookKind::BLOCK.contains(&self.kind) {
            write!(f, "blocks.{}.{}", self.layer, self.kind.name())
        } else {
            f.write_str(self.kind.name())
        }
    }
}

/// A text that names no hook point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no hook point; names are like blocks.0.hook_resid_pre, blocks.1.attn.hook_z, ln_final.hook_normalized"
)]
pub struct UnknownHookPoint(String);

impl FromStr for HookPoint {
    type Err = UnknownHookPoint;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let unknown = || UnknownHookPoint(text.to_owned());
        let Some(rest) = text.strip_prefix("blocks.") else {
            return [HookKind::Embed, HookKind::PosEmbed, HookKind::FinalNormalized]
                .into_iter()
                .find(|kind| kind.name() == text)
                .map(|kind| Self::new(kind, 0))
                .ok_or_else(unknown);
        };
        let (layer, name) = rest.split_once('.').ok_or_else(unknown)?;
        let plain = !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_digit());
        let layer = layer.parse().ok().filter(|_| plain).ok_or_else(unknown)?;
        let kind = HookKind::BLOCK.into_iter().find(|kind| kind.name() == name).ok_or_else(unknown)?;
        Ok(Self::new(kind, layer))
    }
}

impl Serialize for HookPoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HookPoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads and replaces activations while a forward pass runs.
pub trait Hooks {
    /// Whether [`Hooks::at`] is to be called at this point. Asked once a point and pass.
    fn wants(&self, point: HookPoint) -> bool;

    /// Called before a pass: row i of every activation holds tokens `start..start + tokens` of text `row`. A pass
    /// without stored keys and values has every row start at 0.
    fn begin(&mut self, _spans: &[Span]) {}

    /// Receives the activation and returns what the pass goes on with: the same tensor, or another of its shape.
    fn at(&mut self, point: HookPoint, activation: Tensor) -> Result<Tensor>;
}

/// Wants nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn wants(&self, _: HookPoint) -> bool {
        false
    }

    fn at(&mut self, _: HookPoint, activation: Tensor) -> Result<Tensor> {
        Ok(activation)
    }
}

/// Keeps the wanted activations and changes none.
#[derive(Debug, Clone, Default)]
pub struct Record {
    points: BTreeSet<HookPoint>,
    kept: BTreeMap<HookPoint, Tensor>,
}

impl Record {
    /// Will keep the activations at `points`.
    pub fn new(points: impl IntoIterator<Item = HookPoint>) -> Self {
        Self { points: points.into_iter().collect(), kept: BTreeMap::new() }
    }

    /// The activations kept since the last call.
    pub fn take(&mut self) -> BTreeMap<HookPoint, Tensor> {
        std::mem::take(&mut self.kept)
    }
}

impl Hooks for Record {
    fn wants(&self, point: HookPoint) -> bool {
        self.points.contains(&point)
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> Result<Tensor> {
        self.kept.insert(point, activation.clone());
        Ok(activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_refused() {
        let mut points: Vec<_> = HookKind::BLOCK.into_iter().map(|kind| HookPoint::new(kind, 12)).collect();
        points.extend(
            [HookKind::Embed, HookKind::PosEmbed, HookKind::FinalNormalized].map(|kind| HookPoint::new(kind, 0)),
        );
        for point in points {
            assert_eq!(point.to_string().parse(), Ok(point));
            let json = serde_json::to_string(&point).expect("text");
            assert_eq!(serde_json::from_str::<HookPoint>(&json).expect("point"), point);
        }
        assert_eq!(HookPoint::new(HookKind::Z, 3).to_string(), "blocks.3.attn.hook_z");
        for bad in [
            "blocks.x.hook_resid_pre",
            "blocks.1",
            "blocks.+1.hook_resid_pre",
            "blocks.0.hook_embed",
            "hook_resid_pre",
            "",
        ] {
            assert!(bad.parse::<HookPoint>().is_err(), "{bad}");
        }
    }
}
