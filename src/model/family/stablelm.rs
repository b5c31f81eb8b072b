//! StableLM: Llama with layer norms and part of each head turned; in some models attention and MLP stand side by side
//! on one norm's output.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, PRE_NORM, SHARED_NORM, Variant, architecture, layout};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("qk_layernorm", "false is")?;
    let defaults = Defaults { turned: 0.25, eps: 1e-5, norm: NormKind::Layer, ..Defaults::default() };
    let base = architecture(config, "stablelm", defaults)?;
    let parallel_residual = config.flag("use_parallel_residual", false)?;
    let architecture = Architecture { parallel_residual, ..base };
    let variant = Variant {
        norms: if parallel_residual { SHARED_NORM } else { PRE_NORM },
        norm_bias: true,
        qkv_bias: config.flag("use_qkv_bias", false)?,
        ..Variant::default()
    };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
