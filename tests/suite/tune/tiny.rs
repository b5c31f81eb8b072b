//! A tiny Llama with random weights, as variables or frozen.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use counterpath::base::Seed;
use counterpath::base::seed::normal;
use counterpath::model::LanguageModel;

pub const VOCAB: usize = 24;
const WIDTH: usize = 16;
const MLP: usize = 32;

fn config(layers: usize) -> serde_json::Value {
    serde_json::json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
        "vocab_size": VOCAB, "hidden_size": WIDTH, "intermediate_size": MLP, "num_hidden_layers": layers,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
    })
}

/// The parameters of the model: normal with standard deviation `scale`, norm gains 1.
pub fn parameters(layers: usize, scale: f64, seed: u64) -> Vec<(String, Var)> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![VOCAB, WIDTH]),
        ("model.norm.weight".into(), vec![WIDTH]),
        ("lm_head.weight".into(), vec![VOCAB, WIDTH]),
    ];
    for layer in 0..layers {
        let name = |module: &str| format!("model.layers.{layer}.{module}.weight");
        for projection in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            shapes.push((name(&format!("self_attn.{projection}")), vec![WIDTH, WIDTH]));
        }
        shapes.push((name("mlp.gate_proj"), vec![MLP, WIDTH]));
        shapes.push((name("mlp.up_proj"), vec![MLP, WIDTH]));
        shapes.push((name("mlp.down_proj"), vec![WIDTH, MLP]));
        shapes.push((name("input_layernorm"), vec![WIDTH]));
        shapes.push((name("post_attention_layernorm"), vec![WIDTH]));
    }
    let draw = |(name, shape): (String, Vec<usize>)| {
        let mut rng = Seed::new(seed).fork(&name).rng();
        let count = shape.iter().product();
        let values: Vec<f32> = match shape.len() {
            1 => vec![1.0; count],
            _ => (0..count).map(|_| (scale * normal(&mut rng)) as f32).collect(),
        };
        let var = Var::from_vec(values, shape, &Device::Cpu).expect("a parameter");
        (name, var)
    };
    shapes.into_iter().map(draw).collect()
}

/// The model over parameters that stay variables.
pub fn live(layers: usize, parameters: &[(String, Var)]) -> LanguageModel {
    assemble(layers, parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect())
}

/// The model over copies of the parameters, without gradients.
pub fn frozen(layers: usize, parameters: &[(String, Var)]) -> LanguageModel {
    let copy = |var: &Var| var.as_detached_tensor().copy().expect("a copy");
    assemble(layers, parameters.iter().map(|(name, var)| (name.clone(), copy(var))).collect())
}

fn assemble(layers: usize, tensors: BTreeMap<String, Tensor>) -> LanguageModel {
    LanguageModel::from_parts(&config(layers), tensors, None, &Device::Cpu).expect("a tiny model")
}
