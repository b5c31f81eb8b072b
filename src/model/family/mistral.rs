//! Mistral: Llama with a sliding window in every block.

use super::super::architecture::Architecture;
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout, windowed};

/// The window where the config does not mention one; null switches it off.
const WINDOW: usize = 4096;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("attention_bias", "false is")?;
    let base = architecture(config, "mistral", Defaults::default())?;
    let window = match config.is_null("sliding_window") {
        true => None,
        false => Some(config.optional_size("sliding_window")?.unwrap_or(WINDOW)),
    };
    let blocks = windowed(config.windows(base.n_layers, window, |_| true)?);
    let architecture = Architecture { blocks, ..base };
    let layout = layout(&architecture, &Variant::default());
    Ok(Blueprint { architecture, layout })
}
