//! Qwen3: Llama with an RMS norm on each head's queries and keys.

use super::super::architecture::{Architecture, QkNorm};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout, windowed};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "qwen3", Defaults { head_dim: Some(128), ..Defaults::default() })?;
    let blocks = windowed(super::qwen2::windows(config, base.n_layers)?);
    let architecture = Architecture { blocks, qk_norm: Some(QkNorm::PerHead), ..base };
    let bias = config.flag("attention_bias", false)?;
    let widths = (architecture.head_dim, architecture.head_dim);
    let variant = Variant { qkv_bias: bias, out_bias: bias, qk_norm: Some(widths), ..Variant::default() };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
