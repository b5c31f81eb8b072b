//! OPT: layer norm, learned positions of which the first two rows are not used, biases everywhere.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{BlockLayout, Layout, LinearPlace, MlpLayout, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture, separate};
use crate::ops::Activation;

/// Rows of the position table before the first token's.
const OFFSET: usize = 2;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let on = |field: &str, hint: &str| match config.flag(field, true)? {
        true => Ok(()),
        false => Err(config.unsupported(field, hint)),
    };
    on("do_layer_norm_before", "true is (norms on the stream itself, as in opt-350m, are not)")?;
    on("layer_norm_elementwise_affine", "true is")?;
    config.refuse("_remove_final_layer_norm", "false is")?;
    let defaults = Defaults {
        theta: None,
        tied: true,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::Relu,
        ..Defaults::default()
    };
    let base = architecture(config, "opt", defaults)?;
    if config.optional_size("word_embed_proj_dim")?.is_some_and(|width| width != base.d_model) {
        return Err(config.unsupported("word_embed_proj_dim", "hidden_size is"));
    }
    let architecture = Architecture { learned_positions: true, position_offset: OFFSET, ..base };
    let layout = layout(&architecture, config.flag("enable_bias", true)?);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture, bias: bool) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, max_positions, .. } = *architecture;
    let norm = |name: String| NormPlace::new(name, d_model, true);
    let block = |layer: usize| {
        let name = |part: &str| format!("model.decoder.layers.{layer}.{part}");
        let linear = |part: &str, inputs, outputs| LinearPlace::new(name(part), inputs, outputs, bias);
        BlockLayout::pre_norm(
            ["self_attn_layer_norm", "final_layer_norm"].map(|part| norm(name(part))),
            separate(&name("self_attn"), architecture, bias),
            linear("self_attn.out_proj", d_model, d_model),
            MlpLayout::Plain { up: linear("fc1", d_model, d_mlp), down: linear("fc2", d_mlp, d_model) },
        )
    };
    Layout {
        prefix: "model.",
        buffers: &[],
        embedding: ("model.decoder.embed_tokens.weight".into(), vocab_size, d_model),
        positions: Some(("model.decoder.embed_positions.weight".into(), max_positions + OFFSET, d_model)),
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: Some(norm("model.decoder.final_layer_norm".into())),
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
