//! SmolLM3: Llama in which some blocks turn neither queries nor keys.

use super::super::architecture::{Architecture, BlockPlan};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout};

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "smollm3", Defaults { theta: Some(2e6), tied: true, ..Defaults::default() })?;
    let interval = config.optional_size("no_rope_layer_interval")?.unwrap_or(4);
    let turned = match config.layer_flags("no_rope_layers", base.n_layers)? {
        Some(turned) => turned,
        None => (0..base.n_layers).map(|layer| (layer + 1) % interval != 0).collect(),
    };
    let window = match config.flag("use_sliding_window", false)? {
        true => config.optional_size("sliding_window")?,
        false => None,
    };
    // A window is for the blocks that turn.
    let windows = config.windows(base.n_layers, window, |layer| turned.get(layer) == Some(&true))?;
    let plan =
        |(turned, window): (&bool, Option<usize>)| BlockPlan { window, rotary: turned.then_some(0), sparse: false };
    let architecture = Architecture { blocks: turned.iter().zip(windows).map(plan).collect(), ..base };
    let attention_bias = config.flag("attention_bias", false)?;
    let mlp_bias = config.flag("mlp_bias", false)?;
    let variant = Variant { qkv_bias: attention_bias, out_bias: attention_bias, mlp_bias, ..Variant::default() };
    let layout = layout(&architecture, &variant);
    Ok(Blueprint { architecture, layout })
}
