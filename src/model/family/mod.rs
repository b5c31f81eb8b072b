//! The families of models: each file maps a `config.json` and weight names to the one decoder.

mod cohere;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod gptj;
mod granite;
mod llama;
mod mistral;
mod mixture;
mod olmo2;
mod opt;
mod phi;
mod phi3;
mod plain;
mod qwen2;
mod qwen3;
mod smollm3;
mod stablelm;
mod standard;
mod starcoder2;

use serde_json::Value;

use super::architecture::{Architecture, BlockPlan};
use super::config::Config;
use super::error::ModelError;
use super::layout::Layout;

/// What a family makes of a config.
pub(crate) struct Blueprint {
    pub architecture: Architecture,
    pub layout: Layout,
}

/// A family: its `model_type`, how it reads a config, and the fields that its checkpoints carry and that change nothing
/// beyond those that are harmless everywhere.
struct Family {
    name: &'static str,
    read: fn(&Config<'_>) -> Result<Blueprint, ModelError>,
    harmless: &'static [&'static str],
}

const fn family(
    name: &'static str,
    read: fn(&Config<'_>) -> Result<Blueprint, ModelError>,
    harmless: &'static [&'static str],
) -> Family {
    Family { name, read, harmless }
}

/// Windows that are described and switched off.
const WINDOW: &[&str] = &["max_window_layers", "sliding_window"];

/// Every family.
const FAMILIES: &[Family] = &[
    family("cohere", cohere::read, &["model_max_length"]),
    family("falcon", falcon::read, &[]),
    family("gemma", gemma::read, &[]),
    family("gemma2", gemma2::read, &["cache_implementation"]),
    family("gemma3_text", gemma3::read, &["cache_implementation"]),
    family("gpt2", gpt2::read, &["n_ctx", "reorder_and_upcast_attn"]),
    family("gpt_neox", gpt_neox::read, &[]),
    family("gptj", gptj::read, &["n_ctx", "scale_attn_weights", "rotary"]),
    family("granite", granite::read, &[]),
    family("llama", llama::read, &["is_llama_config"]),
    family("mistral", mistral::read, &[]),
    family("mixtral", mixture::mixtral, &[]),
    family("olmo2", olmo2::read, &[]),
    family("olmoe", mixture::olmoe, &[]),
    family("opt", opt::read, &["activation_dropout"]),
    family("phi", phi::read, &[]),
    family("phi3", phi3::read, &["original_max_position_embeddings"]),
    family("plain", plain::read, &[]),
    family("qwen2", qwen2::read, WINDOW),
    family("qwen3", qwen3::read, WINDOW),
    family("qwen3_moe", mixture::qwen3_moe, WINDOW),
    family("smollm3", smollm3::read, WINDOW),
    family("stablelm", stablelm::read, &[]),
    family("starcoder2", starcoder2::read, &["mlp_type", "norm_type", "use_sliding_window"]),
];

/// Reads a `config.json` of any known family.
pub(crate) fn read(value: &Value) -> Result<Blueprint, ModelError> {
    let config = Config::new(value)?;
    let name = config.text("model_type")?;
    let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
        let known = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
        return Err(ModelError::UnknownArchitecture { found: name, known });
    };
    config.refuse("quantization_config", "give unquantized weights")?;
    plausible(value, &config)?;
    let blueprint = (family.read)(&config)?;
    config.finish(family.harmless)?;
    Ok(blueprint)
}

/// Sizes that a model cannot have, refused before anything is made of that size.
fn plausible(value: &Value, config: &Config<'_>) -> Result<(), ModelError> {
    const COUNTS: [&str; 5] = ["num_hidden_layers", "n_layer", "num_experts", "num_local_experts", "n_routed_experts"];
    const WIDTHS: [&str; 4] = ["hidden_size", "n_embd", "head_dim", "intermediate_size"];
    let limits = [(&COUNTS[..], 4096), (&WIDTHS[..], 1 << 20)];
    for (fields, limit) in limits {
        for field in fields {
            // Looked at from outside: a family that does not know a field must still refuse it.
            if value.get(field).and_then(Value::as_u64).is_some_and(|size| size > limit) {
                return Err(config.unsupported(field, &format!("{limit} is the most")));
            }
        }
    }
    Ok(())
}
