//! Phi (1, 1.5, 2): one layer norm a block feeds attention and MLP, which are added together; part of each head is
//! turned; biases everywhere.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{AttentionInput, BlockLayout, Layout, LinearPlace, MlpInput, NormPlace};
use super::Blueprint;
use super::standard::{Defaults, architecture};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("qk_layernorm", "false is")?;
    let base = architecture(config, "phi", Defaults::default())?;
    let turned = config.rotary_dims(base.head_dim, 0.5)?;
    let architecture = Architecture {
        norm: NormKind::Layer,
        norm_eps: config.positive_or("layer_norm_eps", 1e-5)?,
        activation: config.activation("hidden_act")?,
        parallel_residual: true,
        rotaries: vec![config.rotary(turned, 10_000.0)?],
        ..base
    };
    let layout = layout(&architecture);
    Ok(Blueprint { architecture, layout })
}

fn layout(architecture: &Architecture) -> Layout {
    let Architecture { d_model, d_mlp, vocab_size, head_dim, n_heads, n_kv_heads, .. } = *architecture;
    let norm = |module: String| NormPlace { module, width: d_model, bias: true };
    let block = |layer: usize| {
        let linear = |part: &str, inputs, outputs| {
            LinearPlace::new(format!("model.layers.{layer}.{part}"), inputs, outputs, true)
        };
        let input_norm = norm(format!("model.layers.{layer}.input_layernorm"));
        BlockLayout {
            attention_in_norm: Some(input_norm.clone()),
            attention_out_norm: None,
            mlp_in_norm: Some(input_norm),
            mlp_out_norm: None,
            attention: AttentionInput::Separate {
                q: linear("self_attn.q_proj", d_model, n_heads * head_dim),
                k: linear("self_attn.k_proj", d_model, n_kv_heads * head_dim),
                v: linear("self_attn.v_proj", d_model, n_kv_heads * head_dim),
            },
            q_norm: None,
            k_norm: None,
            attention_out: linear("self_attn.dense", n_heads * head_dim, d_model),
            mlp: MlpInput::Plain(linear("mlp.fc1", d_model, d_mlp)),
            mlp_out: linear("mlp.fc2", d_mlp, d_model),
        }
    };
    Layout {
        prefix: "model.",
        buffers: &["rotary_emb.inv_freq"],
        embedding: ("model.embed_tokens.weight".into(), vocab_size, d_model),
        positions: None,
        blocks: (0..architecture.n_layers).map(block).collect(),
        final_norm: norm("model.final_layernorm".into()),
        head: LinearPlace::new("lm_head", d_model, vocab_size, true),
        tied: architecture.tied_head,
    }
}
