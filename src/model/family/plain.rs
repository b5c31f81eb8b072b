//! A decoder without any norm, for models whose weights are set by hand: learned positions, projections of attention
//! without biases, a plain MLP with biases. Its stream is the bare sum of what is written to it, so that what a weight
//! does to a logit has a closed form, and an orthogonal turn of the stream changes no logit.
//!
//! No library publishes checkpoints of this kind; the nearest is TransformerLens with `normalization_type = None`.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{BlockLayout, Layout, LinearPlace, MlpLayout};
use super::Blueprint;
use super::standard::{Defaults, architecture, separate};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults = Defaults { theta: None, norm: NormKind::None, activation: Activation::Relu, ..Defaults::default() };
    let base = architecture(config, "plain", defaults)?;
    let architecture = Architecture { learned_positions: true, ..base };
    let layout = layout(&architecture);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture) -> Layout {
    let Architecture { d_model, d_mlp, head_dim, n_heads, vocab_size, max_positions, .. } = *architecture;
    let block = |layer: usize| {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        BlockLayout {
            attention_in_norm: None,
            attention_out_norm: None,
            mlp_in_norm: None,
            mlp_out_norm: None,
            attention: separate(&name("self_attn"), architecture, false),
            q_norm: None,
            k_norm: None,
            attention_out: LinearPlace::new(name("self_attn.o_proj"), n_heads * head_dim, d_model, false),
            mlp: MlpLayout::Plain {
                up: LinearPlace::new(name("mlp.up_proj"), d_model, d_mlp, true),
                down: LinearPlace::new(name("mlp.down_proj"), d_mlp, d_model, true),
            },
        }
    };
    Layout {
        prefix: "model.",
        buffers: &[],
        embedding: ("model.embed_tokens.weight".into(), vocab_size, d_model),
        positions: Some(("model.embed_positions.weight".into(), max_positions, d_model)),
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: None,
        head: LinearPlace::new("lm_head", d_model, vocab_size, false),
        tied: architecture.tied_head,
    }
}
