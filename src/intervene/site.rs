//! Sites: a hook point, the positions, the head where the point has heads, and the part of what stands there.
//!
//! Points with heads are `q`, `z`, `pattern` (query heads) and `k`, `v` (key/value heads: under grouped-query attention
//! one stands for all query heads that read it). A pattern site is a destination (its positions) and the sources that
//! it reads ([`Part::From`]); MLP neurons are what the output projection of a dense MLP reads.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use crate::base::suggestion;
use crate::model::{Architecture, HookKind, HookPoint};

/// The kinds of activation that a plan can replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteKind {
    /// Token embedding, after any embedding scale.
    Embed,
    /// Learned position embedding (models that have one).
    PosEmbed,
    /// Residual stream before a block.
    ResidPre,
    /// Queries, before any norm of theirs and before rotation.
    Q,
    /// Keys, likewise.
    K,
    /// Values.
    V,
    /// Attention probabilities, destination by source. What is written is not normalised again.
    Pattern,
    /// Head outputs before the output projection.
    Z,
    /// What attention adds to the stream.
    AttnOut,
    /// Residual stream between attention and MLP (not in parallel blocks).
    ResidMid,
    /// MLP neurons: what the MLP's output projection reads (not in mixtures of experts).
    MlpPost,
    /// What the MLP adds to the stream.
    MlpOut,
    /// Residual stream after a block.
    ResidPost,
}

impl SiteKind {
    /// All kinds, in the order in which a pass meets them.
    pub const ALL: [SiteKind; 13] = [
        SiteKind::Embed,
        SiteKind::PosEmbed,
        SiteKind::ResidPre,
        SiteKind::Q,
        SiteKind::K,
        SiteKind::V,
        SiteKind::Pattern,
        SiteKind::Z,
        SiteKind::AttnOut,
        SiteKind::ResidMid,
        SiteKind::MlpPost,
        SiteKind::MlpOut,
        SiteKind::ResidPost,
    ];

    /// The short name: `resid_pre`, `z`, …
    pub fn name(self) -> &'static str {
        match self {
            SiteKind::Embed => "embed",
            SiteKind::PosEmbed => "pos_embed",
            SiteKind::ResidPre => "resid_pre",
            SiteKind::Q => "q",
            SiteKind::K => "k",
            SiteKind::V => "v",
            SiteKind::Pattern => "pattern",
            SiteKind::Z => "z",
            SiteKind::AttnOut => "attn_out",
            SiteKind::ResidMid => "resid_mid",
            SiteKind::MlpPost => "mlp_post",
            SiteKind::MlpOut => "mlp_out",
            SiteKind::ResidPost => "resid_post",
        }
    }

    /// The hook that carries it.
    pub fn hook(self) -> HookKind {
        match self {
            SiteKind::Embed => HookKind::Embed,
            SiteKind::PosEmbed => HookKind::PosEmbed,
            SiteKind::ResidPre => HookKind::ResidPre,
            SiteKind::Q => HookKind::Q,
            SiteKind::K => HookKind::K,
            SiteKind::V => HookKind::V,
            SiteKind::Pattern => HookKind::Pattern,
            SiteKind::Z => HookKind::Z,
            SiteKind::AttnOut => HookKind::AttnOut,
            SiteKind::ResidMid => HookKind::ResidMid,
            SiteKind::MlpPost => HookKind::MlpPost,
            SiteKind::MlpOut => HookKind::MlpOut,
            SiteKind::ResidPost => HookKind::ResidPost,
        }
    }

    pub(super) fn of(hook: HookKind) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.hook() == hook)
    }

    /// Whether it exists once a model, not once a block.
    pub fn is_embedding(self) -> bool {
        matches!(self, SiteKind::Embed | SiteKind::PosEmbed)
    }

    /// Heads at this kind of site: query heads, key/value heads, or none.
    pub fn heads(self, architecture: &Architecture) -> Option<usize> {
        match self {
            SiteKind::Q | SiteKind::Z | SiteKind::Pattern => Some(architecture.n_heads),
            SiteKind::K | SiteKind::V => Some(architecture.n_kv_heads),
            _ => None,
        }
    }

    /// Whether its sites can name a head.
    pub fn has_heads(self) -> bool {
        matches!(self, SiteKind::Q | SiteKind::K | SiteKind::V | SiteKind::Pattern | SiteKind::Z)
    }
}

impl fmt::Display for SiteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SiteKind {
    type Err = InterveneError;

    fn from_str(text: &str) -> Result<Self, InterveneError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(SiteKind::name);
            let hint = suggestion(text, names).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            let message = format!("no such kind of site; known are {}{hint}", names.join(", "));
            InterveneError::SiteText { text: text.to_owned(), message }
        })
    }
}

/// Which positions of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Positions {
    /// Every position, those of a continuation included.
    All,
    /// The last token of the named slot; [`super::LAST`] is the prompt's last token, [`super::CHANGED`] the last token
    /// of the first stretch in which the two sides differ.
    Slot(String),
    /// A token index, counted in the factual prompt.
    Index(usize),
}

/// Which part of the activation at a position.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All of it.
    #[default]
    All,
    /// A run of neurons ([`SiteKind::MlpPost`] only).
    Neurons {
        /// The first of them.
        first: usize,
        /// The one behind the last.
        end: usize,
    },
    /// What is read from these source positions ([`SiteKind::Pattern`] only).
    From(Positions),
}

/// One place of a forward pass that a plan replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// What is replaced.
    pub kind: SiteKind,
    /// In which block; 0 for embeddings.
    pub layer: usize,
    /// At which positions; of a pattern, the destinations.
    pub positions: Positions,
    /// Of which head, at kinds that have heads; every head where `None`.
    pub head: Option<usize>,
    /// Which part.
    pub part: Part,
}

impl Site {
    /// The activation of a kind and block at some positions, every head of it.
    pub fn at(kind: SiteKind, layer: usize, positions: Positions) -> Self {
        Self { kind, layer, positions, head: None, part: Part::All }
    }

    /// The whole activation: every position, every head.
    pub fn everywhere(kind: SiteKind, layer: usize) -> Self {
        Self::at(kind, layer, Positions::All)
    }

    /// The activation at the last token of a slot.
    pub fn at_slot(kind: SiteKind, layer: usize, slot: impl Into<String>) -> Self {
        Self::at(kind, layer, Positions::Slot(slot.into()))
    }

    /// The activation at one token.
    pub fn at_index(kind: SiteKind, layer: usize, index: usize) -> Self {
        Self::at(kind, layer, Positions::Index(index))
    }

    /// One head's output at every position.
    pub fn of_head(layer: usize, head: usize) -> Self {
        Self::everywhere(SiteKind::Z, layer).with_head(head)
    }

    /// Some neurons of a block's MLP at every position.
    pub fn of_neurons(layer: usize, neurons: Range<usize>) -> Self {
        let part = Part::Neurons { first: neurons.start, end: neurons.end };
        Self { part, ..Self::everywhere(SiteKind::MlpPost, layer) }
    }

    /// What the `to` positions of a block read from the `from` positions, in every head.
    pub fn of_pattern(layer: usize, to: Positions, from: Positions) -> Self {
        Self { part: Part::From(from), ..Self::at(SiteKind::Pattern, layer, to) }
    }

    /// The same site of one head.
    pub fn with_head(self, head: usize) -> Self {
        Self { head: Some(head), ..self }
    }

    /// The same place in each of `count` blocks from this one on, as far as the model goes: a window.
    pub fn window(&self, count: usize, architecture: &Architecture) -> Vec<Self> {
        let layers = self.layer..self.layer.saturating_add(count).min(architecture.n_layers);
        layers.map(|layer| Self { layer, ..self.clone() }).collect()
    }

    /// The hook point behind it.
    pub fn hook(&self) -> HookPoint {
        HookPoint { kind: self.kind.hook(), layer: self.layer }
    }

    /// Width of what stands at one position (and head) of the site; `None` for a pattern, whose width is the prompt's.
    pub fn width(&self, architecture: &Architecture) -> Option<usize> {
        match (self.kind, &self.part) {
            (SiteKind::Pattern, _) => None,
            (_, Part::Neurons { first, end }) => Some(end.saturating_sub(*first)),
            (SiteKind::MlpPost, _) => Some(architecture.d_mlp),
            (kind, _) if kind.has_heads() => Some(architecture.head_dim),
            _ => Some(architecture.d_model),
        }
    }

    /// Refuses a site that the architecture does not have.
    pub fn check(&self, architecture: &Architecture) -> Result<(), InterveneError> {
        let refuse = |message: String| {
            Err(InterveneError::NoSuchSite { site: self.to_string(), family: architecture.family.clone(), message })
        };
        if self.layer >= architecture.n_layers {
            return refuse(format!("layers run from 0 to {}", architecture.n_layers.saturating_sub(1)));
        }
        if self.kind.is_embedding() && self.layer > 0 {
            return refuse("embeddings exist once a model; leave the layer at 0".into());
        }
        if !architecture.has(self.hook()) {
            return refuse(match self.kind {
                SiteKind::ResidMid => "its blocks add attention and MLP in parallel, there is no stream between them; use resid_pre or resid_post".into(),
                SiteKind::MlpPost => "this block's MLP is a mixture of experts, which has no neurons of its own; use mlp_out".into(),
                _ => "its positions are not learned vectors; use embed or resid_pre".into(),
            });
        }
        match (self.head, self.kind.heads(architecture)) {
            (Some(_), None) => return refuse("only q, k, v, pattern and z have heads".into()),
            (Some(head), Some(heads)) if head >= heads => {
                let which = if heads == architecture.n_heads { "heads" } else { "key/value heads" };
                return refuse(format!("{which} run from 0 to {}", heads.saturating_sub(1)));
            }
            _ => {}
        }
        match &self.part {
            Part::Neurons { first, end } if first >= end || *end > architecture.d_mlp => {
                refuse(format!("neurons run from 0 to {}", architecture.d_mlp.saturating_sub(1)))
            }
            Part::Neurons { .. } if self.kind != SiteKind::MlpPost => refuse("only mlp_post has neurons".into()),
            Part::From(_) if self.kind != SiteKind::Pattern => refuse("only pattern has sources".into()),
            _ => Ok(()),
        }
    }
}
