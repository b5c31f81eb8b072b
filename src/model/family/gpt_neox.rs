//! GPT-NeoX and Pythia: layer norms, one projection with each head's query, key and value together, part of each head
//! turned, attention and MLP side by side or one after the other.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpLayout, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults = Defaults {
        turned: 0.25,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::GeluErf,
        ..Defaults::default()
    };
    let base = architecture(config, "gpt_neox", defaults)?;
    let parallel_residual = config.flag("use_parallel_residual", true)?;
    let architecture = Architecture { parallel_residual, n_kv_heads: base.n_heads, ..base };
    let layout = layout(&architecture, config.flag("attention_bias", true)?);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture, attention_bias: bool) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, head_dim, n_heads, .. } = *architecture;
    let norm = |name: String| NormPlace::new(name, d_model, true);
    let block = |layer: usize| {
        let name = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
        let width = n_heads * head_dim;
        let qkv = LinearPlace::new(name("attention.query_key_value"), d_model, 3 * width, attention_bias);
        BlockLayout::pre_norm(
            ["input_layernorm", "post_attention_layernorm"].map(|part| norm(name(part))),
            AttentionInput::Fused(qkv, FusedOrder::Groups),
            LinearPlace::new(name("attention.dense"), width, d_model, attention_bias),
            MlpLayout::Plain {
                up: LinearPlace::new(name("mlp.dense_h_to_4h"), d_model, d_mlp, true),
                down: LinearPlace::new(name("mlp.dense_4h_to_h"), d_mlp, d_model, true),
            },
        )
    };
    Layout {
        prefix: "gpt_neox.",
        buffers: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
        embedding: ("gpt_neox.embed_in.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: Some(norm("gpt_neox.final_layer_norm".into())),
        head: LinearPlace::new("embed_out", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
