//! Falcon: layer norm, one projection for queries, keys and values whose order depends on the generation, attention
//! and MLP side by side (on one norm's output or on one each) or one after the other.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpLayout, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("alibi", "false is: positions by rotation")?;
    config.refuse("apply_residual_connection_post_layernorm", "false is")?;
    let defaults = Defaults {
        tied: true,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::GeluErf,
        mlp_ratio: Some(4),
        ..Defaults::default()
    };
    let base = architecture(config, "falcon", defaults)?;
    let grouped = config.flag("new_decoder_architecture", false)?;
    let (n_kv_heads, order) = match (grouped, config.flag("multi_query", true)?) {
        (true, _) => (base.n_kv_heads, FusedOrder::Groups),
        (false, true) => (1, FusedOrder::Blocks),
        (false, false) => (base.n_heads, FusedOrder::Groups),
    };
    let parallel = config.flag("parallel_attn", true)?;
    if grouped && !parallel {
        return Err(config.unsupported("parallel_attn", "true is, with new_decoder_architecture"));
    }
    let norms = match (parallel, config.optional_size("num_ln_in_parallel_attn")?) {
        (false, _) => ["input_layernorm", "post_attention_layernorm"],
        (true, None | Some(2)) if grouped => ["ln_attn", "ln_mlp"],
        (true, None | Some(1)) => ["input_layernorm", "input_layernorm"],
        _ => return Err(config.unsupported("num_ln_in_parallel_attn", "1 is, or 2 with new_decoder_architecture")),
    };
    let architecture = Architecture { n_kv_heads, parallel_residual: parallel, ..base };
    let layout = layout(&architecture, norms, order, config.flag("bias", false)?);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture, norms: [&str; 2], order: FusedOrder, bias: bool) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, head_dim, n_heads, n_kv_heads, .. } = *architecture;
    let norm = |name: String| NormPlace::new(name, d_model, true);
    let block = |layer: usize| {
        let name = |part: &str| format!("transformer.h.{layer}.{part}");
        let linear = |part: &str, inputs, outputs| LinearPlace::new(name(part), inputs, outputs, bias);
        let qkv = linear("self_attention.query_key_value", d_model, (n_heads + 2 * n_kv_heads) * head_dim);
        BlockLayout::pre_norm(
            norms.map(|part| norm(name(part))),
            AttentionInput::Fused(qkv, order),
            linear("self_attention.dense", n_heads * head_dim, d_model),
            MlpLayout::Plain {
                up: linear("mlp.dense_h_to_4h", d_model, d_mlp),
                down: linear("mlp.dense_4h_to_h", d_mlp, d_model),
            },
        )
    };
    Layout {
        prefix: "transformer.",
        buffers: &["rotary_emb.inv_freq", "rotary.inv_freq"],
        embedding: ("transformer.word_embeddings.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: Some(norm("transformer.ln_f".into())),
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
