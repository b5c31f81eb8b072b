//! Gemma 2: norms on both sides of attention and MLP with gains stored as 1 + gain, soft-caps on scores and logits, a
//! sliding window in every other block, scaled embeddings.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, SANDWICH, Variant, architecture, layout, windowed};
use crate::ops::Activation;

/// What both Gemma families share.
pub(super) fn base(config: &Config<'_>, family: &str, theta: f64) -> Result<Architecture, ModelError> {
    let defaults = Defaults {
        head_dim: Some(256),
        theta: Some(theta),
        tied: true,
        norm: NormKind::RmsOnePlus,
        activation: Activation::GeluTanh,
        ..Defaults::default()
    };
    let base = architecture(config, family, defaults)?;
    Ok(Architecture {
        attention_scale: 1.0 / config.positive_or("query_pre_attn_scalar", 256.0)?.sqrt(),
        embedding_scale: Some((base.d_model as f64).sqrt()),
        ..base
    })
}

/// A soft-cap: the family's own where the config does not mention it; null switches it off.
pub(super) fn softcap(config: &Config<'_>, field: &str, default: Option<f64>) -> Result<Option<f64>, ModelError> {
    match (config.is_null(field), default) {
        (true, _) => Ok(None),
        (false, Some(default)) => config.positive_or(field, default).map(Some),
        (false, None) => config.optional_number(field),
    }
}

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = base(config, "gemma2", 10_000.0)?;
    let window = config.optional_size("sliding_window")?.unwrap_or(4096);
    let blocks = windowed(config.windows(base.n_layers, Some(window), |layer| layer % 2 == 0)?);
    let architecture = Architecture {
        blocks,
        attention_softcap: softcap(config, "attn_logit_softcapping", Some(50.0))?,
        final_softcap: softcap(config, "final_logit_softcapping", Some(30.0))?,
        ..base
    };
    let bias = config.flag("attention_bias", false)?;
    let variant = Variant { norms: SANDWICH, qkv_bias: bias, out_bias: bias, ..Variant::default() };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
