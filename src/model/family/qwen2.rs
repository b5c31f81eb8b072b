//! Qwen2: Llama with biases on queries, keys and values, and a sliding window from some block on.

use super::super::architecture::Architecture;
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout, windowed};

/// The sliding windows of Qwen2 and Qwen3: off unless asked for, and then from block `max_window_layers` on.
pub(super) fn windows(config: &Config<'_>, layers: usize) -> Result<Vec<Option<usize>>, ModelError> {
    let window = match config.flag("use_sliding_window", false)? {
        true => Some(config.optional_size("sliding_window")?.unwrap_or(4096)),
        false => None,
    };
    // Zero is a value of its own here: every block slides.
    let first = match config.get("max_window_layers").and_then(serde_json::Value::as_u64) {
        Some(0) => 0,
        _ => config.optional_size("max_window_layers")?.unwrap_or(28),
    };
    config.windows(layers, window, |layer| layer >= first)
}

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "qwen2", Defaults::default())?;
    let architecture = Architecture { blocks: windowed(windows(config, base.n_layers)?), ..base };
    let layout = layout(&architecture, &Variant { qkv_bias: true, ..Variant::default() });
    Ok(Blueprint { architecture, layout })
}
