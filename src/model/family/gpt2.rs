//! GPT-2: layer norm, learned positions, one fused projection for queries, keys and values, plain MLP. Linear weights
//! are stored `[in, out]`.

use super::super::architecture::{Architecture, BlockPlan, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpInput, NormPlace};
use super::Blueprint;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("add_cross_attention", "false is")?;
    config.refuse("scale_attn_by_inverse_layer_idx", "false is")?;
    let d_model = config.size("n_embd")?;
    let n_heads = config.size("n_head")?;
    let n_layers = config.size("n_layer")?;
    if d_model % n_heads != 0 {
        return Err(config.unsupported("n_head", "it must divide n_embd"));
    }
    let head_dim = d_model / n_heads;
    let attention_scale = match config.flag("scale_attn_weights", true)? {
        true => 1.0 / (head_dim as f64).sqrt(),
        false => 1.0,
    };
    let activation = match config.get("activation_function") {
        None => crate::ops::Activation::GeluTanh,
        Some(_) => config.activation("activation_function")?,
    };
    let architecture = Architecture {
        family: "gpt2".into(),
        n_layers,
        n_heads,
        n_kv_heads: n_heads,
        head_dim,
        d_model,
        d_mlp: config.optional_size("n_inner")?.unwrap_or(4 * d_model),
        vocab_size: config.size("vocab_size")?,
        max_positions: config.optional_size("n_positions")?.unwrap_or(1024),
        norm: NormKind::Layer,
        norm_eps: config.positive_or("layer_norm_epsilon", 1e-5)?,
        activation,
        parallel_residual: false,
        learned_positions: true,
        rotaries: Vec::new(),
        blocks: vec![BlockPlan { window: None, rotary: None }; n_layers],
        attention_scale,
        attention_softcap: None,
        final_softcap: None,
        embedding_scale: None,
        qk_norm: None,
        tied_head: config.flag("tie_word_embeddings", true)?,
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos: config.tokens("eos_token_id")?,
    };
    let layout = layout(&architecture);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, max_positions, .. } = *architecture;
    let norm = |module: String| NormPlace { module, width: d_model, bias: true };
    let block = |layer: usize| {
        let linear = |name: &str, inputs, outputs| {
            LinearPlace::new(format!("transformer.h.{layer}.{name}"), inputs, outputs, true).conv1d()
        };
        BlockLayout {
            attention_in_norm: Some(norm(format!("transformer.h.{layer}.ln_1"))),
            attention_out_norm: None,
            mlp_in_norm: Some(norm(format!("transformer.h.{layer}.ln_2"))),
            mlp_out_norm: None,
            attention: AttentionInput::Fused(linear("attn.c_attn", d_model, 3 * d_model), FusedOrder::Blocks),
            q_norm: None,
            k_norm: None,
            attention_out: linear("attn.c_proj", d_model, d_model),
            mlp: MlpInput::Plain(linear("mlp.c_fc", d_model, d_mlp)),
            mlp_out: linear("mlp.c_proj", d_mlp, d_model),
        }
    };
    Layout {
        prefix: "transformer.",
        buffers: &[".attn.bias", ".attn.masked_bias"],
        embedding: ("transformer.wte.weight".into(), vocab_size, d_model),
        positions: Some(("transformer.wpe.weight".into(), max_positions, d_model)),
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: norm("transformer.ln_f".into()),
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
