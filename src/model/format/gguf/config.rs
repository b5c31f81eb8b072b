//! A `config.json` from a GGUF's metadata.

use std::sync::Arc;

use candle_core::{DType, Device};
use serde_json::{Map as Object, Value, json};

use super::super::stored::Stored;
use super::Family;
use super::header::Header;
use crate::base::files::Map;

/// Fields that the decoder follows, below the architecture's name. Any other field there is refused by name.
const FOLLOWED: &[&str] = &[
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
];

/// Reads the fields that `family` needs.
pub(super) fn read(header: &Header<'_>, family: Family, map: &Arc<Map>) -> Result<Value, String> {
    let prefix = format!("{}.", family.key());
    let unknown = header.names().filter_map(|name| name.strip_prefix(&prefix)).find(|name| !FOLLOWED.contains(name));
    if let Some(name) = unknown {
        return Err(format!("{prefix}{name} is not supported"));
    }
    let key = |name: &str| format!("{prefix}{name}");
    let embedding = header.tensors.get("token_embd.weight").ok_or("tensor token_embd.weight is missing")?;
    let heads = header.size(&key("attention.head_count"))?;
    let mut config = Object::new();
    let mut set = |name: &str, value: Value| drop(config.insert(name.into(), value));
    set("model_type", json!(family.model_type()));
    set("vocab_size", json!(embedding.shape.first()));
    set("hidden_size", json!(header.size(&key("embedding_length"))?));
    set("num_hidden_layers", json!(header.size(&key("block_count"))?));
    set("intermediate_size", json!(header.size(&key("feed_forward_length"))?));
    set("num_attention_heads", json!(heads));
    set("num_key_value_heads", json!(header.optional_size(&key("attention.head_count_kv"))?.unwrap_or(heads)));
    set("max_position_embeddings", json!(header.size(&key("context_length"))?));
    set("rms_norm_eps", json!(header.number(&key("attention.layer_norm_rms_epsilon"))?));
    set("rope_theta", json!(header.number(&key("rope.freq_base"))?.unwrap_or(10_000.0)));
    set("tie_word_embeddings", json!(!header.tensors.contains_key("output.weight")));
    for (field, name) in [("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id")] {
        if let Some(id) = header.optional_size(&format!("tokenizer.ggml.{name}"))? {
            set(field, json!(id));
        }
    }
    if let Some(width) = head_dim(header, &key)? {
        set("head_dim", json!(width));
    }
    for (name, value) in specific(header, family, &key)? {
        set(name, value);
    }
    for (name, value) in rotary(header, family, &key, map)? {
        set(name, value);
    }
    Ok(Value::Object(config))
}

fn head_dim(header: &Header<'_>, key: &dyn Fn(&str) -> String) -> Result<Option<usize>, String> {
    let (keys, values) =
        (header.optional_size(&key("attention.key_length"))?, header.optional_size(&key("attention.value_length"))?);
    match (keys, values) {
        (Some(keys), Some(values)) if keys != values => {
            Err(format!("keys of width {keys} and values of width {values} are not supported"))
        }
        (keys, values) => Ok(keys.or(values)),
    }
}

type Fields = Vec<(&'static str, Value)>;

/// The fields of one family.
fn specific(header: &Header<'_>, family: Family, key: &dyn Fn(&str) -> String) -> Result<Fields, String> {
    let mut fields: Fields = Vec::new();
    let (window, heads) =
        (header.optional_size(&key("attention.sliding_window"))?, header.size(&key("attention.head_count"))?);
    let (width, layers) = (header.size(&key("embedding_length"))?, header.size(&key("block_count"))?);
    match family {
        Family::Llama => {
            let bias = header.tensors.contains_key("blk.0.attn_output.bias");
            fields.push(("attention_bias", json!(bias)));
            fields.push(("mlp_bias", json!(header.tensors.contains_key("blk.0.ffn_down.bias"))));
        }
        Family::Qwen2 | Family::Qwen3 => fields.push(("use_sliding_window", json!(false))),
        Family::Phi3 => fields.push(("sliding_window", json!(window.filter(|window| *window > 0)))),
        Family::Gemma => {}
        Family::Gemma2 | Family::Gemma3 => {
            // llama.cpp scales queries by the width of a head in every size but the 27B ones (46 and 62 blocks).
            let large = if family == Family::Gemma2 { layers == 46 } else { layers == 62 };
            let scalar = if large { width / heads.max(1) } else { head_dim(header, key)?.unwrap_or(256) };
            fields.push(("query_pre_attn_scalar", json!(scalar)));
            fields.push(("sliding_window", json!(window.unwrap_or(4096))));
            let cap = |name: &str| header.number(&key(name)).map(|cap| json!(cap));
            fields.push(("attn_logit_softcapping", cap("attn_logit_softcapping")?));
            fields.push(("final_logit_softcapping", cap("final_logit_softcapping")?));
        }
    }
    if !matches!(family, Family::Phi3 | Family::Gemma2 | Family::Gemma3)
        && let Some(window) = window.filter(|window| *window > 0)
    {
        return Err(format!("{} = {window} is not supported", key("attention.sliding_window")));
    }
    Ok(fields)
}

fn rotary(header: &Header<'_>, family: Family, key: &dyn Fn(&str) -> String, map: &Arc<Map>) -> Result<Fields, String> {
    let mut fields: Fields = Vec::new();
    let width = match head_dim(header, key)? {
        Some(width) => width,
        None => header.size(&key("embedding_length"))? / header.size(&key("attention.head_count"))?.max(1),
    };
    let dims = header.optional_size(&key("rope.dimension_count"))?.unwrap_or(width);
    if dims != width && width > 0 {
        fields.push(("partial_rotary_factor", json!(dims as f64 / width as f64)));
    }
    let context = header.size(&key("context_length"))?;
    let original = header.optional_size(&key("rope.scaling.original_context_length"))?.unwrap_or(context);
    let factor = header.number(&key("rope.scaling.factor"))?;
    if family == Family::Gemma3 {
        fields.push(("rope_local_base_freq", json!(10_000.0)));
    }
    let list = |name: &str| factors(header, name, dims / 2, map);
    if let (Some(short), Some(long)) = (list("rope_factors_short.weight")?, list("rope_factors_long.weight")?) {
        let attention = header.number(&key("rope.scaling.attn_factor"))?;
        fields.push(("original_max_position_embeddings", json!(original)));
        fields.push((
            "rope_scaling",
            json!({"rope_type": "longrope", "short_factor": short, "long_factor": long, "attention_factor": attention}),
        ));
        return Ok(fields);
    }
    if let Some(divisors) = list("rope_freqs.weight")? {
        let theta = header.number(&key("rope.freq_base"))?.unwrap_or(10_000.0);
        let scaling = llama3(&divisors, theta, dims, original).unwrap_or_else(|| {
            json!({"rope_type": "longrope", "short_factor": divisors, "long_factor": divisors, "attention_factor": 1.0,
                "original_max_position_embeddings": original})
        });
        fields.push(("rope_scaling", scaling));
        return Ok(fields);
    }
    match header.text(&key("rope.scaling.type"))? {
        None | Some("none") => {}
        Some("linear") => {
            fields.push(("rope_scaling", json!({"rope_type": "linear", "factor": factor.unwrap_or(1.0)})))
        }
        Some("yarn") => fields.push((
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}),
        )),
        Some(other) => return Err(format!("{} = {other:?} is not supported", key("rope.scaling.type"))),
    }
    Ok(fields)
}

/// The divisors of rotary frequencies that stand among the tensors.
fn factors(header: &Header<'_>, name: &str, count: usize, map: &Arc<Map>) -> Result<Option<Vec<f64>>, String> {
    let Some(place) = header.tensors.get(name) else { return Ok(None) };
    if place.shape != [count] {
        return Err(format!("tensor {name}: {count} numbers are expected, the file has shape {:?}", place.shape));
    }
    let stored = Stored::mapped(map, place.range.clone(), place.shape.clone(), place.element.clone())?;
    let values = stored.read(name, DType::F32, &Device::Cpu).and_then(|tensor| Ok(tensor.to_vec1::<f32>()?));
    let values = values.map_err(|error| error.to_string())?;
    match values.iter().all(|value| value.is_finite() && *value > 0.0) {
        true => Ok(Some(values.into_iter().map(f64::from).collect())),
        false => Err(format!("tensor {name}: positive numbers are expected")),
    }
}

/// Llama 3's scaling, where it yields these divisors.
fn llama3(divisors: &[f64], theta: f64, dims: usize, context: usize) -> Option<Value> {
    const LOW: f64 = 1.0;
    const HIGH: f64 = 4.0;
    const ORIGINAL: f64 = 8192.0;
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    let expected = |index: usize| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * index as f64 / dims as f64);
        let smooth = ((ORIGINAL / wavelength - LOW) / (HIGH - LOW)).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / factor + smooth)
    };
    let fits = divisors.iter().enumerate().all(|(index, divisor)| (divisor / expected(index) - 1.0).abs() < 1e-4);
    (fits && context as f64 > ORIGINAL && factor > 1.0).then(|| {
        json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": LOW, "high_freq_factor": HIGH,
            "original_max_position_embeddings": ORIGINAL as u64})
    })
}
