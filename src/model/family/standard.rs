//! What most families share: the standard fields of a config under all of their names, and Llama's weight names.

use super::super::architecture::{Architecture, BlockPlan, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpLayout, NormPlace};
use crate::ops::{Activation, Pairing};

/// What a family takes where its config does not say.
pub(super) struct Defaults {
    /// Width of a head; hidden size over heads where `None`.
    pub head_dim: Option<usize>,
    /// Base of the rotary frequencies; `None` where positions do not come from rotation.
    pub theta: Option<f64>,
    /// The share of a head's channels that is turned.
    pub turned: f64,
    /// Whether head and embedding are one.
    pub tied: bool,
    /// ε of the norms.
    pub eps: f64,
    /// The kind of norm.
    pub norm: NormKind,
    /// The activation.
    pub activation: Activation,
    /// Inner width of the MLP over the stream's; `None` where the config must say.
    pub mlp_ratio: Option<usize>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            head_dim: None,
            theta: Some(10_000.0),
            turned: 1.0,
            tied: false,
            eps: 1e-6,
            norm: NormKind::Rms,
            activation: Activation::Silu,
            mlp_ratio: None,
        }
    }
}

/// The architecture of a sequential decoder, from the standard fields.
pub(super) fn architecture(config: &Config<'_>, family: &str, defaults: Defaults) -> Result<Architecture, ModelError> {
    let size = |names: &[&str]| {
        let first = names.first().copied().unwrap_or_default();
        config.size(config.any(names).unwrap_or(first))
    };
    let optional = |names: &[&str]| config.any(names).map(|name| config.size(name)).transpose();
    let d_model = size(&["hidden_size", "n_embd", "n_embed"])?;
    const HEADS: &[&str] = &["num_attention_heads", "n_head"];
    let n_heads = size(HEADS)?;
    let n_layers = size(&["num_hidden_layers", "n_layer"])?;
    let head_dim = match config.optional_size("head_dim")?.or(defaults.head_dim) {
        Some(head_dim) => head_dim,
        None if d_model % n_heads == 0 => d_model / n_heads,
        None => return Err(config.unsupported(config.any(HEADS).unwrap_or_default(), "it must divide the width")),
    };
    let n_kv_heads = optional(&["num_key_value_heads", "num_kv_heads"])?.unwrap_or(n_heads);
    if n_heads % n_kv_heads != 0 {
        return Err(config.unsupported("num_key_value_heads", "it must divide num_attention_heads"));
    }
    const MLP: &[&str] = &["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"];
    let d_mlp = match (optional(MLP)?, defaults.mlp_ratio) {
        (Some(width), _) => width,
        (None, Some(ratio)) => ratio * d_model,
        (None, None) => return Err(config.missing("intermediate_size")),
    };
    let rotaries = match defaults.theta {
        Some(theta) => vec![config.rotary(config.rotary_dims(head_dim, defaults.turned)?, theta)?],
        None => Vec::new(),
    };
    let eps = config.any(&["rms_norm_eps", "layer_norm_eps", "norm_epsilon", "layer_norm_epsilon"]);
    let activation = config.any(&["hidden_activation", "hidden_act", "activation_function", "activation"]);
    let positions = optional(&["max_position_embeddings", "n_positions"])?.unwrap_or(2048);
    Ok(Architecture {
        family: family.into(),
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        d_model,
        d_mlp,
        vocab_size: config.size("vocab_size")?,
        max_positions: stretched(positions, &rotaries),
        norm: defaults.norm,
        norm_eps: eps.map_or(Ok(defaults.eps), |name| config.positive(name))?,
        activation: activation.map_or(Ok(defaults.activation), |name| config.activation(name))?,
        parallel_residual: false,
        learned_positions: false,
        position_offset: 0,
        blocks: vec![BlockPlan { window: None, rotary: defaults.theta.map(|_| 0), sparse: false }; n_layers],
        rotaries,
        rotary_pairing: Pairing::Halves,
        attention_scale: 1.0 / (head_dim as f64).sqrt(),
        attention_softcap: None,
        final_softcap: None,
        embedding_scale: None,
        residual_scale: None,
        logit_scale: None,
        experts: None,
        qk_norm: None,
        tied_head: config.flag("tie_word_embeddings", defaults.tied)?,
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: config.tokens("eos_token_id")?,
    })
}

/// The longest sequence: a base that grows with the sequence is made for longer ones than the model was trained on.
fn stretched(positions: usize, rotaries: &[super::super::rotary::Rotary]) -> usize {
    let factor = rotaries.first().and_then(|rotary| rotary.dynamic.as_ref()).map_or(1.0, |dynamic| dynamic.factor);
    (positions as f64 * factor.max(1.0)) as usize
}

/// Blocks that differ in their window alone.
pub(super) fn windowed(windows: Vec<Option<usize>>) -> Vec<BlockPlan> {
    windows.into_iter().map(|window| BlockPlan { window, rotary: Some(0), sparse: false }).collect()
}

/// The names of a block's norms, below its layer; none where the family has no such norm.
pub(super) struct NormNames {
    pub attention_in: Option<&'static str>,
    pub attention_out: Option<&'static str>,
    pub mlp_in: Option<&'static str>,
    pub mlp_out: Option<&'static str>,
}

/// Norms before attention and before the MLP.
pub(super) const PRE_NORM: NormNames = NormNames {
    attention_in: Some("input_layernorm"),
    attention_out: None,
    mlp_in: Some("post_attention_layernorm"),
    mlp_out: None,
};

/// One norm whose output both attention and MLP read.
pub(super) const SHARED_NORM: NormNames = NormNames {
    attention_in: Some("input_layernorm"),
    attention_out: None,
    mlp_in: Some("input_layernorm"),
    mlp_out: None,
};

/// Norms on both sides of attention and MLP.
pub(super) const SANDWICH: NormNames = NormNames {
    attention_in: Some("input_layernorm"),
    attention_out: Some("post_attention_layernorm"),
    mlp_in: Some("pre_feedforward_layernorm"),
    mlp_out: Some("post_feedforward_layernorm"),
};

/// Norms after attention and MLP alone.
pub(super) const POST_NORM: NormNames = NormNames {
    attention_in: None,
    attention_out: Some("post_attention_layernorm"),
    mlp_in: None,
    mlp_out: Some("post_feedforward_layernorm"),
};

/// How a family's weights differ from Llama's.
pub(super) struct Variant {
    pub norms: NormNames,
    /// Whether norms have biases.
    pub norm_bias: bool,
    pub qkv_bias: bool,
    pub out_bias: bool,
    pub mlp_bias: bool,
    /// Widths of the norms of queries and keys.
    pub qk_norm: Option<(usize, usize)>,
    /// Whether queries, keys and values are one projection, and gate and up another.
    pub fused: bool,
}

impl Default for Variant {
    fn default() -> Self {
        let norms = PRE_NORM;
        Self { norms, norm_bias: false, qkv_bias: false, out_bias: false, mlp_bias: false, qk_norm: None, fused: false }
    }
}

/// The weights of a model with Llama's names.
pub(super) fn layout(architecture: &Architecture, variant: &Variant) -> Layout {
    let Architecture { d_model, vocab_size, .. } = *architecture;
    Layout {
        prefix: "model.",
        buffers: &["rotary_emb.inv_freq"],
        embedding: ("model.embed_tokens.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(|layer| block(layer, architecture, variant)).collect(),
        final_norm: Some(NormPlace::new("model.norm", d_model, variant.norm_bias)),
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}

/// Queries, keys and values as projections of their own, below a block's path.
pub(super) fn separate(attention: &str, architecture: &Architecture, bias: bool) -> AttentionInput {
    let Architecture { d_model, head_dim, n_heads, n_kv_heads, .. } = *architecture;
    let input =
        |part: &str, heads: usize| LinearPlace::new(format!("{attention}.{part}"), d_model, heads * head_dim, bias);
    AttentionInput::Separate {
        q: input("q_proj", n_heads),
        k: input("k_proj", n_kv_heads),
        v: input("v_proj", n_kv_heads),
    }
}

fn block(layer: usize, architecture: &Architecture, variant: &Variant) -> BlockLayout {
    let Architecture { d_model, d_mlp, head_dim, n_heads, n_kv_heads, .. } = *architecture;
    let (queries, keys) = (n_heads * head_dim, n_kv_heads * head_dim);
    let name = |part: &str| format!("model.layers.{layer}.{part}");
    let norm = |part: Option<&str>| part.map(|part| NormPlace::new(name(part), d_model, variant.norm_bias));
    let mlp =
        |part: &str, inputs, outputs| LinearPlace::new(name(&format!("mlp.{part}")), inputs, outputs, variant.mlp_bias);
    let head_norm = |part: &str, width: Option<usize>| {
        width.map(|width| NormPlace::new(name(&format!("self_attn.{part}")), width, false))
    };
    let down = mlp("down_proj", d_mlp, d_model);
    let (attention, mlp) = match variant.fused {
        true => {
            let qkv = LinearPlace::new(name("self_attn.qkv_proj"), d_model, queries + 2 * keys, variant.qkv_bias);
            let gate_up = mlp("gate_up_proj", d_model, 2 * d_mlp);
            (AttentionInput::Fused(qkv, FusedOrder::Blocks), MlpLayout::GatedFused { gate_up, down })
        }
        false => {
            let (gate, up) = (mlp("gate_proj", d_model, d_mlp), mlp("up_proj", d_model, d_mlp));
            (separate(&name("self_attn"), architecture, variant.qkv_bias), MlpLayout::Gated { gate, up, down })
        }
    };
    BlockLayout {
        attention_in_norm: norm(variant.norms.attention_in),
        attention_out_norm: norm(variant.norms.attention_out),
        mlp_in_norm: norm(variant.norms.mlp_in),
        mlp_out_norm: norm(variant.norms.mlp_out),
        attention,
        q_norm: head_norm("q_norm", variant.qk_norm.map(|(q, _)| q)),
        k_norm: head_norm("k_norm", variant.qk_norm.map(|(_, k)| k)),
        attention_out: LinearPlace::new(name("self_attn.o_proj"), queries, d_model, variant.out_bias),
        mlp,
    }
}
