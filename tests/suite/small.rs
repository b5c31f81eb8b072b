//! Tiny models with random weights, for tests that need a model and no file.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use counterpath::base::Seed;
use counterpath::base::seed::normal;
use counterpath::model::LanguageModel;
use serde_json::{Value, json};

/// The config of a Llama of 2 blocks, width 12, 4 query heads over 2 key heads, 20 tokens.
pub fn llama_config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 18, "vocab_size": 20,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 10000.0,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2
    })
}

/// The config of a GPT-2 of 2 blocks, width 12, 3 heads, 20 tokens.
pub fn gpt2_config() -> Value {
    json!({
        "model_type": "gpt2", "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16, "vocab_size": 20,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 1, "eos_token_id": 2
    })
}

fn shapes(config: &Value) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    let llama = config["model_type"] == "llama";
    for layer in 0..2 {
        if llama {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            for (part, rows, columns) in [("q", 16, 12), ("k", 8, 12), ("v", 8, 12), ("o", 12, 16)] {
                add(name(&format!("self_attn.{part}_proj")), &[rows, columns]);
            }
            for (part, rows, columns) in [("gate", 18, 12), ("up", 18, 12), ("down", 12, 18)] {
                add(name(&format!("mlp.{part}_proj")), &[rows, columns]);
            }
            add(name("input_layernorm"), &[12]);
            add(name("post_attention_layernorm"), &[12]);
        } else {
            let name = |part: &str| format!("transformer.h.{layer}.{part}");
            let linears =
                [("attn.c_attn", 12, 36), ("attn.c_proj", 12, 12), ("mlp.c_fc", 12, 48), ("mlp.c_proj", 48, 12)];
            for (part, inputs, outputs) in linears {
                add(name(&format!("{part}.weight")), &[inputs, outputs]);
                add(name(&format!("{part}.bias")), &[outputs]);
            }
            for part in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
                add(name(part), &[12]);
            }
        }
    }
    if llama {
        add("model.embed_tokens.weight".into(), &[20, 12]);
        add("model.norm.weight".into(), &[12]);
        if config["tie_word_embeddings"] == false {
            add("lm_head.weight".into(), &[20, 12]);
        }
    } else {
        add("transformer.wte.weight".into(), &[20, 12]);
        add("transformer.wpe.weight".into(), &[16, 12]);
        add("transformer.ln_f.weight".into(), &[12]);
        add("transformer.ln_f.bias".into(), &[12]);
    }
    shapes
}

/// Random weights for one of the configs above.
pub fn tensors(config: &Value) -> BTreeMap<String, Tensor> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let mut rng = Seed::new(11).fork(&name).rng();
        let gain = name.contains("norm.weight") || name.contains("ln_") && name.ends_with("weight");
        let (centre, spread) = if gain { (1.0, 0.2) } else { (0.0, 0.4) };
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| (centre + spread * normal(&mut rng)) as f32).collect();
        (name, Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor"))
    };
    shapes(config).into_iter().map(tensor).collect()
}

/// A model of one of the configs above.
pub fn model(config: &Value) -> LanguageModel {
    LanguageModel::from_parts(config, tensors(config), None, &Device::Cpu).expect("model")
}
