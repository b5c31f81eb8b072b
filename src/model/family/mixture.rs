//! Mixtures of experts: Mixtral, Qwen3-MoE and OLMoE. Weights carry the names of their hub checkpoints, an expert's
//! projections each a tensor of its own.

use super::super::architecture::{Architecture, BlockPlan, Experts, QkNorm};
use super::super::config::Config;
use super::super::error::ModelError;
use super::super::layout::{ExpertLayout, Layout, LinearPlace, MlpLayout};
use super::Blueprint;
use super::standard::{Defaults, Variant, architecture, layout, windowed};

/// Below a block's path: the mixture, and an expert's gate, up and down.
struct Names {
    mixture: &'static str,
    parts: [&'static str; 3],
}

const MIXTRAL: Names = Names { mixture: "block_sparse_moe", parts: ["w1", "w3", "w2"] };
const OTHERS: Names = Names { mixture: "mlp", parts: ["gate_proj", "up_proj", "down_proj"] };

fn experts(config: &Config<'_>, width: usize, normalized: bool) -> Result<Experts, ModelError> {
    let field = config.any(&["num_experts", "num_local_experts"]).unwrap_or("num_experts");
    let number = config.size(field)?;
    let chosen = config.size("num_experts_per_tok")?;
    match chosen <= number {
        true => Ok(Experts { number, chosen, width, normalized }),
        false => Err(config.unsupported("num_experts_per_tok", "no more than the experts can be chosen")),
    }
}

/// Puts experts in the place of the MLPs of the blocks that are sparse.
fn mixed(mut layout: Layout, architecture: &Architecture, names: &Names) -> Layout {
    let Some(Experts { number, width, .. }) = architecture.experts else { return layout };
    let d_model = architecture.d_model;
    let blocks = layout.blocks.iter_mut().zip(&architecture.blocks).enumerate();
    for (layer, (block, _)) in blocks.filter(|(_, (_, plan))| plan.sparse) {
        let path = format!("model.layers.{layer}.{}", names.mixture);
        let expert = |expert: usize| {
            let [gate, up, down] = names.parts.map(|part| format!("{path}.experts.{expert}.{part}"));
            ExpertLayout {
                gate: LinearPlace::new(gate, d_model, width, false),
                up: LinearPlace::new(up, d_model, width, false),
                down: LinearPlace::new(down, width, d_model, false),
            }
        };
        block.mlp = MlpLayout::Experts {
            router: LinearPlace::new(format!("{path}.gate"), d_model, number, false),
            experts: (0..number).map(expert).collect(),
        };
    }
    layout
}

fn sparse(blocks: Vec<BlockPlan>, is: impl Fn(usize) -> bool) -> Vec<BlockPlan> {
    blocks.into_iter().enumerate().map(|(layer, block)| BlockPlan { sparse: is(layer), ..block }).collect()
}

pub(super) fn mixtral(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "mixtral", Defaults { theta: Some(1e6), eps: 1e-5, ..Defaults::default() })?;
    let window = config.optional_size("sliding_window")?;
    let blocks = windowed(config.windows(base.n_layers, window, |_| true)?);
    let experts = Some(experts(config, base.d_mlp, true)?);
    let architecture = Architecture { blocks: sparse(blocks, |_| true), experts, ..base };
    let layout = mixed(layout(&architecture, &Variant::default()), &architecture, &MIXTRAL);
    Ok(Blueprint { architecture, layout })
}

pub(super) fn qwen3_moe(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    let base = architecture(config, "qwen3_moe", Defaults::default())?;
    let window = match config.flag("use_sliding_window", false)? {
        true => Some(config.optional_size("sliding_window")?.unwrap_or(4096)),
        false => None,
    };
    let blocks = windowed(config.windows(base.n_layers, window, |_| true)?);
    let dense = config.layer_numbers("mlp_only_layers")?;
    let step = config.optional_size("decoder_sparse_step")?.unwrap_or(1);
    let width = config.size("moe_intermediate_size")?;
    let architecture = Architecture {
        blocks: sparse(blocks, |layer| !dense.contains(&layer) && (layer + 1) % step == 0),
        experts: Some(experts(config, width, config.flag("norm_topk_prob", false)?)?),
        qk_norm: Some(QkNorm::PerHead),
        ..base
    };
    let bias = config.flag("attention_bias", false)?;
    let widths = (architecture.head_dim, architecture.head_dim);
    let variant = Variant { qkv_bias: bias, out_bias: bias, qk_norm: Some(widths), ..Variant::default() };
    let layout = mixed(layout(&architecture, &variant), &architecture, &OTHERS);
    Ok(Blueprint { architecture, layout })
}

pub(super) fn olmoe(config: &Config<'_>) -> Result<Blueprint, ModelError> {
    config.refuse("clip_qkv", "null is")?;
    let base = architecture(config, "olmoe", Defaults { eps: 1e-5, ..Defaults::default() })?;
    let experts = experts(config, base.d_mlp, config.flag("norm_topk_prob", false)?)?;
    let blocks = sparse(base.blocks.clone(), |_| true);
    let architecture = Architecture { blocks, experts: Some(experts), qk_norm: Some(QkNorm::Whole), ..base };
    let Architecture { n_heads, n_kv_heads, head_dim, .. } = architecture;
    let bias = config.flag("attention_bias", false)?;
    let widths = (n_heads * head_dim, n_kv_heads * head_dim);
    let variant = Variant { qkv_bias: bias, out_bias: bias, qk_norm: Some(widths), ..Variant::default() };
    let layout = mixed(layout(&architecture, &variant), &architecture, &OTHERS);
    Ok(Blueprint { architecture, layout })
}
