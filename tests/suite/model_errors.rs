//! What loading accepts in its several spellings, and what it refuses by name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use counterpath::base::Silent;
use counterpath::model::{
    LanguageModel, LoadOptions, ModelError, NoHooks, Readout, ScoreRequest, Special, TextTokenizer, score, split_tokens,
};
use serde_json::{Value, json};

use crate::small;

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-load-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

fn save(tensors: &BTreeMap<String, Tensor>, path: &Path) {
    let tensors: HashMap<String, Tensor> = tensors.clone().into_iter().collect();
    candle_core::safetensors::save(&tensors, path).expect("save");
}

fn checkpoint(name: &str, config: &Value, tensors: &BTreeMap<String, Tensor>) -> PathBuf {
    let folder = scratch(name);
    std::fs::write(folder.join("config.json"), config.to_string()).expect("config");
    save(tensors, &folder.join("model.safetensors"));
    folder
}

fn load(folder: &Path) -> Result<LanguageModel, ModelError> {
    LanguageModel::load(folder, &LoadOptions::default())
}

fn refused(folder: &Path) -> String {
    load(folder).err().expect("refused").to_string()
}

fn logits(model: &LanguageModel) -> Vec<f32> {
    let ids = Tensor::new(&[[1u32, 5, 9]], &Device::Cpu).expect("ids");
    let logits = model.forward(&ids, Readout::All, &mut NoHooks).expect("pass");
    logits.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")
}

#[test]
fn shards_and_single_files_are_the_same_model() {
    let (config, tensors) = (small::llama_config(), small::tensors(&small::llama_config()));
    let single = load(&checkpoint("single", &config, &tensors)).expect("model");
    let folder = scratch("shards");
    std::fs::write(folder.join("config.json"), config.to_string()).expect("config");
    let mut map = serde_json::Map::new();
    for (index, shard) in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"].iter().enumerate() {
        let part: BTreeMap<_, _> = tensors
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 2 == index)
            .map(|(_, (n, t))| (n.clone(), t.clone()))
            .collect();
        map.extend(part.keys().map(|name| (name.clone(), json!(shard))));
        save(&part, &folder.join(shard));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).expect("index");
    let sharded = load(&folder).expect("model");
    assert_eq!(logits(&single), logits(&sharded));
    assert_eq!(single.digest(), sharded.digest());
    assert_eq!(single.parameter_count(), tensors.values().map(Tensor::elem_count).sum::<usize>());
    std::fs::remove_file(folder.join("model-00002-of-00002.safetensors")).expect("remove");
    assert!(refused(&folder).contains("model-00002-of-00002.safetensors"));
    let outside = json!({"weight_map": {"lm_head.weight": "../model.safetensors"}});
    std::fs::write(folder.join("model.safetensors.index.json"), outside.to_string()).expect("index");
    assert!(refused(&folder).contains("outside the folder"));
}

#[test]
fn other_precisions_are_read_as_single() {
    let (config, tensors) = (small::gpt2_config(), small::tensors(&small::gpt2_config()));
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let cast =
            |dtype| move |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.to_dtype(dtype).expect("cast"));
        let stored: BTreeMap<_, _> = tensors.iter().map(cast(dtype)).collect();
        let model = load(&checkpoint(dtype.as_str(), &config, &stored)).expect("model");
        let rounded = stored.iter().map(cast(DType::F32)).collect();
        let expected = LanguageModel::from_parts(&config, rounded, None, &Device::Cpu).expect("model");
        assert_eq!(logits(&model), logits(&expected));
        assert!(model.tensors().values().all(|tensor| tensor.dtype() == DType::F32));
    }
    let whole =
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_dtype(DType::U32).expect("cast"))).collect();
    let message = refused(&checkpoint("u32", &config, &whole));
    assert!(message.contains("U32") && message.contains("transformer."), "{message}");
}

#[test]
fn names_without_prefix_and_known_buffers() {
    let (config, tensors) = (small::gpt2_config(), small::tensors(&small::gpt2_config()));
    let expected = load(&checkpoint("prefixed", &config, &tensors)).expect("model");
    let bare = |name: &str| name.strip_prefix("transformer.").unwrap_or(name).to_owned();
    let mut unprefixed: BTreeMap<_, _> = tensors.iter().map(|(name, tensor)| (bare(name), tensor.clone())).collect();
    let buffer = Tensor::ones((1, 1, 16, 16), DType::F32, &Device::Cpu).expect("buffer");
    unprefixed.insert("h.0.attn.bias".into(), buffer.clone());
    unprefixed.insert("h.1.attn.masked_bias".into(), buffer);
    let model = load(&checkpoint("unprefixed", &config, &unprefixed)).expect("model");
    assert_eq!(logits(&expected), logits(&model));
    assert_eq!(expected.digest(), model.digest(), "the digest is the model's, not the file's");
    let (config, mut tensors) = (small::llama_config(), small::tensors(&small::llama_config()));
    let frequencies = Tensor::ones(2, DType::F32, &Device::Cpu).expect("buffer");
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), frequencies);
    load(&checkpoint("inv-freq", &config, &tensors)).expect("a known buffer is ignored");
}

#[test]
fn a_tied_head_under_either_name() {
    let mut config = small::llama_config();
    config["tie_word_embeddings"] = json!(true);
    let tensors = small::tensors(&config);
    let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight");
    let expected = load(&checkpoint("tied", &config, &tensors)).expect("model");
    let mut renamed = tensors.clone();
    let table = renamed.remove(embedding).expect("embedding");
    renamed.insert(head.into(), table.clone());
    let model = load(&checkpoint("tied-head", &config, &renamed)).expect("model");
    assert_eq!((logits(&expected), expected.digest()), (logits(&model), model.digest()));
    renamed.insert(embedding.into(), table.clone());
    assert_eq!(logits(&expected), logits(&load(&checkpoint("tied-both", &config, &renamed)).expect("model")));
    renamed.insert(head.into(), (table * 2.0).expect("other"));
    let message = refused(&checkpoint("tied-differ", &config, &renamed));
    assert!(message.contains(head) && message.contains(embedding), "{message}");
    assert!(LanguageModel::from_parts(&config, renamed, None, &Device::Cpu).is_err());
}

#[test]
fn wrong_tensors_are_named() {
    let (config, tensors) = (small::llama_config(), small::tensors(&small::llama_config()));
    let name = "model.layers.1.self_attn.k_proj.weight";
    let with = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        LanguageModel::from_parts(&config, tensors, None, &Device::Cpu).err().expect("refused").to_string()
    };
    let message = with(&|tensors| drop(tensors.remove(name)));
    assert!(message.contains("lacks") && message.contains(name), "{message}");
    let extra = Tensor::ones(2, DType::F32, &Device::Cpu).expect("tensor");
    let message = with(&|tensors| drop(tensors.insert("model.layers.0.self_attn.q_norm.weight".into(), extra.clone())));
    assert!(message.contains("no place") && message.contains("q_norm"), "{message}");
    let message = with(&|tensors| drop(tensors.insert(name.into(), extra.clone())));
    assert!(message.contains(name) && message.contains("[8, 12]") && message.contains("[2]"), "{message}");
}

#[test]
fn damaged_weights_are_clear_errors() {
    let (config, tensors) = (small::llama_config(), small::tensors(&small::llama_config()));
    let folder = checkpoint("damaged", &config, &tensors);
    let path = folder.join("model.safetensors");
    let whole = std::fs::read(&path).expect("file");
    for length in [0, 5, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).expect("half a file");
        let message = refused(&folder);
        assert!(message.contains("model.safetensors"), "{length} bytes: {message}");
    }
    let mut hostile = whole.clone();
    hostile[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, hostile).expect("hostile file");
    assert!(refused(&folder).contains("model.safetensors"));
    std::fs::remove_file(&path).expect("remove");
    assert!(refused(&folder).contains("neither model.safetensors nor"));
    std::fs::remove_file(folder.join("config.json")).expect("remove");
    assert!(refused(&folder).contains("config.json"));
}

#[test]
fn configs_are_refused_by_field() {
    let refuse = |base: Value, field: &str, value: Value| {
        let mut config = base;
        config[field] = value;
        let error = LanguageModel::from_parts(&config, BTreeMap::new(), None, &Device::Cpu).err().expect("refused");
        error.to_string()
    };
    let llama = |field: &str, value: Value| refuse(small::llama_config(), field, value);
    let gpt2 = |field: &str, value: Value| refuse(small::gpt2_config(), field, value);
    let message = llama("model_type", json!("mamba"));
    assert!(message.contains("mamba") && message.contains("llama") && message.contains("gpt2"), "{message}");
    let cases = [
        (llama("hidden_act", json!("quick_gelu")), "hidden_act", "quick_gelu"),
        (llama("rope_scaling", json!({"rope_type": "spiral"})), "rope_scaling.rope_type", "spiral"),
        (llama("quantization_config", json!({"bits": 4})), "quantization_config", "bits"),
        (llama("num_key_value_heads", json!(3)), "num_key_value_heads", "3"),
        (llama("hidden_size", json!(-12)), "hidden_size", "-12"),
        (llama("hidden_size", Value::Null), "hidden_size", "missing"),
        (llama("rms_norm_eps", json!("small")), "rms_norm_eps", "small"),
        (gpt2("scale_attn_by_inverse_layer_idx", json!(true)), "scale_attn_by_inverse_layer_idx", "true"),
        (gpt2("add_cross_attention", json!(true)), "add_cross_attention", "true"),
        (gpt2("n_head", json!(5)), "n_head", "5"),
    ];
    for (message, field, value) in cases {
        assert!(message.contains(field) && message.contains(value), "{field}: {message}");
    }
}

fn tokenizer(words: &[&str]) -> TextTokenizer {
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).into(), json!(id))).collect();
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": words[0]}
    });
    TextTokenizer::from_json(json.to_string().as_bytes(), &Value::Null).expect("tokenizer")
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let config = small::llama_config();
    let words: Vec<String> = (0..21).map(|i| format!("w{i}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let with = |words: &[&str]| {
        LanguageModel::from_parts(&config, small::tensors(&config), Some(tokenizer(words)), &Device::Cpu)
    };
    assert!(with(&words[..20]).is_ok());
    let message = with(&words).err().expect("refused").to_string();
    assert!(message.contains("20") && message.contains("different models"), "{message}");
    let folder = checkpoint("half-tokenizer", &config, &small::tensors(&config));
    std::fs::write(folder.join("tokenizer.json"), "{\"version\": \"1.0\", \"mod").expect("half a file");
    assert!(refused(&folder).contains("tokenizer.json"));
    let without = small::model(&config);
    assert!(without.tokenizer().err().expect("none").to_string().contains("token ids"));
}

#[test]
fn requests_that_cannot_be_run() {
    let model = small::model(&small::llama_config());
    let ask = |context: Vec<u32>, continuation: Vec<u32>| {
        score::score(&model, &[ScoreRequest { context, continuation }], 64, &Silent)
    };
    assert!(ask(vec![99], vec![1]).expect_err("refused").to_string().contains("99"));
    assert!(ask(vec![1], vec![99]).is_err(), "a target outside the vocabulary");
    assert!(ask(vec![], vec![1]).is_err() && ask(vec![1], vec![]).is_err());
    assert!(ask(vec![1], vec![2; 17]).expect_err("too long").to_string().contains("16"));
    // The oldest context is left away where a request is too long.
    let long = ask((0..30).map(|i| i % 20).collect(), vec![3, 4]).expect("windowed");
    let window: Vec<u32> = (15..30).map(|i| i % 20).collect();
    let short = ask(window, vec![3, 4]).expect("exact");
    assert!((long[0].loglikelihood - short[0].loglikelihood).abs() < 1e-6);
    let ids = Tensor::zeros((1, 17), DType::U32, &Device::Cpu).expect("ids");
    let message = model.forward(&ids, Readout::All, &mut NoHooks).expect_err("too long").to_string();
    assert!(message.contains("17") && message.contains("16"), "{message}");
    let ids = Tensor::zeros((1, 3), DType::U32, &Device::Cpu).expect("ids");
    assert!(model.forward(&ids, Readout::Rows(&[(0, 3)]), &mut NoHooks).is_err());
    assert!(model.forward(&ids, Readout::Rows(&[(1, 0)]), &mut NoHooks).is_err());
}

#[test]
fn the_split_of_tokens_follows_the_harness() {
    let settings = json!({"bos_token": "<s>", "add_bos_token": true});
    let json = json!({
        "version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2, " ": 3, " b": 4, "ab": 5}, "merges": [[" ", "b"], ["a", "b"]]}
    });
    let tokenizer = TextTokenizer::from_json(json.to_string().as_bytes(), &settings).expect("tokenizer");
    let split = |context, continuation| {
        let request = split_tokens(&tokenizer, context, continuation).expect("split");
        (request.context, request.continuation)
    };
    assert_eq!(split("a", " b"), (vec![0, 1], vec![4]));
    assert_eq!(split("a ", "b"), (vec![0, 1], vec![4]), "trailing whitespace moves to the continuation");
    assert_eq!(split("", "ab"), (vec![0], vec![5]), "an empty context is the BOS token");
    assert_eq!(split("", "<s>a"), (vec![0], vec![1]), "a continuation that starts with it gives its first token");
    assert!(split_tokens(&tokenizer, "a", "b").is_err(), "the merge across the seam leaves no token to score");
    assert_eq!(tokenizer.encode("<s>a", Special::Default).expect("tokens").ids, [0, 1]);
}
