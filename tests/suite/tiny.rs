//! A tiny random Llama, made here: for tests that need a model and no particular one.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use counterpath::base::Seed;
use counterpath::base::seed::normal;
use counterpath::model::LanguageModel;
use serde_json::json;

/// Vocabulary of the tiny model.
pub const VOCABULARY: usize = 40;

/// Two layers, four heads in two groups, width 16. Weights are large enough for effects of order 1.
pub fn tiny_model(seed: u64) -> LanguageModel {
    planted_model(seed, &[(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)])
}

/// The tiny model in which only the `live` heads (layer, head) write anything: the output projection of all others is
/// zero, so they alone can bring what stands earlier in a prompt to its last position.
pub fn planted_model(seed: u64, live: &[(usize, usize)]) -> LanguageModel {
    let config = json!({
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": false,
        "bos_token_id": 1, "eos_token_id": 2
    });
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, 16]),
        ("model.norm.weight".to_owned(), vec![16]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, 16]),
    ];
    for layer in 0..2 {
        for (name, shape) in [
            ("self_attn.q_proj", vec![16, 16]),
            ("self_attn.k_proj", vec![8, 16]),
            ("self_attn.v_proj", vec![8, 16]),
            ("self_attn.o_proj", vec![16, 16]),
            ("mlp.gate_proj", vec![24, 16]),
            ("mlp.up_proj", vec![24, 16]),
            ("mlp.down_proj", vec![16, 24]),
            ("input_layernorm", vec![16]),
            ("post_attention_layernorm", vec![16]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let tensors: BTreeMap<String, Tensor> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let mut rng = Seed::new(seed).fork(&name).rng();
            let scale = if shape.len() == 1 { 0.1 } else { 1.5 / (shape[1] as f64).sqrt() };
            let offset = if shape.len() == 1 { 1.0 } else { 0.0 };
            let count = shape.iter().product();
            let mut values: Vec<f32> = (0..count).map(|_| (offset + scale * normal(&mut rng)) as f32).collect();
            for layer in (0..2).filter(|layer| name == format!("model.layers.{layer}.self_attn.o_proj.weight")) {
                let dead = |column: usize| !live.contains(&(layer, column / 4));
                values.iter_mut().enumerate().filter(|(at, _)| dead(at % 16)).for_each(|(_, value)| *value = 0.0);
            }
            (name, Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor"))
        })
        .collect();
    LanguageModel::from_parts(&config, tensors, None, &Device::Cpu).expect("tiny model")
}
