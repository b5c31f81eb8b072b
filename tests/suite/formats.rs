//! Checkpoint formats: the same weights, however they are stored, are the same model; `convert` changes no bit.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use counterpath::base::Silent;
use counterpath::model::convert::{Finite, Origin, WriteOptions, convert};
use counterpath::model::generate::{Choice, Stop, generate};
use counterpath::model::{LanguageModel, LoadOptions, Special};
use serde_json::{Value, json};

use crate::shared::shared_dir;
use crate::small;

pub fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-format-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

pub fn load(path: &Path) -> LanguageModel {
    LanguageModel::load(path, &LoadOptions::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_dtype(DType::F32)?.to_vec1()).expect("values")
}

fn assert_same(found: &LanguageModel, expected: &LanguageModel) {
    let names = |model: &LanguageModel| model.tensors().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, tensor) in found.tensors() {
        assert_eq!(tensor.dims(), expected.tensors()[name].dims(), "{name}");
        let bits = |tensor: &Tensor| values(tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(tensor), bits(&expected.tensors()[name]), "{name}");
    }
}

// ------------------------------------------------------------------------------------------------ PyTorch

fn pytorch() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch")
}

/// A folder with some of the fixture's files, the first under another name.
fn pick(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = scratch(name);
    for (file, target) in files.iter().chain(&[("config.json", "config.json")]) {
        std::fs::copy(pytorch().join(file), folder.join(target)).expect("copy");
    }
    folder
}

#[test]
fn pytorch_files_are_the_same_model() {
    let expected = load(&pick("safetensors", &[("model.safetensors", "model.safetensors")]));
    let shards = [
        ("pytorch_model.bin.index.json", "pytorch_model.bin.index.json"),
        ("pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002.bin"),
        ("pytorch_model-00002-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
    ];
    for folder in [
        pick("zip", &[("pytorch_model.bin", "pytorch_model.bin")]),
        pick("legacy", &[("legacy.bin", "pytorch_model.bin")]),
        pick("sharded", &shards),
    ] {
        let model = load(&folder);
        assert_same(&model, &expected);
        assert_eq!(model.digest(), expected.digest());
    }
    assert_same(&load(&pytorch().join("legacy.bin")), &expected);
    assert_same(&load(&pytorch().join("model.safetensors")), &expected);
    let missing = pick("missing", &shards[..2]);
    let message = LanguageModel::load(&missing, &LoadOptions::default()).err().expect("refused").to_string();
    assert!(message.contains("pytorch_model-00002-of-00002.bin") && message.contains("index.json"), "{message}");
}

/// Candle's own reader as an oracle of ours.
#[test]
fn candles_reader_of_pickles_agrees() {
    let model = load(&pytorch().join("pytorch_model.bin"));
    let oracle: HashMap<String, Tensor> =
        candle_core::pickle::read_all(pytorch().join("pytorch_model.bin")).expect("oracle").into_iter().collect();
    for (name, tensor) in model.tensors() {
        // A view that starts inside its storage is read by candle from the storage's start once the offset is there.
        assert_eq!(values(tensor), values(&oracle[name]), "{name}");
    }
}

// ------------------------------------------------------------------------------------------------ llama2.c

/// Rows of each head from halves to pairs, as llama2.c and llama.cpp store them.
fn pairs(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = tensor.dims2().expect("a table");
    let halves = tensor.reshape((heads, 2, rows / heads / 2, columns)).expect("halves");
    halves.transpose(1, 2).and_then(|t| t.contiguous()?.reshape((rows, columns))).expect("pairs")
}

/// Writes a checkpoint as llama2.c's `export.py` does.
pub fn llama2c(version: u32, config: &Value, tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let size = |name: &str| config[name].as_i64().expect(name) as i32;
    let shared = config["tie_word_embeddings"] == true;
    let vocab = if shared || version > 0 { size("vocab_size") } else { -size("vocab_size") };
    let (heads, kv_heads) = (size("num_attention_heads"), size("num_key_value_heads"));
    let header = [
        size("hidden_size"),
        size("intermediate_size"),
        size("num_hidden_layers"),
        heads,
        kv_heads,
        vocab,
        size("max_position_embeddings"),
    ];
    let mut bytes = Vec::new();
    if version > 0 {
        bytes.extend(0x616b_3432u32.to_le_bytes());
        bytes.extend(version.to_le_bytes());
    }
    header.iter().for_each(|field| bytes.extend(field.to_le_bytes()));
    if version > 0 {
        bytes.push(shared.into());
        bytes.resize(256, 0);
    }
    let mut put = |tensor: &Tensor| values(tensor).iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    let each = |put: &mut dyn FnMut(&Tensor), part: &str, heads: Option<i32>| {
        for layer in 0..size("num_hidden_layers") {
            let tensor = &tensors[&format!("model.layers.{layer}.{part}.weight")];
            match heads {
                Some(heads) => put(&pairs(tensor, heads as usize)),
                None => put(tensor),
            }
        }
    };
    let matrices = |put: &mut dyn FnMut(&Tensor), norm: Option<&str>| {
        each(put, "self_attn.q_proj", Some(heads));
        each(put, "self_attn.k_proj", Some(kv_heads));
        each(put, "self_attn.v_proj", None);
        each(put, "self_attn.o_proj", None);
        if let Some(norm) = norm {
            each(put, norm, None);
        }
        ["mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"].iter().for_each(|part| each(put, part, None));
    };
    if version == 0 {
        put(&tensors["model.embed_tokens.weight"]);
        each(&mut put, "input_layernorm", None);
        matrices(&mut put, Some("post_attention_layernorm"));
        put(&tensors["model.norm.weight"]);
        let angles = size("max_position_embeddings") * size("hidden_size") / heads;
        put(&Tensor::zeros(angles as usize, DType::F32, &Device::Cpu).expect("tables"));
    } else {
        each(&mut put, "input_layernorm", None);
        each(&mut put, "post_attention_layernorm", None);
        put(&tensors["model.norm.weight"]);
        put(&tensors["model.embed_tokens.weight"]);
        matrices(&mut put, None);
    }
    if !shared {
        put(&tensors["lm_head.weight"]);
    }
    bytes
}

/// A Llama whose heads are as wide as llama2.c wants them.
pub fn square_llama(tied: bool) -> (Value, BTreeMap<String, Tensor>) {
    let mut config = small::llama_config();
    config["head_dim"] = json!(4);
    config["hidden_size"] = json!(16);
    config["tie_word_embeddings"] = json!(tied);
    let tensors = small::tensors(&small::llama_config());
    let widen = |(name, tensor): (String, Tensor)| {
        let dims: Vec<usize> = tensor.dims().iter().map(|size| if *size == 12 { 16 } else { *size }).collect();
        let count = dims.iter().product();
        let old = values(&tensor);
        let new: Vec<f32> = (0..count).map(|i| old[i % old.len()] + (i / old.len()) as f32 * 0.125).collect();
        (name, Tensor::from_vec(new, dims, &Device::Cpu).expect("tensor"))
    };
    let mut tensors: BTreeMap<_, _> = tensors.into_iter().map(widen).collect();
    if tied {
        tensors.remove("lm_head.weight");
    }
    (config, tensors)
}

#[test]
fn llama2c_files_are_the_same_model() {
    for (tied, version) in [(true, 0), (false, 0), (true, 1), (false, 1)] {
        let (config, tensors) = square_llama(tied);
        let expected = LanguageModel::from_parts(&config, tensors.clone(), None, &Device::Cpu).expect("model");
        let folder = scratch(&format!("llama2c-{tied}-{version}"));
        let path = folder.join("model.bin");
        std::fs::write(&path, llama2c(version, &config, &tensors)).expect("write");
        assert_same(&load(&path), &expected);
        assert_same(&load(&folder), &expected);
    }
}

/// A tokenizer as llama2.c's `tokenizer.py` writes it.
fn tokenizer_bin(json: &Value) -> Vec<u8> {
    let vocab: BTreeMap<u64, String> = json["model"]["vocab"]
        .as_object()
        .expect("vocab")
        .iter()
        .map(|(text, id)| (id.as_u64().expect("id"), text.clone()))
        .collect();
    // Scores fall with the order of merges, which is what sentencepiece's own scores do.
    let merges = json["model"]["merges"].as_array().expect("merges");
    let merged = |merge: &Value| match merge.as_str() {
        Some(text) => text.replace(' ', ""),
        None => merge.as_array().expect("pair").iter().map(|part| part.as_str().expect("part")).collect(),
    };
    let mut order: HashMap<String, usize> = HashMap::new();
    for (at, merge) in merges.iter().enumerate() {
        order.entry(merged(merge)).or_insert(at);
    }
    let mut bytes = 64i32.to_le_bytes().to_vec();
    for (id, text) in vocab {
        let text = match id {
            1 => "\n<s>\n".into(),
            2 => "\n</s>\n".into(),
            _ => text.replace('▁', " "),
        };
        let score = order.get(&text.replace(' ', "▁")).map_or(0.0, |at| -(*at as f32));
        bytes.extend(score.to_le_bytes());
        bytes.extend((text.len() as i32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[test]
fn stories260k_as_llama2c_tells_the_same_story() {
    let Some(shared) = shared_dir() else { return };
    let folder = shared.join("data/models/stories260K");
    let expected = load(&folder);
    let config = crate::shared::json(&folder.join("config.json"));
    let target = scratch("stories260K");
    std::fs::write(target.join("stories260K.bin"), llama2c(0, &config, expected.tensors())).expect("write");
    let tokenizer = crate::shared::json(&folder.join("tokenizer.json"));
    std::fs::write(target.join("tok512.bin"), tokenizer_bin(&tokenizer)).expect("write");
    let model = load(&target.join("stories260K.bin"));
    assert_same(&model, &expected);
    let stories = std::fs::read_to_string(shared.join("data/text/tinystories/stories.jsonl")).expect("stories");
    for line in stories.lines().take(50) {
        let story: Value = serde_json::from_str(line).expect("story");
        let text = story["text"].as_str().expect("text");
        let ids = |model: &LanguageModel| {
            model.tokenizer().expect("tokenizer").encode(text, Special::Default).expect("tokens").ids
        };
        assert_eq!(ids(&model), ids(&expected));
        let tokenizer = model.tokenizer().expect("tokenizer");
        assert_eq!(tokenizer.decode(&ids(&model)).expect("text"), text.trim_start_matches("<s>"));
    }
    let prompt =
        model.tokenizer().expect("tokenizer").encode("Once upon a time", Special::Default).expect("tokens").ids;
    let story = |model: &LanguageModel| generate(model, &prompt, 30, &Choice::Greedy, Stop::AtEnd).expect("tokens");
    assert_eq!(story(&model), story(&expected));
}

// ------------------------------------------------------------------------------------------------ GGUF

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

fn tokenizer_fields() -> Vec<(&'static str, Meta)> {
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

fn written(name: &str, bytes: &[u8]) -> PathBuf {
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

// ------------------------------------------------------------------------------------------------ convert

fn converted(name: &str, path: &Path, options: &WriteOptions) -> PathBuf {
    let folder = scratch(name);
    convert(Origin::Path(path), &folder, options, &Silent).expect("convert");
    folder
}

fn raw(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).expect("file");
    let parsed = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let entry = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (name.to_owned(), (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    };
    parsed.iter().map(entry).collect()
}

#[test]
fn converting_a_folder_changes_no_bit() {
    let source = pick("bits", &[("model.safetensors", "model.safetensors")]);
    let folder = converted("bits-out", &source, &WriteOptions::default());
    assert_eq!(
        raw(&source.join("model.safetensors")),
        raw(&folder.join("model.safetensors")),
        "four types, bit for bit"
    );
    assert_eq!(crate::shared::json(&source.join("config.json")), crate::shared::json(&folder.join("config.json")));
    let again = convert(Origin::Path(&source), &folder, &WriteOptions::default(), &Silent).expect_err("not twice");
    assert!(again.to_string().contains("another folder"));
}

#[test]
fn every_format_converts_and_comes_back() {
    let (config, tensors) = square_llama(false);
    let llama = scratch("convert-llama2c").join("model.bin");
    std::fs::write(&llama, llama2c(0, &config, &tensors)).expect("write");
    let gemma = written("convert-gemma", &gguf("gemma2", |_| GgmlDType::Q8_0, vec![]));
    for (name, path) in [("l", llama), ("g", gemma), ("p", pytorch().join("legacy.bin"))] {
        let expected = load(&path);
        for shard_bytes in [usize::MAX, 2000] {
            let options = WriteOptions { shard_bytes, ..WriteOptions::default() };
            let folder = converted(&format!("convert-{name}-{shard_bytes}"), &path, &options);
            let model = load(&folder);
            assert_same(&model, &expected);
            assert_eq!(model.digest(), expected.digest(), "{name}");
            assert_eq!(folder.join("model.safetensors").exists(), shard_bytes == usize::MAX);
            if let Ok(tokenizer) = expected.tokenizer() {
                let encode = |tokenizer: &counterpath::model::TextTokenizer| {
                    tokenizer.encode("abc a", Special::Default).expect("tokens").ids
                };
                assert_eq!(encode(model.tokenizer().expect("tokenizer")), encode(tokenizer));
                assert!(model.tokenizer().expect("tokenizer").chat_template(false).is_ok());
            }
        }
    }
}

#[test]
fn converting_the_embedded_model_and_types() {
    let folder = scratch("embedded");
    convert(Origin::Embedded, &folder, &WriteOptions::default(), &Silent).expect("convert");
    let expected = LanguageModel::embedded(&Device::Cpu).expect("model");
    let model = load(&folder);
    assert_eq!(model.digest(), expected.digest());
    assert_eq!(model.tokenizer().expect("tokenizer").digest(), expected.tokenizer().expect("tokenizer").digest());
    for (dtype, name) in [(DType::BF16, "bfloat16"), (DType::F16, "float16"), (DType::F64, "float64")] {
        let options = WriteOptions { dtype: Some(dtype), ..WriteOptions::default() };
        let target = converted(name, &folder, &options);
        assert_eq!(crate::shared::json(&target.join("config.json"))["torch_dtype"], name);
        let model = load(&target);
        for (tensor_name, tensor) in model.tensors() {
            let rounded =
                expected.tensors()[tensor_name].to_dtype(dtype).and_then(|t| t.to_dtype(DType::F32)).expect("cast");
            assert_eq!(values(tensor), values(&rounded), "{tensor_name}");
        }
        let half = LoadOptions { device: Device::Cpu, dtype };
        let held = LanguageModel::load(&target, &half).expect("model");
        assert!(held.tensors().values().all(|tensor| tensor.dtype() == dtype));
    }
}

#[test]
fn weights_that_are_no_numbers_are_found() {
    let (config, mut tensors) = square_llama(true);
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut bad = values(&tensors[name]);
    bad[7] = f32::NAN;
    bad[9] = f32::INFINITY;
    let shape = tensors[name].dims().to_vec();
    tensors.insert(name.into(), Tensor::from_vec(bad, shape, &Device::Cpu).expect("tensor"));
    let model = LanguageModel::from_parts(&config, tensors.clone(), None, &Device::Cpu).expect("model");
    let message = model.check_finite().expect_err("NaN").to_string();
    assert!(message.contains(name) && message.contains("2 value(s)") && message.contains("index 7"), "{message}");
    let path = scratch("nan").join("model.bin");
    std::fs::write(&path, llama2c(0, &config, &tensors)).expect("write");
    let options = WriteOptions { finite: Finite::Checked, ..WriteOptions::default() };
    let target = scratch("nan-out");
    assert!(convert(Origin::Path(&path), &target, &options, &Silent).is_err());
    assert_eq!(std::fs::read_dir(&target).expect("folder").count(), 0, "nothing half-written stays");
}

// ------------------------------------------------------------------------------------------------ memory

/// A field of /proc/self/status, in bytes.
#[cfg(target_os = "linux")]
fn status(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect(field);
    let kib: usize = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
    kib * 1024
}

/// A checkpoint of about `bytes` bytes.
fn large(name: &str, bytes: usize) -> PathBuf {
    let folder = scratch(name);
    let (width, layers) = (1024usize, bytes / (4 * 12 * 1024 * 1024));
    let config = json!({
        "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 16,
        "intermediate_size": 8 * width / 3 / 256 * 256 + 256, "vocab_size": 1024, "tie_word_embeddings": true,
    });
    let mlp = config["intermediate_size"].as_u64().expect("size") as usize;
    let mut shapes = vec![("model.embed_tokens".to_owned(), vec![1024, width]), ("model.norm".into(), vec![width])];
    for layer in 0..layers {
        let mut add =
            |part: &str, shape: &[usize]| shapes.push((format!("model.layers.{layer}.{part}"), shape.to_vec()));
        ["q", "k", "v", "o"].iter().for_each(|part| add(&format!("self_attn.{part}_proj"), &[width, width]));
        ["gate", "up"].iter().for_each(|part| add(&format!("mlp.{part}_proj"), &[mlp, width]));
        add("mlp.down_proj", &[width, mlp]);
        ["input_layernorm", "post_attention_layernorm"].iter().for_each(|part| add(part, &[width]));
    }
    let tensors: HashMap<String, Tensor> = shapes
        .into_iter()
        .map(|(name, shape)| (format!("{name}.weight"), Tensor::ones(shape, DType::F32, &Device::Cpu).expect("tensor")))
        .collect();
    std::fs::write(folder.join("config.json"), config.to_string()).expect("config");
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("save");
    folder
}

/// Memory of a load: the weights and one tensor more, where a plain read takes the weights twice. The numbers in
/// `docs/performance.md` come from here.
#[test]
#[ignore = "writes a checkpoint of 1 GB; run it alone"]
#[cfg(target_os = "linux")]
fn memory_of_loading_one_gigabyte() {
    let folder = large("gigabyte", 1 << 30);
    let size = std::fs::metadata(folder.join("model.safetensors")).expect("file").len() as usize;
    let reset = || std::fs::write("/proc/self/clear_refs", "5").expect("reset of the peak");
    let peak_over = |before: usize| status("VmHWM:").saturating_sub(before) as f64 / size as f64;
    reset();
    let before = status("VmRSS:");
    let model = load(&folder);
    let (mapped, after) = (peak_over(before), status("VmRSS:").saturating_sub(before) as f64 / size as f64);
    let count = model.parameter_count();
    drop(model);
    // The allocator may have kept what the model held, so that this peak, too, counts from the start.
    reset();
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("file");
    let plain: usize = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .expect("tensors")
        .values()
        .map(Tensor::elem_count)
        .sum();
    let read = peak_over(before);
    drop(bytes);
    let _ = std::fs::remove_dir_all(&folder);
    println!(
        "{size} bytes on disk: mapped load peaks at {mapped:.3} and keeps {after:.3} of it, plain read peaks at {read:.3}"
    );
    assert_eq!(count, plain);
    assert!(mapped < 1.25 && read > 1.9, "mapped {mapped:.3}, plain {read:.3}");
}
