//! llama2.c's checkpoints and tokenizers, written here as its exporter does.

use super::*;

/// Rows of each head from halves to pairs, as llama2.c and llama.cpp store them.
pub fn pairs(tensor: &Tensor, heads: usize) -> Tensor {
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
pub fn tokenizer_bin(json: &Value) -> Vec<u8> {
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
