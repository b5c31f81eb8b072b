//! GPT-J: layer norm, attention and MLP side by side on one norm's output, rotation of neighbouring channels in part of
//! each head, biases in the MLP and the head alone.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{BlockLayout, Layout, LinearPlace, MlpLayout, NormPlace};
use super::super::rotary::Rotary;
use super::Blueprint;
use super::standard::{Defaults, architecture, separate};
use crate::ops::{Activation, Pairing};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults = Defaults {
        theta: None,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::GeluTanh,
        mlp_ratio: Some(4),
        ..Defaults::default()
    };
    let base = architecture(config, "gptj", defaults)?;
    let turned = match config.is_null("rotary_dim") {
        true => return Err(config.unsupported("rotary_dim", "a number of channels is")),
        false => config.optional_size("rotary_dim")?.unwrap_or(64),
    };
    if turned % 2 != 0 || turned > base.head_dim {
        return Err(config.unsupported("rotary_dim", "an even number of a head's channels is"));
    }
    let blocks = base.blocks.iter().map(|block| super::BlockPlan { rotary: Some(0), ..*block }).collect();
    let architecture = Architecture {
        blocks,
        parallel_residual: true,
        rotaries: vec![Rotary::plain(10_000.0, turned)],
        rotary_pairing: Pairing::Neighbours,
        ..base
    };
    let layout = layout(&architecture);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, .. } = *architecture;
    let norm = |name: String| NormPlace::new(name, d_model, true);
    let block = |layer: usize| {
        let name = |part: &str| format!("transformer.h.{layer}.{part}");
        BlockLayout::pre_norm(
            ["ln_1", "ln_1"].map(|part| norm(name(part))),
            separate(&name("attn"), architecture, false),
            LinearPlace::new(name("attn.out_proj"), d_model, d_model, false),
            MlpLayout::Plain {
                up: LinearPlace::new(name("mlp.fc_in"), d_model, d_mlp, true),
                down: LinearPlace::new(name("mlp.fc_out"), d_mlp, d_model, true),
            },
        )
    };
    Layout {
        prefix: "transformer.",
        buffers: &[".attn.bias", ".attn.masked_bias", ".attn.embed_positions"],
        embedding: ("transformer.wte.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: Some(norm("transformer.ln_f".into())),
        head: LinearPlace::new("lm_head", d_model, vocab_size, true),
        tied: architecture.tied_head,
    }
}
