//! `adapter_config.json` as PEFT writes and reads it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::ModelError;
use crate::base::files;

const FILE: &str = "adapter_config.json";

/// Fields that change what an adapter computes in ways that are not done here; empty, false or null is fine.
const REFUSED: [&str; 15] = [
    "lora_bias",
    "corda_config",
    "eva_config",
    "lora_ga_config",
    "megatron_config",
    "velora_config",
    "monteclora_config",
    "trainable_token_indices",
    "layer_replication",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "kasa_config",
    "arrow_config",
];

/// The fields of an adapter's config. What is not understood but harmless is kept and written again.
#[derive(Debug, Clone)]
pub(crate) struct AdapterConfig {
    fields: Map<String, Value>,
    rank: usize,
    alpha: f64,
    rslora: bool,
    dora: bool,
    saved: Vec<String>,
    ranks: Vec<(regex::Regex, f64)>,
    alphas: Vec<(regex::Regex, f64)>,
}

impl AdapterConfig {
    /// A config of these fields, without patterns.
    pub fn from_fields(fields: Map<String, Value>, rank: usize, alpha: f64, rslora: bool) -> Self {
        let (dora, saved, ranks, alphas) = (false, Vec::new(), Vec::new(), Vec::new());
        Self { fields, rank, alpha, rslora, dora, saved, ranks, alphas }
    }

    /// Reads and checks `adapter_config.json`.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(FILE);
        let fields: Map<String, Value> = files::read_json(&path)?;
        Self::parse(fields).map_err(|message| ModelError::AdapterFile { path, message })
    }

    fn parse(fields: Map<String, Value>) -> Result<Self, String> {
        let get = |field: &str| fields.get(field).filter(|value| !value.is_null());
        if get("peft_type").and_then(Value::as_str) != Some("LORA") {
            return Err(format!(
                "peft_type = {} is not supported; LORA is",
                fields.get("peft_type").unwrap_or(&Value::Null)
            ));
        }
        for field in REFUSED {
            if let Some(value) = get(field).filter(|value| !empty(value)) {
                return Err(format!(
                    "{field} = {value} is not supported; plain, rank-stabilized and weight-decomposed LoRA are"
                ));
            }
        }
        if let Some(bias) = get("bias").filter(|bias| bias.as_str() != Some("none")) {
            return Err(format!("bias = {bias} is not supported; \"none\" is"));
        }
        let rank = match get("r") {
            None => 8,
            Some(value) => value.as_u64().filter(|rank| *rank > 0).ok_or(format!("r = {value} is no rank"))? as usize,
        };
        let alpha = match get("lora_alpha") {
            None => 8.0,
            Some(value) => value.as_f64().ok_or(format!("lora_alpha = {value} is no number"))?,
        };
        let rslora = get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        let ranks = patterns("rank_pattern", get("rank_pattern"))?;
        let alphas = patterns("alpha_pattern", get("alpha_pattern"))?;
        let dora = get("use_dora").and_then(Value::as_bool).unwrap_or(false);
        let saved = names("modules_to_save", get("modules_to_save"))?;
        Ok(Self { rank, alpha, rslora, dora, saved, ranks, alphas, fields })
    }

    /// Whether every update has a magnitude of its own.
    pub fn dora(&self) -> bool {
        self.dora
    }

    /// The modules that are stored whole.
    pub fn saved(&self) -> &[String] {
        &self.saved
    }

    /// The rank at a module.
    pub fn rank(&self, module: &str) -> usize {
        first_match(&self.ranks, module).map_or(self.rank, |rank| rank as usize)
    }

    /// The scale s at a module of this rank.
    pub fn scale(&self, module: &str, rank: usize) -> f64 {
        let alpha = first_match(&self.alphas, module).unwrap_or(self.alpha);
        let rank = rank as f64;
        alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Writes `adapter_config.json`, its keys sorted, for a base model of this name.
    pub fn save(&self, folder: &Path, base: &str) -> Result<(), ModelError> {
        let mut fields = defaults();
        fields.extend(self.fields.clone());
        fields.insert("base_model_name_or_path".into(), json!(base));
        fields.sort_keys();
        Ok(files::write_json(&folder.join(FILE), &fields)?)
    }
}

/// The fields that readers look for, at the values of a plain adapter.
fn defaults() -> Map<String, Value> {
    let fields = json!({
        "alpha_pattern": {}, "auto_mapping": null, "bias": "none", "exclude_modules": null, "inference_mode": true,
        "init_lora_weights": true, "layer_replication": null, "layers_pattern": null, "layers_to_transform": null,
        "loftq_config": {}, "lora_bias": false, "lora_dropout": 0.0, "megatron_config": null,
        "megatron_core": "megatron.core", "modules_to_save": null, "rank_pattern": {}, "revision": null,
        "trainable_token_indices": null, "use_dora": false
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// A list of names.
fn names(field: &str, value: Option<&Value>) -> Result<Vec<String>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let wrong = || format!("{field} = {value} is no list of names");
    let name = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(wrong);
    value.as_array().ok_or_else(wrong)?.iter().map(name).collect()
}

/// `{pattern: value}`, each pattern matching a module as `(.*\.)?(pattern)$`; the first match wins.
fn patterns(field: &str, value: Option<&Value>) -> Result<Vec<(regex::Regex, f64)>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let entries = value.as_object().ok_or(format!("{field} = {value} is no object"))?;
    let entry = |(pattern, value): (&String, &Value)| {
        let regex =
            regex::Regex::new(&format!("^(?:.*\\.)?(?:{pattern})$")).map_err(|error| format!("{field}: {error}"))?;
        let number = value.as_f64().filter(|n| *n > 0.0).ok_or(format!("{field}: {value} is no positive number"))?;
        Ok((regex, number))
    };
    entries.iter().map(entry).collect()
}

fn first_match(patterns: &[(regex::Regex, f64)], module: &str) -> Option<f64> {
    patterns.iter().find(|(regex, _)| regex.is_match(module)).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Result<AdapterConfig, String> {
        AdapterConfig::parse(value.as_object().expect("object").clone())
    }

    #[test]
    fn scales_and_patterns() {
        let config = parse(json!({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "rank_pattern": {"q_proj": 4},
            "alpha_pattern": {"layers.0.self_attn.q_proj": 2}}))
        .expect("config");
        assert_eq!(config.rank("model.layers.0.self_attn.q_proj"), 4);
        assert_eq!(config.rank("model.layers.0.self_attn.xq_proj"), 8);
        assert_eq!(config.scale("model.layers.0.self_attn.q_proj", 4), 0.5);
        assert_eq!(config.scale("model.layers.1.self_attn.q_proj", 4), 4.0);
        let config = parse(json!({"peft_type": "LORA", "r": 4, "lora_alpha": 16, "use_rslora": true})).expect("config");
        assert_eq!(config.scale("x", 4), 8.0);
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (field, value) in [
            ("lora_bias", json!(true)),
            ("modules_to_save", json!("lm_head")),
            ("target_parameters", json!(["mlp.experts.gate_up_proj"])),
            ("bias", json!("all")),
            ("r", json!(0)),
        ] {
            let mut config = json!({"peft_type": "LORA"});
            config[field] = value;
            let message = parse(config).expect_err("refused");
            assert!(message.contains(field), "{message}");
        }
        assert!(parse(json!({"peft_type": "IA3"})).expect_err("refused").contains("IA3"));
        assert!(parse(json!({"peft_type": "LORA", "modules_to_save": null, "use_dora": true})).is_ok());
    }
}
