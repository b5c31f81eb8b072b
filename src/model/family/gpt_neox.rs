//! GPT-NeoX and Pythia: layer norms, one projection with each head's query, key and value together, part of each head
//! turned, attention and MLP side by side or one after the other.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpInput, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "gpt_neox", Defaults::default())?;
    let turned = config.rotary_dims(base.head_dim, 0.25)?;
    let architecture = Architecture {
        norm: NormKind::Layer,
        norm_eps: config.positive_or("layer_norm_eps", 1e-5)?,
        activation: config.activation("hidden_act")?,
        parallel_residual: config.flag("use_parallel_residual", true)?,
        rotaries: vec![config.rotary(turned, 10_000.0)?],
        n_kv_heads: base.n_heads,
        ..base
    };
    let layout = layout(&architecture, config.flag("attention_bias", true)?);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture, attention_bias: bool) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, head_dim, n_heads, .. } = *architecture;
    let norm = |module: String| NormPlace { module, width: d_model, bias: true };
    let block = |layer: usize| {
        let name = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
        let width = n_heads * head_dim;
        let qkv = LinearPlace::new(name("attention.query_key_value"), d_model, 3 * width, attention_bias);
        BlockLayout {
            attention_in_norm: Some(norm(name("input_layernorm"))),
            attention_out_norm: None,
            mlp_in_norm: Some(norm(name("post_attention_layernorm"))),
            mlp_out_norm: None,
            attention: AttentionInput::Fused(qkv, FusedOrder::Heads),
            q_norm: None,
            k_norm: None,
            attention_out: LinearPlace::new(name("attention.dense"), width, d_model, attention_bias),
            mlp: MlpInput::Plain(LinearPlace::new(name("mlp.dense_h_to_4h"), d_model, d_mlp, true)),
            mlp_out: LinearPlace::new(name("mlp.dense_4h_to_h"), d_mlp, d_model, true),
        }
    };
    Layout {
        prefix: "gpt_neox.",
        buffers: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
        embedding: ("gpt_neox.embed_in.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: norm("gpt_neox.final_layer_norm".into()),
        head: LinearPlace::new("embed_out", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
