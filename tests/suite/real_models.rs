//! Real checkpoints: what they say and how well they predict, against numbers that were measured with the reference
//! implementations; and candle-transformers' own decoder as an independent oracle.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use counterpath::base::{Seed, Silent};
use counterpath::model::generate::{Choice, GenerateOptions, GenerateRequest, Sampling, Stop, complete, generate};
use counterpath::model::{LanguageModel, LoadOptions, NoHooks, Readout, ScoreRequest, Special, score, split_tokens};

use crate::shared::{json, largest_difference, shared_dir};

fn model(name: &str) -> Option<LanguageModel> {
    let folder = shared_dir()?.join("data/models").join(name);
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

/// Mean of −ln p over the tokens after the first.
fn mean_loss(model: &LanguageModel, ids: &[u32]) -> f64 {
    let request = ScoreRequest { context: ids[..1].to_vec(), continuation: ids[1..].to_vec() };
    let scores = score::score(model, &[request], 1024, &Silent).expect("score");
    assert_eq!(scores[0].num_tokens, ids.len() - 1);
    -scores[0].loglikelihood / scores[0].num_tokens as f64
}

#[test]
fn stories260k_tells_its_story() {
    let Some(model) = model("stories260K") else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let prompt = tokenizer.encode("Once upon a time", Special::Default).expect("tokens").ids;
    assert_eq!(prompt.first(), Some(&1), "BOS first");
    // From the data's README: the converted checkpoint's greedy text.
    let expected = ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.";
    let tokens = generate(&model, &prompt, 60, &Choice::Greedy, Stop::AtEnd).expect("tokens");
    let text = tokenizer.decode(&[prompt, tokens].concat()).expect("text");
    assert!(text.starts_with(&format!("Once upon a time{expected}")), "{text}");
}

#[test]
fn other_real_models_continue_as_their_sources_say() {
    let greedy = |model: &LanguageModel, prompt: &[u32], limit| {
        generate(model, prompt, limit, &Choice::Greedy, Stop::AtEnd).expect("tokens")
    };
    let Some(babyllama) = model("babyllama-tok105") else { return };
    let tokenizer = babyllama.tokenizer().expect("tokenizer");
    let prompt = tokenizer.encode("Once upon a time", Special::Default).expect("tokens").ids;
    let tokens = greedy(&babyllama, &prompt, 60);
    let text = tokenizer.decode(&[prompt, tokens].concat()).expect("text");
    // From the data's README.
    assert!(text.starts_with("Once upon a time, there was a little girl named Lily."), "{text}");
    // slm4096 has learned its corpus by heart.
    let slm = model("slm4096").expect("model");
    let shared = shared_dir().expect("shared data");
    let corpus = std::fs::read_to_string(shared.join("data/models/slm4096/corpus.txt")).expect("corpus");
    let start: String = corpus.chars().take(64).collect();
    let tokenizer = slm.tokenizer().expect("tokenizer");
    let prompt = tokenizer.encode(&start, Special::Default).expect("tokens").ids;
    let text = tokenizer.decode(&greedy(&slm, &prompt, 48)).expect("text");
    let rest: String = corpus.chars().skip(64).take(text.chars().count()).collect();
    assert_eq!(text, rest);
    assert!(text.chars().count() >= 32, "{text}");
}

#[test]
fn sampling_repeats_with_its_seed() {
    let Some(model) = model("stories260K") else { return };
    let draw = |seed| {
        let choice = Choice::Sample(Sampling { top_k: Some(50), top_p: Some(0.95), ..Sampling::default() });
        let options = GenerateOptions { choice, seed: Seed::new(seed), ..GenerateOptions::greedy(20) };
        let request = GenerateRequest { id: "a".into(), prompt: vec![1] };
        complete(&model, &[request], &options, &mut NoHooks, &mut |_| {}, &Silent).expect("tokens")
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn mean_losses_are_the_measured_ones() {
    let Some(shared) = shared_dir() else { return };
    let stories = std::fs::read_to_string(shared.join("data/text/tinystories/stories.jsonl")).expect("stories");
    let first: serde_json::Value = serde_json::from_str(stories.lines().next().expect("line")).expect("story");
    let stories260k = model("stories260K").expect("model");
    let tokenizer = stories260k.tokenizer().expect("tokenizer");
    let ids = tokenizer.encode(first["text"].as_str().expect("text"), Special::Default).expect("tokens").ids;
    // Measured with the reference implementation on the first 256 tokens, BOS first.
    let loss = mean_loss(&stories260k, &ids[..256]);
    assert!((loss - 1.31897).abs() < 1e-5, "{loss}");
    let slm = model("slm4096").expect("model");
    let corpus = std::fs::read_to_string(shared.join("data/models/slm4096/corpus.txt")).expect("corpus");
    let text: String = corpus.chars().take(128).collect();
    let ids = slm.tokenizer().expect("tokenizer").encode(&text, Special::Default).expect("tokens").ids;
    assert_eq!(ids.len(), 128);
    let loss = mean_loss(&slm, &ids);
    assert!((loss - 0.07627).abs() < 1e-5, "{loss}");
}

fn oracle(folder: &Path, ids: &[u32]) -> Vec<f64> {
    // candle-transformers knows the flat form of the config alone.
    let flat = Some(folder.join("config_legacy.json")).filter(|path| path.exists());
    let config = json(&flat.unwrap_or_else(|| folder.join("config.json")));
    let config: LlamaConfig = serde_json::from_value(config).expect("config");
    let config = config.into_config(false);
    let weights = [folder.join("model.safetensors")];
    // SAFETY: the file is read-only test data that nobody changes while the map lives.
    #[allow(unsafe_code)]
    let builder = unsafe { candle_nn::VarBuilder::from_mmaped_safetensors(&weights, DType::F32, &Device::Cpu) };
    let llama = Llama::load(builder.expect("weights"), &config).expect("oracle");
    let mut cache = Cache::new(false, DType::F32, &config, &Device::Cpu).expect("cache");
    let ids = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).expect("ids");
    let logits = llama.forward(&ids, 0, &mut cache).expect("pass");
    logits.flatten_all().expect("flat").to_vec1::<f32>().expect("values").into_iter().map(f64::from).collect()
}

#[test]
fn candle_transformers_agrees() {
    let Some(shared) = shared_dir() else { return };
    let ids: Vec<u32> = (0..40).map(|i| (i * 37 + 11) % 256).collect();
    for folder in ["data/models/stories260K", "fixtures/parity/llama", "fixtures/parity/llama3_rope"] {
        let folder = shared.join(folder);
        let model = LanguageModel::load(&folder, &LoadOptions::default()).expect("model");
        let batch = Tensor::from_slice(&ids, (1, ids.len()), &Device::Cpu).expect("ids");
        let logits = model.forward(&batch, Readout::Rows(&[(0, ids.len() - 1)]), &mut NoHooks).expect("pass");
        let found: Vec<f64> =
            logits.flatten_all().expect("flat").to_vec1::<f32>().expect("values").into_iter().map(f64::from).collect();
        let difference = largest_difference(&found, &oracle(&folder, &ids));
        assert!(difference < 1e-4, "{}: {difference:e}", folder.display());
    }
}

#[test]
fn scores_do_not_depend_on_batch_or_company() {
    let Some(model) = model("stories260K") else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let split = |context, continuation| split_tokens(tokenizer, context, continuation).expect("split");
    let requests = [
        split("Once upon a time", ", there was a little girl"),
        split("Lily saw her cat. ", "She was happy."),
        split("Lily saw her cat.", " He"),
        split("Lily saw her cat.", " She"),
        split("", "Once upon a time"),
        split("Tom had a red ball. He liked to play with it all day long.", " He"),
    ];
    let together = score::score(&model, &requests, 4096, &Silent).expect("scores");
    for (request, expected) in requests.iter().zip(&together) {
        let alone = score::score(&model, std::slice::from_ref(request), 1, &Silent).expect("score");
        assert!((alone[0].loglikelihood - expected.loglikelihood).abs() < 1e-4, "{alone:?} {expected:?}");
        assert_eq!((alone[0].is_greedy, alone[0].num_tokens), (expected.is_greedy, request.continuation.len()));
        assert!(expected.loglikelihood < 0.0);
    }
    assert!(together[0].is_greedy && !together[1].is_greedy);
    assert!(together[3].loglikelihood > together[2].loglikelihood, "Lily is a she");
    // The context's trailing space moved to the continuation.
    let moved = split("Lily saw her cat.", " She was happy.");
    assert_eq!(requests[1], moved);
}
