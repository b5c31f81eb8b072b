//! Llama: RMS pre-norm, rotary, grouped-query attention, gated MLP.

use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let architecture = architecture(config, "llama", Defaults::default())?;
    let attention_bias = config.flag("attention_bias", false)?;
    let mlp_bias = config.flag("mlp_bias", false)?;
    let variant = Variant { qkv_bias: attention_bias, out_bias: attention_bias, mlp_bias, ..Variant::default() };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
