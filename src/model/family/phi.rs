//! Phi-1 and Phi-2: one layer norm feeds attention and MLP, which are added together; part of each head is turned;
//! biases everywhere.

use super::super::architecture::{Architecture, NormKind, QkNorm};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{BlockLayout, Layout, LinearPlace, MlpLayout, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture, separate};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults = Defaults {
        turned: 0.5,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::GeluTanh,
        ..Defaults::default()
    };
    let base = architecture(config, "phi", defaults)?;
    let qk_norm = config.flag("qk_layernorm", false)?.then_some(QkNorm::PerHead);
    let architecture = Architecture { parallel_residual: true, qk_norm, ..base };
    let layout = layout(&architecture);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, head_dim, n_heads, .. } = *architecture;
    let norm = |name: String| NormPlace::new(name, d_model, true);
    let block = |layer: usize| {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let linear = |part: &str, inputs, outputs| LinearPlace::new(name(part), inputs, outputs, true);
        let head_norm = |part: &str| architecture.qk_norm.map(|_| NormPlace::new(name(part), head_dim, true));
        let block = BlockLayout::pre_norm(
            ["input_layernorm", "input_layernorm"].map(|part| norm(name(part))),
            separate(&name("self_attn"), architecture, true),
            linear("self_attn.dense", n_heads * head_dim, d_model),
            MlpLayout::Plain { up: linear("mlp.fc1", d_model, d_mlp), down: linear("mlp.fc2", d_mlp, d_model) },
        );
        let [q_norm, k_norm] = ["self_attn.q_layernorm", "self_attn.k_layernorm"].map(head_norm);
        BlockLayout { q_norm, k_norm, ..block }
    };
    Layout {
        prefix: "model.",
        buffers: &["rotary_emb.inv_freq"],
        embedding: ("model.embed_tokens.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: Some(norm("model.final_layernorm".into())),
        head: LinearPlace::new("lm_head", d_model, vocab_size, true),
        tied: architecture.tied_head,
    }
}
