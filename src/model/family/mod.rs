//! The families of models: each file maps a `config.json` and weight names to the one decoder.

mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod olmo2;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod standard;

use serde_json::Value;

use super::architecture::Architecture;
use super::config::Config;
use super::error::ModelError;
use super::layout::Layout;

/// What a family makes of a config.
pub(crate) struct Blueprint {
    pub architecture: Architecture,
    pub layout: Layout,
}

type Read = fn(&Config<'_>) -> Result<Blueprint, ModelError>;

/// Every family by its `model_type`.
const FAMILIES: &[(&str, Read)] = &[
    ("gemma2", gemma2::read),
    ("gemma3_text", gemma3::read),
    ("gpt2", gpt2::read),
    ("gpt_neox", gpt_neox::read),
    ("llama", llama::read),
    ("mistral", mistral::read),
    ("olmo2", olmo2::read),
    ("phi", phi::read),
    ("phi3", phi3::read),
    ("qwen2", qwen2::read),
    ("qwen3", qwen3::read),
    ("smollm3", smollm3::read),
];

/// Reads a `config.json` of any known family.
pub(crate) fn read(config: &Value) -> Result<Blueprint, ModelError> {
    let config = Config::new(config)?;
    let family = config.text("model_type")?;
    let Some((_, read)) = FAMILIES.iter().find(|(name, _)| *name == family) else {
        let known = FAMILIES.iter().map(|(name, _)| (*name).to_owned()).collect();
        return Err(ModelError::UnknownArchitecture { found: family, known });
    };
    config.refuse("quantization_config", "give unquantized weights")?;
    plausible(&config)?;
    read(&config)
}

/// Sizes that a model cannot have, refused before anything is made of that size.
fn plausible(config: &Config<'_>) -> Result<(), ModelError> {
    const COUNTS: [&str; 5] = ["num_hidden_layers", "n_layer", "num_experts", "num_local_experts", "n_routed_experts"];
    const WIDTHS: [&str; 4] = ["hidden_size", "n_embd", "head_dim", "intermediate_size"];
    let limits = [(&COUNTS[..], 4096), (&WIDTHS[..], 1 << 20)];
    for (fields, limit) in limits {
        for field in fields {
            if config.get(field).and_then(Value::as_u64).is_some_and(|size| size > limit) {
                return Err(config.unsupported(field, &format!("{limit} is the most")));
            }
        }
    }
    Ok(())
}
