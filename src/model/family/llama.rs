//! Llama: RMS pre-norm, rotary, grouped-query attention, gated MLP.

use super::super::architecture::{Architecture, BlockPlan, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, Layout, LinearPlace, MlpInput, NormPlace};
use super::Blueprint;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("rope_interleaved", "false is")?;
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    let n_layers = config.size("num_hidden_layers")?;
    let head_dim = match config.optional_size("head_dim")? {
        Some(head_dim) => head_dim,
        None if d_model % n_heads == 0 => d_model / n_heads,
        None => return Err(config.unsupported("num_attention_heads", "it must divide hidden_size")),
    };
    let n_kv_heads = config.optional_size("num_key_value_heads")?.unwrap_or(n_heads);
    if n_heads % n_kv_heads != 0 {
        return Err(config.unsupported("num_key_value_heads", "it must divide num_attention_heads"));
    }
    let architecture = Architecture {
        family: "llama".into(),
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        d_model,
        d_mlp: config.size("intermediate_size")?,
        vocab_size: config.size("vocab_size")?,
        max_positions: config.optional_size("max_position_embeddings")?.unwrap_or(2048),
        norm: NormKind::Rms,
        norm_eps: config.positive_or("rms_norm_eps", 1e-6)?,
        activation: config.activation("hidden_act")?,
        parallel_residual: false,
        learned_positions: false,
        rotaries: vec![config.rotary(head_dim, 10_000.0)?],
        blocks: vec![BlockPlan { window: None, rotary: Some(0) }; n_layers],
        attention_scale: 1.0 / (head_dim as f64).sqrt(),
        attention_softcap: None,
        final_softcap: None,
        embedding_scale: None,
        qk_norm: None,
        tied_head: config.flag("tie_word_embeddings", false)?,
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: config.tokens("eos_token_id")?,
    };
    let attention_bias = config.flag("attention_bias", false)?;
    let mlp_bias = config.flag("mlp_bias", false)?;
    let layout = layout(&architecture, attention_bias, mlp_bias);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture, attention_bias: bool, mlp_bias: bool) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, head_dim, n_heads, n_kv_heads, .. } = *architecture;
    let norm = |module: String| NormPlace { module, width: d_model, bias: false };
    let block = |layer: usize| {
        let attention = |name: &str, inputs, outputs| {
            LinearPlace::new(format!("model.layers.{layer}.self_attn.{name}"), inputs, outputs, attention_bias)
        };
        let mlp = |name: &str, inputs, outputs| {
            LinearPlace::new(format!("model.layers.{layer}.mlp.{name}"), inputs, outputs, mlp_bias)
        };
        BlockLayout {
            attention_in_norm: Some(norm(format!("model.layers.{layer}.input_layernorm"))),
            attention_out_norm: None,
            mlp_in_norm: Some(norm(format!("model.layers.{layer}.post_attention_layernorm"))),
            mlp_out_norm: None,
            attention: AttentionInput::Separate {
                q: attention("q_proj", d_model, n_heads * head_dim),
                k: attention("k_proj", d_model, n_kv_heads * head_dim),
                v: attention("v_proj", d_model, n_kv_heads * head_dim),
            },
            q_norm: None,
            k_norm: None,
            attention_out: attention("o_proj", n_heads * head_dim, d_model),
            mlp: MlpInput::Gated { gate: mlp("gate_proj", d_model, d_mlp), up: mlp("up_proj", d_model, d_mlp) },
            mlp_out: mlp("down_proj", d_mlp, d_model),
        }
    };
    Layout {
        prefix: "model.",
        buffers: &["rotary_emb.inv_freq"],
        embedding: ("model.embed_tokens.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: norm("model.norm".into()),
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
