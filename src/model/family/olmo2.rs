//! OLMo 2: norms after attention and MLP alone, and on the whole projections of queries and keys.

use super::super::architecture::{Architecture, QkNorm};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, POST_NORM, Variant, architecture, layout};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "olmo2", Defaults { eps: 1e-5, ..Defaults::default() })?;
    let architecture = Architecture { qk_norm: Some(QkNorm::Whole), ..base };
    let Architecture { n_heads, n_kv_heads, head_dim, .. } = architecture;
    let bias = config.flag("attention_bias", false)?;
    let variant = Variant {
        norms: POST_NORM,
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: Some((n_heads * head_dim, n_kv_heads * head_dim)),
        ..Variant::default()
    };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
