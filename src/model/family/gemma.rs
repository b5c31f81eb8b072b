//! Gemma 1: Llama with gains stored as 1 + gain, a tanh-GELU gate and scaled embeddings.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults = Defaults {
        head_dim: Some(256),
        tied: true,
        norm: NormKind::RmsOnePlus,
        activation: Activation::GeluTanh,
        ..Defaults::default()
    };
    let base = architecture(config, "gemma", defaults)?;
    // The first configs said "gelu" and meant its tanh form; the reference reads them so.
    let activation = match base.activation {
        Activation::GeluErf => Activation::GeluTanh,
        other => other,
    };
    let architecture = Architecture { activation, embedding_scale: Some((base.d_model as f64).sqrt()), ..base };
    let bias = config.flag("attention_bias", false)?;
    let layout = layout(&architecture, &Variant { qkv_bias: bias, out_bias: bias, ..Variant::default() });
    Ok(Blueprint { architecture, layout })
}
