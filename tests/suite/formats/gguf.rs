//! GGUF files, written here as llama.cpp lays them out.

use super::*;

/// Sizes that whole blocks fit into.
pub fn gguf_config(family: &str) -> Value {
    let mut config = json!({
        "model_type": family, "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 256, "vocab_size": 24,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 50000.0, "tie_word_embeddings": true,
        "bos_token_id": 1, "eos_token_id": 2,
    });
    if family == "phi3" || family == "gemma2" || family == "gemma3_text" {
        config["sliding_window"] = json!(16);
    }
    if family == "gemma2" || family == "gemma3_text" {
        config["query_pre_attn_scalar"] = json!(32);
    }
    if family == "gemma2" {
        config["attn_logit_softcapping"] = json!(50.0);
        config["final_logit_softcapping"] = json!(30.0);
    }
    if family == "gemma3_text" {
        config["rope_local_base_freq"] = json!(10000.0);
    }
    config
}

/// (Hugging Face name, GGUF name, shape)
pub fn gguf_names(family: &str) -> Vec<(String, String, Vec<usize>)> {
    let mut names = vec![
        ("model.embed_tokens.weight".into(), "token_embd.weight".into(), vec![24, 256]),
        ("model.norm.weight".into(), "output_norm.weight".into(), vec![256]),
    ];
    for layer in 0..2 {
        let mut add = |hf: &str, gguf: &str, shape: &[usize]| {
            names.push((format!("model.layers.{layer}.{hf}"), format!("blk.{layer}.{gguf}"), shape.to_vec()));
        };
        if family == "phi3" {
            add("self_attn.qkv_proj.weight", "attn_qkv.weight", &[512, 256]);
            add("mlp.gate_up_proj.weight", "ffn_up.weight", &[512, 256]);
        } else {
            add("self_attn.q_proj.weight", "attn_q.weight", &[256, 256]);
            add("self_attn.k_proj.weight", "attn_k.weight", &[128, 256]);
            add("self_attn.v_proj.weight", "attn_v.weight", &[128, 256]);
            add("mlp.gate_proj.weight", "ffn_gate.weight", &[256, 256]);
            add("mlp.up_proj.weight", "ffn_up.weight", &[256, 256]);
        }
        add("self_attn.o_proj.weight", "attn_output.weight", &[256, 256]);
        add("mlp.down_proj.weight", "ffn_down.weight", &[256, 256]);
        add("input_layernorm.weight", "attn_norm.weight", &[256]);
        if family == "gemma2" || family == "gemma3_text" {
            add("post_attention_layernorm.weight", "post_attention_norm.weight", &[256]);
            add("pre_feedforward_layernorm.weight", "ffn_norm.weight", &[256]);
            add("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[256]);
        } else {
            add("post_attention_layernorm.weight", "ffn_norm.weight", &[256]);
        }
        if family == "qwen2" {
            add("self_attn.q_proj.bias", "attn_q.bias", &[256]);
            add("self_attn.k_proj.bias", "attn_k.bias", &[128]);
            add("self_attn.v_proj.bias", "attn_v.bias", &[128]);
        }
        if family == "qwen3" || family == "gemma3_text" {
            add("self_attn.q_norm.weight", "attn_q_norm.weight", &[32]);
            add("self_attn.k_norm.weight", "attn_k_norm.weight", &[32]);
        }
    }
    names
}

pub fn gguf_tensors(family: &str) -> BTreeMap<String, Tensor> {
    let tensor = |(hf, _, shape): (String, String, Vec<usize>)| {
        let count: usize = shape.iter().product();
        let norm = hf.contains("norm");
        // Multiples of 1/64: a gain g and 1 + g are both exact.
        let value = |i: usize| ((i * 37 + hf.len() * 11) % 61) as f32 / 64.0 - if norm { 0.0 } else { 0.45 };
        let values: Vec<f32> = (0..count).map(value).collect();
        (hf, Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor"))
    };
    gguf_names(family).into_iter().map(tensor).collect()
}

pub fn tokenizer_fields() -> Vec<(&'static str, Meta)> {
    let strings = |texts: &[&str]| Meta::Array(texts.iter().map(|text| Meta::String((*text).into())).collect());
    let mut tokens = vec!["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "▁a", "ab", "bc", "▁ab", "abc"];
    tokens.extend(["d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o"]);
    let scores = tokens.iter().enumerate().map(|(id, _)| Meta::F32(-(id as f32))).collect();
    let kinds = (0..tokens.len())
        .map(|id| {
            Meta::I32(match id {
                0 => 2,
                1 | 2 => 3,
                _ => 1,
            })
        })
        .collect();
    vec![
        ("tokenizer.ggml.model", Meta::String("llama".into())),
        ("tokenizer.ggml.tokens", strings(&tokens)),
        ("tokenizer.ggml.scores", Meta::Array(scores)),
        ("tokenizer.ggml.token_type", Meta::Array(kinds)),
        ("tokenizer.ggml.bos_token_id", Meta::U32(1)),
        ("tokenizer.ggml.eos_token_id", Meta::U32(2)),
        ("tokenizer.chat_template", Meta::String("{{ bos_token }}{{ messages[0].content }}".into())),
    ]
}

/// Writes a checkpoint as llama.cpp's converter does; `kind` says how tables are stored.
pub fn gguf(family: &str, kind: impl Fn(&str) -> GgmlDType, extra: Vec<(String, Meta)>) -> Vec<u8> {
    let key = if family == "gemma3_text" { "gemma3" } else { family };
    let config = gguf_config(family);
    let size = |name: &str| Meta::U32(config[name].as_u64().expect(name) as u32);
    let number = |name: &str| Meta::F32(config[name].as_f64().expect(name) as f32);
    let mut fields: Vec<(String, Meta)> = vec![("general.architecture".into(), Meta::String(key.into()))];
    let mut add = |name: &str, value: Meta| fields.push((format!("{key}.{name}"), value));
    add("context_length", size("max_position_embeddings"));
    add("embedding_length", size("hidden_size"));
    add("block_count", size("num_hidden_layers"));
    add("feed_forward_length", size("intermediate_size"));
    add("attention.head_count", size("num_attention_heads"));
    add("attention.head_count_kv", size("num_key_value_heads"));
    add("attention.key_length", size("head_dim"));
    add("attention.value_length", size("head_dim"));
    add("attention.layer_norm_rms_epsilon", number("rms_norm_eps"));
    add("rope.freq_base", number("rope_theta"));
    add("rope.dimension_count", size("head_dim"));
    if config.get("sliding_window").is_some() {
        add("attention.sliding_window", size("sliding_window"));
    }
    if key == "gemma2" {
        add("attn_logit_softcapping", number("attn_logit_softcapping"));
        add("final_logit_softcapping", number("final_logit_softcapping"));
    }
    fields.extend(tokenizer_fields().into_iter().map(|(name, value)| (name.to_owned(), value)));
    fields.extend(extra);
    let tensors = gguf_tensors(family);
    let mut stored = Vec::new();
    for (hf, name, _) in gguf_names(family) {
        let mut tensor = tensors[&hf].clone();
        if family == "llama" && hf.contains("q_proj") {
            tensor = pairs(&tensor, 8);
        }
        if family == "llama" && hf.contains("k_proj") {
            tensor = pairs(&tensor, 4);
        }
        if family.starts_with("gemma") && hf.contains("norm") {
            tensor = (tensor + 1.0).expect("gain");
        }
        let kind = if tensor.rank() == 1 { GgmlDType::F32 } else { kind(&hf) };
        stored.push((name, QTensor::quantize(&tensor, kind).expect("blocks")));
    }
    let fields: Vec<(&str, &Meta)> = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let stored: Vec<(&str, &QTensor)> = stored.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &fields, &stored).expect("write");
    bytes.into_inner()
}

pub fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch(name).join("model.gguf");
    std::fs::write(&path, bytes).expect("write");
    path
}

#[test]
fn gguf_files_are_the_same_model() {
    for family in ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3"] {
        let config = gguf_config(family);
        let expected = LanguageModel::from_parts(&config, gguf_tensors(family), None, &Device::Cpu).expect("model");
        let path = written(family, &gguf(family, |_| GgmlDType::F32, vec![]));
        let model = load(&path);
        assert_same(&model, &expected);
        assert_eq!(model.architecture(), expected.architecture(), "{family}");
        assert_eq!(model.digest(), expected.digest(), "{family}: the config says the same");
        let tokenizer = model.tokenizer().expect("tokenizer");
        assert_eq!(tokenizer.encode("abc a", Special::Default).expect("tokens").ids, [1, 7, 9, 7], "{family}");
        assert_same(&load(path.parent().expect("folder")), &expected);
    }
}

/// A block format loses what it loses, and no more: candle's own dequantised values.
#[test]
fn gguf_blocks_are_dequantised() {
    let expected = gguf_tensors("llama");
    for kind in [GgmlDType::F16, GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let model = load(&written(&format!("{kind:?}"), &gguf("llama", |_| kind, vec![])));
        for (name, tensor) in model.tensors() {
            let plain = &expected[name];
            let oracle = match plain.rank() {
                1 => plain.clone(),
                _ => QTensor::quantize(plain, kind).and_then(|blocks| blocks.dequantize(&Device::Cpu)).expect("oracle"),
            };
            assert_eq!(values(tensor), values(&oracle), "{kind:?} {name}");
        }
    }
}

#[test]
fn llama_3_scaling_is_read_from_its_divisors() {
    let theta = 50000.0f64;
    let divisor = |i: usize| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * i as f64 / 32.0);
        let smooth = ((8192.0 / wavelength - 1.0) / 3.0).clamp(0.0, 1.0);
        (1.0 / ((1.0 - smooth) / 8.0 + smooth)) as f32
    };
    let mut bytes = gguf("llama", |_| GgmlDType::F32, vec![("llama.context_length".into(), Meta::U32(131_072))]);
    assert!(
        LanguageModel::load(&written("twice", &bytes), &LoadOptions::default()).is_err(),
        "a field that is there twice"
    );
    // Written again with the divisors as a tensor.
    let content = gguf_file::Content::read(&mut Cursor::new(&bytes)).expect("content");
    let mut tensors: Vec<(String, QTensor)> = content
        .tensor_infos
        .keys()
        .map(|name| (name.clone(), content.tensor(&mut Cursor::new(&bytes), name, &Device::Cpu).expect("tensor")))
        .collect();
    let divisors = Tensor::from_vec((0..16).map(divisor).collect::<Vec<_>>(), 16, &Device::Cpu).expect("divisors");
    tensors.push(("rope_freqs.weight".into(), QTensor::quantize(&divisors, GgmlDType::F32).expect("tensor")));
    let mut out = Cursor::new(Vec::new());
    let fields: Vec<(&str, &Meta)> = content.metadata.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let stored: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut out, &fields, &stored).expect("write");
    bytes = out.into_inner();
    let model = load(&written("llama3", &bytes));
    let mut config = gguf_config("llama");
    config["max_position_embeddings"] = json!(131_072);
    config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let expected = LanguageModel::from_parts(&config, gguf_tensors("llama"), None, &Device::Cpu).expect("model");
    assert_eq!(model.architecture(), expected.architecture());
}
