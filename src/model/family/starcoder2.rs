//! Starcoder2: layer norms, grouped queries with rotation, a plain MLP, biases everywhere, a sliding window.

use super::super::architecture::{Architecture, NormKind};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{Layout, LinearPlace, MlpLayout};
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout, windowed};
use crate::ops::Activation;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults = Defaults {
        tied: true,
        eps: 1e-5,
        norm: NormKind::Layer,
        activation: Activation::GeluTanh,
        ..Defaults::default()
    };
    let base = architecture(config, "starcoder2", defaults)?;
    let window = config.optional_size("sliding_window")?;
    let architecture = Architecture { blocks: windowed(config.windows(base.n_layers, window, |_| true)?), ..base };
    let bias = config.flag("use_bias", true)?;
    let variant = Variant { norm_bias: true, qkv_bias: bias, out_bias: bias, ..Variant::default() };
    let mut layout: Layout = layout(&architecture, &variant);
    let Architecture { d_model, d_mlp, .. } = architecture;
    for (layer, block) in layout.blocks.iter_mut().enumerate() {
        let name = |part: &str| format!("model.layers.{layer}.mlp.{part}");
        block.mlp = MlpLayout::Plain {
            up: LinearPlace::new(name("c_fc"), d_model, d_mlp, bias),
            down: LinearPlace::new(name("c_proj"), d_mlp, d_model, bias),
        };
    }
    Ok(Blueprint { architecture, layout })
}
