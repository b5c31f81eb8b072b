//! Bad checkpoints on the command line: one clear error each, exit code 2.

use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value as Meta;
use serde_json::{Value, json};

use crate::cli::{done, refused};
use crate::formats::{self, scratch};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn folder(name: &str, files: &[(&str, Vec<u8>)]) -> String {
    let folder = scratch(&format!("bad-{name}"));
    for (file, bytes) in files {
        std::fs::write(folder.join(file), bytes).expect("write");
    }
    folder.display().to_string()
}

fn inspect(model: &str, wanted: &str) {
    refused(&["inspect", "--model", model], wanted);
}

#[test]
fn damaged_folders() {
    let config = std::fs::read(fixture("pytorch/config.json")).expect("config");
    let weights = std::fs::read(fixture("pytorch/model.safetensors")).expect("weights");
    let pickle = std::fs::read(fixture("pytorch/pytorch_model.bin")).expect("pickle");
    let with =
        |name: &str, file: &str, bytes: &[u8]| folder(name, &[("config.json", config.clone()), (file, bytes.to_vec())]);
    inspect(&with("cut", "model.safetensors", &weights[..weights.len() / 2]), "model.safetensors");
    inspect(&with("cut-zip", "pytorch_model.bin", &pickle[..pickle.len() / 2]), "truncated");
    inspect(&with("no-weights", "readme", b""), "neither model.safetensors nor pytorch_model.bin");
    inspect(&folder("nothing", &[]), "no config.json");
    // Offsets outside the file: the header says more than there is.
    let text = String::from_utf8_lossy(&weights).into_owned();
    let start = text.find("\"data_offsets\":[").expect("offsets");
    let mut outside = weights.clone();
    let digits = start + "\"data_offsets\":[".len();
    outside[digits] = b'9';
    inspect(&with("outside", "model.safetensors", &outside), "model.safetensors");
    // Another shape than the config says: tensor, expected, found.
    let mut other: Value = serde_json::from_slice(&config).expect("config");
    other["intermediate_size"] = json!(14);
    let other =
        folder("shape", &[("config.json", other.to_string().into_bytes()), ("model.safetensors", weights.clone())]);
    refused(&["inspect", "--model", &other], "mlp.");
    refused(&["inspect", "--model", &other], "[8, 14]");
    refused(&["inspect", "--model", &other], "[8, 12]");
    // A vocabulary larger than the embedding.
    let tokenizer = std::fs::read(fixture("tokenizers/bpe_llama/tokenizer.model")).expect("tokenizer");
    let large = folder(
        "vocabulary",
        &[("config.json", config.clone()), ("model.safetensors", weights), ("tokenizer.model", tokenizer)],
    );
    inspect(&large, "reaches id 419, the embedding has 16 rows");
    // An index whose shard is missing.
    let index = std::fs::read(fixture("pytorch/pytorch_model.bin.index.json")).expect("index");
    inspect(&with("shard", "pytorch_model.bin.index.json", &index), "pytorch_model-00001-of-00002.bin");
}

#[test]
fn damaged_files() {
    let whole = formats::gguf("llama", |_| GgmlDType::F32, vec![]);
    let gguf = |name: &str, bytes: &[u8]| format!("{}/model.gguf", folder(name, &[("model.gguf", bytes.to_vec())]));
    inspect(&gguf("gguf-cut", &whole[..whole.len() - 40]), "outside the file");
    inspect(&gguf("gguf-header", &whole[..100]), "truncated");
    let field = |name: &str, value: Meta| formats::gguf("llama", |_| GgmlDType::F32, vec![(name.into(), value)]);
    inspect(&gguf("gguf-expert", &field("llama.expert_count", Meta::U32(8))), "llama.expert_count is not supported");
    inspect(&gguf("gguf-align", &field("general.alignment", Meta::U32(0))), "general.alignment");
    inspect(
        &gguf("gguf-yarn", &field("llama.rope.scaling.type", Meta::String("dynamic".into()))),
        "llama.rope.scaling.type",
    );
    let (config, tensors) = formats::square_llama(true);
    let llama = formats::llama2c(0, &config, &tensors);
    let bin = |name: &str, bytes: &[u8]| format!("{}/model.bin", folder(name, &[("model.bin", bytes.to_vec())]));
    inspect(&bin("llama2c-cut", &llama[..llama.len() - 4]), "truncated");
    inspect(&bin("llama2c-long", &[&llama[..], &[0; 4]].concat()), "follow the last weight");
    let mut quantised = formats::llama2c(1, &config, &tensors);
    quantised[4] = 2;
    inspect(&bin("llama2c-v2", &quantised), "no format that is known");
    inspect(&bin("plain-text", b"hello world, this is no model"), "no format that is known");
}

#[test]
fn values_that_are_no_numbers() {
    let (config, mut tensors) = formats::square_llama(true);
    let name = "model.norm.weight";
    let nan = vec![f32::NAN; tensors[name].elem_count()];
    tensors.insert(name.into(), candle_core::Tensor::new(nan, &candle_core::Device::Cpu).expect("tensor"));
    let path = format!("{}/model.bin", folder("nan", &[("model.bin", formats::llama2c(0, &config, &tensors))]));
    done(&["inspect", "--model", &path]);
    refused(&["inspect", "--model", &path, "--check-finite"], name);
    let output = scratch("bad-nan-out").display().to_string();
    refused(&["convert", "--model", &path, "--output", &output, "--check-finite"], name);
}

#[test]
fn convert_and_chat_on_the_command_line() {
    let gguf = folder("convert", &[("model.gguf", formats::gguf("llama", |_| GgmlDType::Q8_0, vec![]))]);
    let output = scratch("bad-convert-out").join("folder").display().to_string();
    let said = done(&[
        "convert",
        "--model",
        &gguf,
        "--output",
        &output,
        "--dtype",
        "bf16",
        "--shard-bytes",
        "100000",
        "--json",
    ]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert!(said["files"].as_array().expect("files").len() > 1 && said["tokenizer"] == true, "{said}");
    refused(&["convert", "--model", &gguf, "--output", &output], "another folder");
    let chat = folder("chat", &[("chat.json", br#"{"messages": [{"role": "user", "content": "abc a"}]}"#.to_vec())]);
    let file = format!("{chat}/chat.json");
    let said = done(&["inspect", "--model", &output, "--chat", &file, "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said, json!({"text": "<s>abc a", "ids": [1, 7, 9, 7]}));
    refused(&["inspect", "--model", "embedded", "--chat", &file], "no chat template");
}
