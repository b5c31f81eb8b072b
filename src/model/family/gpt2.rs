//! GPT-2: layer norm, learned positions, one fused projection for queries, keys and values, plain MLP. Linear weights
//! are stored `[in, out]`.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, FusedOrder, Layout, LinearPlace, MlpLayout, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("scale_attn_by_inverse_layer_idx", "false is")?;
    let defaults = Defaults {
        theta: None,
        tied: true,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::GeluTanh,
        mlp_ratio: Some(4),
        ..Defaults::default()
    };
    let base = architecture(config, "gpt2", defaults)?;
    let attention_scale = match config.flag("scale_attn_weights", true)? {
        true => base.attention_scale,
        false => 1.0,
    };
    let max_positions = config.optional_size("n_positions")?.unwrap_or(1024);
    let architecture = Architecture { attention_scale, max_positions, learned_positions: true, ..base };
    let layout = layout(&architecture);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, max_positions, .. } = *architecture;
    let norm = |name: String| NormPlace::new(name, d_model, true);
    let block = |layer: usize| {
        let linear = |name: &str, inputs, outputs| {
            LinearPlace::new(format!("transformer.h.{layer}.{name}"), inputs, outputs, true).conv1d()
        };
        BlockLayout::pre_norm(
            ["ln_1", "ln_2"].map(|name| norm(format!("transformer.h.{layer}.{name}"))),
            AttentionInput::Fused(linear("attn.c_attn", d_model, 3 * d_model), FusedOrder::Blocks),
            linear("attn.c_proj", d_model, d_model),
            MlpLayout::Plain { up: linear("mlp.c_fc", d_model, d_mlp), down: linear("mlp.c_proj", d_mlp, d_model) },
        )
    };
    Layout {
        prefix: "transformer.",
        buffers: &[".attn.bias", ".attn.masked_bias"],
        embedding: ("transformer.wte.weight".into(), vocab_size, d_model),
        positions: Some(("transformer.wpe.weight".into(), max_positions, d_model)),
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: Some(norm("transformer.ln_f".into())),
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
