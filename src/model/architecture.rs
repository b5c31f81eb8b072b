//! What one decoder of ours is: the sizes and choices that a family's `config.json` comes down to, and where each
//! weight has its place.

use serde::Serialize;

use super::hook::{HookKind, HookPoint};
use super::rotary::Rotary;
use crate::ops::{Activation, Pairing};

/// The sizes and choices of one model, whatever its family calls them. What few families have is left out of the
/// serialized form where it is absent, so that the digest of a model does not change when another family joins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Architecture {
    /// The `model_type` of the config.
    pub family: String,
    /// Number of blocks.
    pub n_layers: usize,
    /// Query heads of a block.
    pub n_heads: usize,
    /// Key and value heads of a block.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Inner width of the MLP.
    pub d_mlp: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_positions: usize,
    /// The norm of every block and of the stream's end.
    pub norm: NormKind,
    /// What the norms are fed with besides their gain.
    pub norm_eps: f64,
    /// The MLP's activation.
    pub activation: Activation,
    /// Whether attention and MLP read the same stream and are added together.
    pub parallel_residual: bool,
    /// Whether positions are learned vectors added to the embedding.
    pub learned_positions: bool,
    /// Row of the learned positions at which the first token stands.
    #[serde(skip_serializing_if = "is_zero")]
    pub position_offset: usize,
    /// The rotary tables that blocks refer to.
    pub rotaries: Vec<Rotary>,
    /// Which channels a rotary embedding turns together.
    #[serde(skip_serializing_if = "is_default")]
    pub rotary_pairing: Pairing,
    /// What differs from block to block.
    pub blocks: Vec<BlockPlan>,
    /// What scores are multiplied by before the softmax.
    pub attention_scale: f64,
    /// cap·tanh(score / cap) before the softmax.
    pub attention_softcap: Option<f64>,
    /// cap·tanh(logit / cap) at the end.
    pub final_softcap: Option<f64>,
    /// What the token embedding is multiplied by.
    pub embedding_scale: Option<f64>,
    /// What the outputs of attention and MLP are multiplied by before they join the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f64>,
    /// What the logits are multiplied by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_scale: Option<f64>,
    /// The experts of the blocks whose MLP is a mixture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experts: Option<Experts>,
    /// How queries and keys are normalized before rotation.
    pub qk_norm: Option<QkNorm>,
    /// Whether the output embedding is the input embedding.
    pub tied_head: bool,
    /// The token that starts a text.
    pub bos: Option<u32>,
    /// The tokens that end a text.
    pub eos: Vec<u32>,
}

/// What differs from block to block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BlockPlan {
    /// Keys further back than this are hidden.
    pub window: Option<usize>,
    /// Which of the architecture's rotary tables turns queries and keys; none where positions come from elsewhere.
    pub rotary: Option<usize>,
    /// Whether the MLP is a mixture of experts.
    #[serde(skip_serializing_if = "is_default")]
    pub sparse: bool,
}

/// A mixture of experts: the router's softmax over all experts, of which the largest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Experts {
    /// Experts of a block.
    pub number: usize,
    /// How many run for each token.
    pub chosen: usize,
    /// Inner width of an expert.
    pub width: usize,
    /// Whether the weights of the chosen are divided by their sum.
    pub normalized: bool,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The kind of norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// x / rms(x) · gain.
    Rms,
    /// x / rms(x) · (1 + gain).
    RmsOnePlus,
    /// (x − mean) / sd(x) · gain + bias.
    Layer,
    /// x itself: the model has no norms.
    None,
}

/// How queries and keys are normalized before rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Each head by itself.
    PerHead,
    /// The whole projection.
    Whole,
}

impl Architecture {
    /// The hook points that this architecture has, in the order in which a pass meets them.
    pub fn hook_points(&self) -> Vec<HookPoint> {
        let mut points = vec![HookPoint::new(HookKind::Embed, 0)];
        if self.learned_positions {
            points.push(HookPoint::new(HookKind::PosEmbed, 0));
        }
        for layer in 0..self.n_layers {
            let block = HookKind::BLOCK.into_iter().map(|kind| HookPoint::new(kind, layer));
            points.extend(block.filter(|point| self.has(*point)));
        }
        points.push(HookPoint::new(HookKind::FinalNormalized, 0));
        points
    }

    /// Whether the point exists here.
    pub fn has(&self, point: HookPoint) -> bool {
        let Some(block) = self.blocks.get(point.layer) else { return false };
        match point.kind {
            HookKind::Embed | HookKind::FinalNormalized => point.layer == 0,
            HookKind::PosEmbed => point.layer == 0 && self.learned_positions,
            HookKind::ResidMid => !self.parallel_residual,
            HookKind::MlpPre | HookKind::MlpPost => !block.sparse,
            HookKind::ExpertWeights => block.sparse,
            _ => true,
        }
    }

    /// Sequences of the same class may be padded to one length; those of different classes are turned by other
    /// frequencies, so that padding one to the other's length would change what the model says. One class in most
    /// models; more where rotary frequencies follow the length (dynamic and LongRoPE scaling).
    pub fn length_class(&self, tokens: usize) -> Vec<usize> {
        self.rotaries.iter().map(|rotary| rotary.length_class(tokens)).collect()
    }

    /// The shape at a point.
    pub fn hook_shape(&self, point: HookPoint) -> Vec<Dimension> {
        use Dimension::{Batch, Size, Tokens};
        match point.kind {
            HookKind::Q | HookKind::Z => vec![Batch, Tokens, Size(self.n_heads), Size(self.head_dim)],
            HookKind::K | HookKind::V => vec![Batch, Tokens, Size(self.n_kv_heads), Size(self.head_dim)],
            HookKind::Pattern => vec![Batch, Size(self.n_heads), Tokens, Tokens],
            HookKind::MlpPre | HookKind::MlpPost => vec![Batch, Tokens, Size(self.d_mlp)],
            HookKind::ExpertWeights => {
                vec![Batch, Tokens, Size(self.experts.map_or(0, |experts| experts.number))]
            }
            _ => vec![Batch, Tokens, Size(self.d_model)],
        }
    }
}

/// One dimension of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Rows of the batch.
    Batch,
    /// Token positions.
    Tokens,
    /// A size that the architecture fixes.
    Size(usize),
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dimension::Batch => f.write_str("b"),
            Dimension::Tokens => f.write_str("t"),
            Dimension::Size(size) => write!(f, "{size}"),
        }
    }
}
