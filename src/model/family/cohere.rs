//! Cohere (Command R): layer norms without biases, attention and MLP side by side on one norm's output, rotation of
//! neighbouring channels, scaled logits; in some models a norm on each head's queries and keys, its gain the head's own.

use super::super::architecture::{Architecture, NormKind, QkNorm};
use super::super::config::Config;
use super::super::error::ModelError;
use super::Blueprint;
use super::standard::{Defaults, SHARED_NORM, Variant, architecture, layout};
use crate::ops::Pairing;

pub(super) fn read(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let defaults =
        Defaults { theta: Some(500_000.0), tied: true, eps: 1e-5, norm: NormKind::Layer, ..Defaults::default() };
    let base = architecture(config, "cohere", defaults)?;
    let architecture = Architecture {
        parallel_residual: true,
        rotary_pairing: Pairing::Neighbours,
        logit_scale: Some(config.positive_or("logit_scale", 0.0625)?),
        qk_norm: config.flag("use_qk_norm", false)?.then_some(QkNorm::PerHead),
        ..base
    };
    let Architecture { n_heads, n_kv_heads, head_dim, .. } = architecture;
    let bias = config.flag("attention_bias", false)?;
    let variant = Variant {
        norms: SHARED_NORM,
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: architecture.qk_norm.map(|_| (head_dim, head_dim)),
        ..Variant::default()
    };
    let mut layout = layout(&architecture, &variant);
    for block in &mut layout.blocks {
        for (norm, heads) in [(&mut block.q_norm, n_heads), (&mut block.k_norm, n_kv_heads)] {
            norm.iter_mut().for_each(|norm| norm.heads = Some(heads));
        }
    }
    Ok(Blueprint { architecture, layout })
}
