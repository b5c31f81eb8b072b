//! Gemma 3 (text): Gemma 2 without soft-caps, with norms on queries and keys, and two rotary bases: one for the blocks
//! with a sliding window, one for the few without.

use super::super::architecture::{Architecture, BlockPlan, QkNorm};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::rotary::Rotary;
use super::Blueprint;
use super::gemma2::{base, softcap};
use super::standard::{SANDWICH, Variant, layout};

/// Index of the rotary of blocks without and with a window.
const GLOBAL: usize = 0;
const LOCAL: usize = 1;

/// The two rotaries, from the nested (5.x) or the flat (4.x) form.
fn rotaries(config: &Config<'_>, head_dim: usize) -> Result<Vec<Rotary>, ModelError> {
    let nested = config.object("rope_parameters")?;
    let of = |kind: &str| nested.as_ref().map(|nested| nested.object(kind)).transpose().map(Option::flatten);
    let global_theta = config.positive_or("rope_theta", 1e6)?;
    let local_theta = config.positive_or("rope_local_base_freq", 1e4)?;
    let global = match of("full_attention")? {
        Some(parameters) => Some(parameters),
        None => config.object("rope_scaling")?,
    };
    Ok(vec![
        config.scaled(global, head_dim, global_theta)?,
        config.scaled(of("sliding_attention")?, head_dim, local_theta)?,
    ])
}

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = base(config, "gemma3_text", 1e6)?;
    let window = config.optional_size("sliding_window")?.unwrap_or(4096);
    let pattern = match config.optional_size("sliding_window_pattern")? {
        Some(pattern) => pattern,
        None => config.optional_size("_sliding_window_pattern")?.unwrap_or(6),
    };
    let windows = config.windows(base.n_layers, Some(window), |layer| (layer + 1) % pattern != 0)?;
    let plan = |window: Option<usize>| BlockPlan {
        window,
        rotary: Some(if window.is_some() { LOCAL } else { GLOBAL }),
        sparse: false,
    };
    let architecture = Architecture {
        blocks: windows.into_iter().map(plan).collect(),
        rotaries: rotaries(config, base.head_dim)?,
        attention_softcap: softcap(config, "attn_logit_softcapping", None)?,
        final_softcap: softcap(config, "final_logit_softcapping", None)?,
        qk_norm: Some(QkNorm::PerHead),
        ..base
    };
    let bias = config.flag("attention_bias", false)?;
    let widths = (architecture.head_dim, architecture.head_dim);
    let variant =
        Variant { norms: SANDWICH, qkv_bias: bias, out_bias: bias, qk_norm: Some(widths), ..Variant::default() };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
