//! Configs as published checkpoints carry them are read whole, and what is not understood is refused by name.

use std::collections::BTreeMap;

use candle_core::Device;
use counterpath::model::{LanguageModel, ModelError};
use serde_json::{Value, json};

use crate::small;

/// The error of a config without any weights.
fn error(config: &Value) -> ModelError {
    LanguageModel::from_parts(config, BTreeMap::new(), None, &Device::Cpu).err().expect("there are no weights")
}

/// A config without the training fields that all of them share.
fn published() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Llama-3.2-1B",
            json!({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
            "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
            "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
            "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
            "rms_norm_eps": 1e-5, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
            "tie_word_embeddings": true, "vocab_size": 128256}),
        ),
        (
            "SmolLM2-135M",
            json!({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 0,
            "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536,
            "is_llama_config": true, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9,
            "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
            "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true,
            "vocab_size": 49152}),
        ),
        (
            "Mistral-7B-v0.1",
            json!({"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
            "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
            "vocab_size": 32000}),
        ),
        (
            "Mixtral-8x7B-v0.1",
            json!({"architectures": ["MixtralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
            "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
            "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-5,
            "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": null,
            "tie_word_embeddings": false, "vocab_size": 32000}),
        ),
        (
            "Qwen2.5-0.5B",
            json!({"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643,
            "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864,
            "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2",
            "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "use_mrope": false,
            "use_sliding_window": false, "vocab_size": 151936}),
        ),
        (
            "Qwen3-30B-A3B",
            json!({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
            "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128,
            "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
            "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
            "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
            "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-6,
            "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
            "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936}),
        ),
        (
            "gemma-2b",
            json!({"architectures": ["GemmaForCausalLM"], "attention_bias": false, "bos_token_id": 2,
            "eos_token_id": 1, "head_dim": 256, "hidden_act": "gelu", "hidden_activation": null, "hidden_size": 2048,
            "intermediate_size": 16384, "max_position_embeddings": 8192, "model_type": "gemma",
            "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1, "pad_token_id": 0,
            "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 10000.0, "vocab_size": 256000}),
        ),
        (
            "gemma-2-2b",
            json!({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false,
            "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
            "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
            "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8,
            "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000}),
        ),
        (
            "pythia-70m",
            json!({"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0,
            "hidden_act": "gelu", "hidden_size": 512, "intermediate_size": 2048, "layer_norm_eps": 1e-5,
            "max_position_embeddings": 2048, "model_type": "gpt_neox", "num_attention_heads": 8,
            "num_hidden_layers": 6, "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false,
            "use_parallel_residual": true, "vocab_size": 50304}),
        ),
        (
            "gpt2",
            json!({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
            "bos_token_id": 50256, "eos_token_id": 50256, "layer_norm_epsilon": 1e-5, "model_type": "gpt2",
            "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
            "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
            "summary_type": "cls_index", "summary_use_proj": true, "task_specific_params": {"text-generation":
            {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}),
        ),
        (
            "phi-2",
            json!({"architectures": ["PhiForCausalLM"], "bos_token_id": 50256, "embd_pdrop": 0.0,
            "eos_token_id": 50256, "hidden_act": "gelu_new", "hidden_size": 2560, "intermediate_size": 10240,
            "layer_norm_eps": 1e-5, "max_position_embeddings": 2048, "model_type": "phi", "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4, "qk_layernorm": false,
            "resid_pdrop": 0.1, "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false,
            "vocab_size": 51200}),
        ),
        (
            "OLMoE-1B-7B-0924",
            json!({"architectures": ["OlmoeForCausalLM"], "attention_bias": false, "clip_qkv": null,
            "eos_token_id": 50279, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 1024,
            "max_position_embeddings": 4096, "model_type": "olmoe", "norm_topk_prob": false,
            "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 16,
            "num_key_value_heads": 16, "output_router_logits": false, "pad_token_id": 1, "rms_norm_eps": 1e-5,
            "rope_scaling": null, "rope_theta": 10000.0, "router_aux_loss_coef": 0.01, "tie_word_embeddings": false,
            "vocab_size": 50304}),
        ),
        (
            "granite-3.1-2b-base",
            json!({"architectures": ["GraniteForCausalLM"], "attention_bias": false,
            "attention_multiplier": 0.015625, "bos_token_id": 0, "embedding_multiplier": 12.0, "eos_token_id": 0,
            "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192, "logits_scaling": 8.0,
            "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "granite",
            "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8, "pad_token_id": 0,
            "residual_multiplier": 0.22, "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 5000000.0,
            "tie_word_embeddings": true, "vocab_size": 49152}),
        ),
        (
            "stablelm-2-1_6b",
            json!({"architectures": ["StableLmForCausalLM"], "bos_token_id": 100257,
            "eos_token_id": 100257, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 5632,
            "layer_norm_eps": 1e-5, "max_position_embeddings": 4096, "model_type": "stablelm",
            "num_attention_heads": 32, "num_hidden_layers": 24, "num_key_value_heads": 32,
            "partial_rotary_factor": 0.25, "rope_theta": 10000, "tie_word_embeddings": false, "use_qkv_bias": true,
            "vocab_size": 100352}),
        ),
        (
            "gpt-j-6b",
            json!({"activation_function": "gelu_new", "architectures": ["GPTJForCausalLM"],
            "bos_token_id": 50256, "eos_token_id": 50256, "gradient_checkpointing": false,
            "layer_norm_epsilon": 1e-5, "model_type": "gptj", "n_embd": 4096, "n_head": 16, "n_inner": null,
            "n_layer": 28, "n_positions": 2048, "rotary": true, "rotary_dim": 64, "scale_attn_weights": true,
            "tie_word_embeddings": false, "tokenizer_class": "GPT2Tokenizer", "vocab_size": 50400}),
        ),
        (
            "opt-125m",
            json!({"_remove_final_layer_norm": false, "activation_dropout": 0.0,
            "activation_function": "relu", "architectures": ["OPTForCausalLM"], "bos_token_id": 2,
            "do_layer_norm_before": true, "dropout": 0.1, "eos_token_id": 2, "ffn_dim": 3072, "hidden_size": 768,
            "init_std": 0.02, "layerdrop": 0.0, "max_position_embeddings": 2048, "model_type": "opt",
            "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1, "prefix": "</s>",
            "vocab_size": 50272, "word_embed_proj_dim": 768}),
        ),
        (
            "falcon-7b",
            json!({"alibi": false, "apply_residual_connection_post_layernorm": false,
            "architectures": ["FalconForCausalLM"], "bias": false, "bos_token_id": 11, "eos_token_id": 11,
            "hidden_dropout": 0.0, "hidden_size": 4544, "layer_norm_epsilon": 1e-5, "model_type": "falcon",
            "multi_query": true, "new_decoder_architecture": false, "num_attention_heads": 71,
            "num_hidden_layers": 32, "parallel_attn": true, "vocab_size": 65024}),
        ),
        (
            "starcoder2-3b",
            json!({"activation_function": "gelu", "architectures": ["Starcoder2ForCausalLM"],
            "bos_token_id": 0, "embedding_dropout": 0.1, "eos_token_id": 0, "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 3072, "intermediate_size": 12288, "layer_norm_epsilon": 1e-5,
            "max_position_embeddings": 16384, "mlp_type": "default", "model_type": "starcoder2",
            "norm_epsilon": 1e-5, "norm_type": "layer_norm", "num_attention_heads": 24, "num_hidden_layers": 30,
            "num_key_value_heads": 2, "residual_dropout": 0.1, "rope_theta": 999999.4420358813,
            "sliding_window": 4096, "use_bias": true, "vocab_size": 49152}),
        ),
        (
            "c4ai-command-r-v01",
            json!({"architectures": ["CohereForCausalLM"], "attention_bias": false,
            "bos_token_id": 5, "eos_token_id": 255001, "hidden_act": "silu", "hidden_size": 8192,
            "intermediate_size": 22528, "layer_norm_eps": 1e-5, "logit_scale": 0.0625,
            "max_position_embeddings": 8192, "model_max_length": 131072, "model_type": "cohere",
            "num_attention_heads": 64, "num_hidden_layers": 40, "num_key_value_heads": 64, "pad_token_id": 0,
            "pretraining_tp": 1, "rope_theta": 8000000.0, "use_qk_norm": false, "vocab_size": 256000}),
        ),
        (
            "Phi-3.5-mini-instruct",
            json!({"architectures": ["Phi3ForCausalLM"], "attention_bias": false,
            "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "bos_token_id": 1, "embd_pdrop": 0.0,
            "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192,
            "max_position_embeddings": 131072, "model_type": "phi3", "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096,
            "pad_token_id": 32000, "resid_pdrop": 0.0, "rms_norm_eps": 1e-5, "rope_scaling":
            {"long_factor": vec![1.5; 48], "short_factor": vec![1.0; 48], "type": "longrope"}, "rope_theta": 10000.0,
            "sliding_window": 262144, "tie_word_embeddings": false, "vocab_size": 32064}),
        ),
    ]
}

/// What checkpoints of every family carry beside.
fn with_shared_fields(mut config: Value) -> Value {
    let shared = json!({"attention_dropout": 0.0, "initializer_range": 0.02, "torch_dtype": "bfloat16",
        "transformers_version": "4.41.0", "use_cache": true, "_name_or_path": "somebody/something"});
    let (Some(config), Some(shared)) = (config.as_object_mut(), shared.as_object()) else { unreachable!() };
    for (field, value) in shared {
        config.entry(field).or_insert_with(|| value.clone());
    }
    Value::Object(config.clone())
}

#[test]
fn published_configs_are_understood() {
    for (name, config) in published() {
        let error = error(&with_shared_fields(config));
        assert!(matches!(error, ModelError::MissingTensors { .. }), "{name}: {error}");
    }
}

#[test]
fn an_unknown_field_is_refused_by_name_and_value_in_every_family() {
    for (name, config) in published() {
        for (field, value) in
            [("attention_sinks", json!(4)), ("use_new_trick", json!(true)), ("trick", json!({"a": 1}))]
        {
            let mut config = with_shared_fields(config.clone());
            config[field] = value.clone();
            let error = error(&config);
            assert!(matches!(error, ModelError::Unsupported { .. }), "{name}: {error}");
            assert!(error.to_string().contains(&format!("{field} = {value}")), "{name}: {error}");
            config[field] = Value::Null;
            assert!(matches!(self::error(&config), ModelError::MissingTensors { .. }), "{name}: null is absent");
        }
    }
}

#[test]
fn unknown_fields_of_a_rotary_scaling_are_refused() {
    let with = |field: &str, scaling: Value| {
        let mut config = small::llama_config();
        config[field] = scaling;
        error(&config).to_string()
    };
    for field in ["rope_scaling", "rope_parameters"] {
        let message = with(field, json!({"rope_type": "yarn", "factor": 2.0, "beta_middle": 3}));
        assert!(message.contains(&format!("{field}.beta_middle = 3")), "{message}");
        let message = with(field, json!({"rope_type": "proportional", "factor": 2.0}));
        assert!(message.contains(&format!("{field}.rope_type = \"proportional\"")), "{message}");
        let message = with(field, json!({"rope_type": "linear", "factor": -1.0}));
        assert!(message.contains(&format!("{field}.factor")) && message.contains("positive"), "{message}");
        let message = with(field, json!({"rope_type": "dynamic"}));
        assert!(message.contains(&format!("{field}.factor")) && message.contains("missing"), "{message}");
    }
}

#[test]
fn features_that_are_not_done_are_refused_by_family() {
    let configs: BTreeMap<_, _> = published().into_iter().collect();
    for (name, field, value) in [
        ("falcon-7b", "alibi", json!(true)),
        ("falcon-7b", "num_ln_in_parallel_attn", json!(2)),
        ("opt-125m", "do_layer_norm_before", json!(false)),
        ("opt-125m", "word_embed_proj_dim", json!(512)),
        ("opt-125m", "_remove_final_layer_norm", json!(true)),
        ("stablelm-2-1_6b", "qk_layernorm", json!(true)),
        ("OLMoE-1B-7B-0924", "clip_qkv", json!(8.0)),
        ("OLMoE-1B-7B-0924", "num_experts_per_tok", json!(65)),
        ("gpt-j-6b", "rotary_dim", json!(63)),
        ("Qwen2.5-0.5B", "use_mrope", json!(true)),
        ("SmolLM2-135M", "rope_interleaved", json!(true)),
        ("gpt2", "is_encoder_decoder", json!(true)),
    ] {
        let mut config = with_shared_fields(configs[name].clone());
        config[field] = value.clone();
        let message = error(&config).to_string();
        assert!(message.contains(field) && message.contains(&value.to_string()), "{name}: {message}");
    }
}
