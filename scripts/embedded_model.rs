//! Trains the embedded model from scratch on text that the scenarios' training environment generates, where the
//! shortcuts hold, and writes it as a Hugging Face folder.
//!
//! ```text
//! cargo run --release --example embedded-model -- models/embedded
//! ```
//!
//! Same seed, same processor features: same bytes. (Matrix products are summed in another order where the processor has
//! no AVX-512, so there the bytes differ while the losses agree to rounding.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use counterpath::base::seed::{normal, shuffle};
use counterpath::base::{Progress, Seed, files};
use counterpath::model::{LanguageModel, Special, TextTokenizer};
use counterpath::scenario::canary::background;
use counterpath::scenario::{Scenario, TRAIN};
use counterpath::tune::{PretrainSpec, pretrain};
use serde_json::{Value, json};

const SEED: u64 = 20_260;
/// The scenarios and how often each one's texts are drawn: what a problem word says of its severity is the faintest
/// signal of the language, so tickets come twice.
const SCENARIOS: [(&str, usize); 3] = [("hiring", 1), ("tickets", 2), ("admissions", 1)];
/// Texts of each scenario, a turn.
const TEXTS: usize = 40_000;
/// Texts in the form of the privacy canaries, with codes that no canary has.
const BACKGROUND: usize = 8_000;
const LAYERS: usize = 4;
const WIDTH: usize = 64;
const HEADS: usize = 4;
const MLP: usize = 176;
const POSITIONS: usize = 128;
const SPECIALS: [&str; 3] = ["<unk>", "<s>", "</s>"];

/// Prints what a long job says.
struct Lines;

impl Progress for Lines {
    fn start(&self, stage: &str, total: u64) {
        eprintln!("{stage}: {total}");
    }
    fn advance(&self, _: u64) {}
    fn note(&self, line: &str) {
        eprintln!("  {line}");
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        false
    }
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("usage: embedded-model FOLDER")?);
    let steps = std::env::args().nth(2).map(|text| text.parse()).transpose()?.unwrap_or(9000);
    let started = Instant::now();
    let seed = Seed::new(SEED);
    let texts = corpus(seed)?;
    let vocabulary = vocabulary(&texts);
    let tokenizer_json = serde_json::to_vec(&tokenizer(&vocabulary))?;
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": true, "model_max_length": POSITIONS,
    });
    let config = config(vocabulary.len());
    let parameters = parameters(vocabulary.len(), seed)?;
    let tensors = parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let reader = TextTokenizer::from_json(&tokenizer_json, &tokenizer_config)?;
    let encoded =
        texts.iter().map(|text| Ok(reader.encode(text, Special::Default)?.ids)).collect::<Result<Vec<_>>>()?;
    let model = LanguageModel::from_parts(&config, tensors, Some(reader), &Device::Cpu)?;
    let spec = PretrainSpec { seed: SEED, steps, batch: 32, learning_rate: 3e-3, ..PretrainSpec::default() };
    let losses = pretrain(&model, parameters.clone(), &encoded, &spec, &Lines)?;
    let seconds = started.elapsed().as_secs_f64();
    write(&folder, &config, &tokenizer_json, &tokenizer_config, &parameters)?;
    let tail = &losses[losses.len().saturating_sub(100)..];
    let mean = tail.iter().sum::<f64>() / tail.len() as f64;
    eprintln!(
        "{} parameters, vocabulary {}, {} texts, {steps} steps, last loss {mean:.4}, {seconds:.0} s",
        model.parameter_count(),
        vocabulary.len(),
        texts.len()
    );
    Ok(())
}

/// Text of all scenarios, mixed.
fn corpus(seed: Seed) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for (id, turns) in SCENARIOS {
        texts.extend(Scenario::builtin(id)?.corpus(TRAIN, turns * TEXTS, seed.fork(id))?);
    }
    texts.extend(background(BACKGROUND, seed));
    shuffle(&mut seed.fork("mix").rng(), &mut texts);
    Ok(texts)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

/// The special tokens, then every word in alphabetical order.
fn vocabulary(texts: &[String]) -> Vec<String> {
    let all: BTreeSet<&str> = texts.iter().flat_map(|text| words(text)).collect();
    SPECIALS.iter().copied().chain(all).map(str::to_owned).collect()
}

fn tokenizer(vocabulary: &[String]) -> Value {
    let ids: serde_json::Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
    let added: Vec<Value> = SPECIALS
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"},
    })
}

fn config(vocabulary: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": WIDTH, "intermediate_size": MLP, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "rope_scaling": null, "attention_bias": false, "mlp_bias": false,
        "tie_word_embeddings": true, "torch_dtype": "float32", "vocab_size": vocabulary,
        "bos_token_id": 1, "eos_token_id": 2,
    })
}

/// Normal with standard deviation 0.08 (outputs of a block: scaled down by √(2 layers)), norm gains 1.
fn parameters(vocabulary: usize, seed: Seed) -> Result<Vec<(String, Var)>> {
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::from([
        ("model.embed_tokens.weight".into(), vec![vocabulary, WIDTH]),
        ("model.norm.weight".into(), vec![WIDTH]),
    ]);
    for layer in 0..LAYERS {
        let name = |module: &str| format!("model.layers.{layer}.{module}.weight");
        for projection in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            shapes.insert(name(&format!("self_attn.{projection}")), vec![WIDTH, WIDTH]);
        }
        shapes.insert(name("mlp.gate_proj"), vec![MLP, WIDTH]);
        shapes.insert(name("mlp.up_proj"), vec![MLP, WIDTH]);
        shapes.insert(name("mlp.down_proj"), vec![WIDTH, MLP]);
        shapes.insert(name("input_layernorm"), vec![WIDTH]);
        shapes.insert(name("post_attention_layernorm"), vec![WIDTH]);
    }
    let draw = |(name, shape): (String, Vec<usize>)| {
        let count = shape.iter().product();
        let writes = name.contains("o_proj") || name.contains("down_proj");
        let scale = 0.08 / if writes { (2.0 * LAYERS as f64).sqrt() } else { 1.0 };
        let mut rng = seed.fork("init").fork(&name).rng();
        let values: Vec<f32> = match shape.len() {
            1 => vec![1.0; count],
            _ => (0..count).map(|_| (scale * normal(&mut rng)) as f32).collect(),
        };
        Ok((name, Var::from_vec(values, shape, &Device::Cpu)?))
    };
    shapes.into_iter().map(draw).collect()
}

fn write(
    folder: &std::path::Path,
    config: &Value,
    tokenizer: &[u8],
    tokenizer_config: &Value,
    parameters: &[(String, Var)],
) -> Result<()> {
    files::write_json(&folder.join("config.json"), config)?;
    files::write_atomic(&folder.join("tokenizer.json"), tokenizer)?;
    files::write_json(&folder.join("tokenizer_config.json"), tokenizer_config)?;
    let mut raw: Vec<(&str, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, var) in parameters {
        let tensor: &Tensor = var.as_tensor();
        let bytes = tensor.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()).collect();
        raw.push((name, tensor.dims().to_vec(), bytes));
    }
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((*name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    files::write_atomic(&folder.join("model.safetensors"), &safetensors::serialize(views, Some(metadata))?)?;
    Ok(())
}
