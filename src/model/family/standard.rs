//! What most families share: the standard fields of a config, and Llama's weight names.

use super::super::architecture::{Architecture, BlockPlan, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpInput, NormPlace};
use crate::ops::Activation;

/// What a family takes where its config does not say.
pub(super) struct Defaults {
    /// Width of a head; hidden size over heads where `None`.
    pub head_dim: Option<usize>,
    /// Base of the rotary frequencies.
    pub theta: f64,
    /// Whether head and embedding are one.
    pub tied: bool,
    /// ε of the norms.
    pub eps: f64,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { head_dim: None, theta: 10_000.0, tied: false, eps: 1e-6 }
    }
}

/// The architecture of a pre-norm decoder with RMS norms and rotary positions, from the standard fields.
pub(super) fn architecture(config: &Config<'_>, family: &str, defaults: Defaults) -> Result<Architecture, ModelError> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    let n_layers = config.size("num_hidden_layers")?;
    let head_dim = match config.optional_size("head_dim")?.or(defaults.head_dim) {
        Some(head_dim) => head_dim,
        None if d_model % n_heads == 0 => d_model / n_heads,
        None => return Err(config.unsupported("num_attention_heads", "it must divide hidden_size")),
    };
    let n_kv_heads = config.optional_size("num_key_value_heads")?.unwrap_or(n_heads);
    if n_heads % n_kv_heads != 0 {
        return Err(config.unsupported("num_key_value_heads", "it must divide num_attention_heads"));
    }
    let activation = match config.get("hidden_act") {
        None => Activation::Silu,
        Some(_) => config.activation("hidden_act")?,
    };
    Ok(Architecture {
        family: family.into(),
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        d_model,
        d_mlp: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        max_positions: config.optional_size("max_position_embeddings")?.unwrap_or(2048),
        norm: NormKind::Rms,
        norm_eps: config.positive_or("rms_norm_eps", defaults.eps)?,
        activation,
        parallel_residual: false,
        learned_positions: false,
        rotaries: vec![config.rotary(config.rotary_dims(head_dim, 1.0)?, defaults.theta)?],
        blocks: vec![BlockPlan { window: None, rotary: Some(0) }; n_layers],
        attention_scale: 1.0 / (head_dim as f64).sqrt(),
        attention_softcap: None,
        final_softcap: None,
        embedding_scale: None,
        qk_norm: None,
        tied_head: config.flag("tie_word_embeddings", defaults.tied)?,
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: config.tokens("eos_token_id")?,
    })
}

/// Blocks that differ in their window alone.
pub(super) fn windowed(windows: Vec<Option<usize>>) -> Vec<BlockPlan> {
    windows.into_iter().map(|window| BlockPlan { window, rotary: Some(0) }).collect()
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
        Self { norms: PRE_NORM, qkv_bias: false, out_bias: false, mlp_bias: false, qk_norm: None, fused: false }
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
        final_norm: NormPlace { module: "model.norm".into(), width: d_model, bias: false },
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}

fn block(layer: usize, architecture: &Architecture, variant: &Variant) -> BlockLayout {
    let Architecture { d_model, d_mlp, head_dim, n_heads, n_kv_heads, .. } = *architecture;
    let (queries, keys) = (n_heads * head_dim, n_kv_heads * head_dim);
    let name = |part: &str| format!("model.layers.{layer}.{part}");
    let norm = |part: Option<&str>| part.map(|part| NormPlace { module: name(part), width: d_model, bias: false });
    let input =
        |part: &str, outputs| LinearPlace::new(name(&format!("self_attn.{part}")), d_model, outputs, variant.qkv_bias);
    let mlp =
        |part: &str, inputs, outputs| LinearPlace::new(name(&format!("mlp.{part}")), inputs, outputs, variant.mlp_bias);
    let head_norm = |part: &str, width: Option<usize>| {
        width.map(|width| NormPlace { module: name(&format!("self_attn.{part}")), width, bias: false })
    };
    let (attention, inner) = match variant.fused {
        true => (
            AttentionInput::Fused(input("qkv_proj", queries + 2 * keys), FusedOrder::Blocks),
            MlpInput::GatedFused(mlp("gate_up_proj", d_model, 2 * d_mlp)),
        ),
        false => (
            AttentionInput::Separate {
                q: input("q_proj", queries),
                k: input("k_proj", keys),
                v: input("v_proj", keys),
            },
            MlpInput::Gated { gate: mlp("gate_proj", d_model, d_mlp), up: mlp("up_proj", d_model, d_mlp) },
        ),
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
        mlp: inner,
        mlp_out: mlp("down_proj", d_mlp, d_model),
    }
}
