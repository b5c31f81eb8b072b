//! Phi-3: Llama with fused projections, a sliding window, and divisors of its rotary frequencies that depend on the
//! sequence's length.

use super::super::architecture::Architecture;
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout, windowed};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("attention_bias", "false is")?;
    let base = architecture(config, "phi3", Defaults { eps: 1e-5, ..Defaults::default() })?;
    let window = config.optional_size("sliding_window")?;
    let blocks = windowed(config.windows(base.n_layers, window, |_| true)?);
    let architecture = Architecture { blocks, ..base };
    let layout = layout(&architecture, &Variant { fused: true, ..Variant::default() });
    Ok(Blueprint { architecture, layout })
}
