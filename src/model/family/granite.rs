//! Granite: Llama with constants at the embedding, the scores, what joins the stream, and the logits.

use super::super::architecture::Architecture;
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "granite", Defaults::default())?;
    let architecture = Architecture {
        embedding_scale: Some(config.positive_or("embedding_multiplier", 1.0)?),
        attention_scale: config.positive_or("attention_multiplier", 1.0)?,
        residual_scale: Some(config.positive_or("residual_multiplier", 1.0)?),
        logit_scale: Some(1.0 / config.positive_or("logits_scaling", 1.0)?),
        ..base
    };
    let bias = config.flag("attention_bias", false)?;
    let mlp_bias = config.flag("mlp_bias", false)?;
    let layout = layout(&architecture, &Variant { qkv_bias: bias, out_bias: bias, mlp_bias, ..Variant::default() });
    Ok(Blueprint { architecture, layout })
}
