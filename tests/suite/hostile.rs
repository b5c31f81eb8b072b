//! Damaged and hostile files: an error or a model, never a panic, and no more memory than a small multiple of the file.

use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use counterpath::model::{LanguageModel, LoadOptions, TextTokenizer};
use proptest::prelude::*;

use crate::allocation::peak;
use crate::formats::{self, scratch};

/// What is done to a file.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    /// A length or count becomes huge.
    Wide(prop::sample::Index, u64),
    Repeat(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let wide = prop_oneof![
        Just(u64::MAX),
        Just(1 << 63),
        Just(u64::from(u32::MAX)),
        Just(1 << 40),
        Just(1 << 31),
        Just(0),
        any::<u64>()
    ];
    prop_oneof![
        1 => at().prop_map(Damage::Cut),
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (at(), wide).prop_map(|(at, value)| Damage::Wide(at, value)),
        1 => (at(), any::<u8>()).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

/// Damages the first `reach` bytes, where the headers are.
fn apply(bytes: &mut Vec<u8>, reach: usize, damages: &[Damage]) {
    for damage in damages {
        let reach = reach.min(bytes.len());
        if reach == 0 {
            return;
        }
        match damage {
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Byte(at, byte) => bytes[at.index(reach)] = *byte,
            Damage::Wide(at, value) => {
                let at = at.index(reach);
                let end = bytes.len().min(at + 8);
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            Damage::Repeat(at, count) => {
                let at = at.index(reach);
                let part: Vec<u8> = bytes[at..bytes.len().min(at + 16)].repeat(usize::from(*count) % 8);
                bytes.splice(at..at, part);
            }
        }
    }
}

/// Bytes that a load may hold at once: what a config of this size makes, and a small multiple of the file.
fn allowed(length: usize) -> usize {
    (8 << 20) + 64 * length
}

fn try_load(path: &Path, length: usize) {
    let (answer, bytes) = peak(|| LanguageModel::load(path, &LoadOptions::default()).map(drop));
    assert!(bytes <= allowed(length), "{bytes} bytes for a file of {length}");
    if let Err(error) = answer {
        assert!(!error.to_string().is_empty());
    }
}

fn fuzz(name: &str, file: &str, whole: Vec<u8>, config: Option<&str>, reach: usize) {
    let folder = scratch(&format!("hostile-{name}"));
    if let Some(config) = config {
        std::fs::write(folder.join("config.json"), config).expect("write");
    }
    let path: PathBuf = folder.join(file);
    std::fs::write(&path, &whole).expect("write");
    let target = if config.is_some() { folder.clone() } else { path.clone() };
    LanguageModel::load(&target, &LoadOptions::default()).expect("the whole file is a model");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&prop::collection::vec(damage(), 1..4), |damages| {
            let mut bytes = whole.clone();
            apply(&mut bytes, reach, &damages);
            // A new file each time: a file that shrinks under a map is another matter.
            std::fs::remove_file(&path).expect("remove");
            std::fs::write(&path, &bytes).expect("write");
            try_load(&target, bytes.len());
            Ok(())
        })
        .expect("no panic");
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).expect("fixture")
}

fn pytorch_config() -> String {
    String::from_utf8(fixture("pytorch/config.json")).expect("text")
}

#[test]
fn safetensors() {
    fuzz("safetensors", "model.safetensors", fixture("pytorch/model.safetensors"), Some(&pytorch_config()), 1300);
}

#[test]
fn pickles_in_a_zip() {
    fuzz("zip", "pytorch_model.bin", fixture("pytorch/pytorch_model.bin"), Some(&pytorch_config()), usize::MAX);
}

#[test]
fn pickles_in_a_stream() {
    fuzz("stream", "pytorch_model.bin", fixture("pytorch/legacy.bin"), Some(&pytorch_config()), usize::MAX);
}

#[test]
fn gguf() {
    for kind in [GgmlDType::F32, GgmlDType::Q4K] {
        fuzz(&format!("{kind:?}"), "model.gguf", formats::gguf("llama", |_| kind, vec![]), None, 2600);
    }
}

#[test]
fn llama2c() {
    let (config, tensors) = formats::square_llama(true);
    for version in [0, 1] {
        fuzz(&format!("llama2c-{version}"), "model.bin", formats::llama2c(version, &config, &tensors), None, 40);
    }
}

#[test]
fn configs() {
    let folder = scratch("hostile-config");
    std::fs::write(folder.join("model.safetensors"), fixture("pytorch/model.safetensors")).expect("write");
    let path = folder.join("config.json");
    let whole: serde_json::Value = serde_json::from_str(&pytorch_config()).expect("config");
    let fields: Vec<String> = whole.as_object().expect("object").keys().cloned().collect();
    let value = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(Into::into),
        (0u64..1 << 33).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
        Just(serde_json::json!({"rope_type": "linear", "factor": 1e308})),
        Just(serde_json::json!([1, 2, 3])),
    ];
    proptest!(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() }, |(field in prop::sample::select(fields), value in value)| {
        let mut config = whole.clone();
        config[&field] = value;
        let text = config.to_string();
        std::fs::write(&path, &text).expect("write");
        try_load(&folder, text.len() + fixture("pytorch/model.safetensors").len());
    });
}

#[test]
fn sentencepiece_models() {
    let folder = scratch("hostile-pieces");
    for name in ["bpe_llama", "unigram_rules"] {
        let whole = fixture(&format!("tokenizers/{name}/tokenizer.model"));
        proptest!(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }, |(damages in prop::collection::vec(damage(), 1..4))| {
            let mut bytes = whole.clone();
            apply(&mut bytes, usize::MAX, &damages);
            std::fs::write(folder.join("tokenizer.model"), &bytes).expect("write");
            let (answer, held) = peak(|| TextTokenizer::load(&folder));
            prop_assert!(held <= (4 << 20) + 400 * bytes.len(), "{held} bytes for {}", bytes.len());
            if let Ok(Some(tokenizer)) = answer {
                // What was let in can be used.
                for text in ["Hello wörld 🙂", "ﬁne ½ Ａ é\t42", "   "] {
                    let _ = tokenizer.encode(text, counterpath::model::Special::None);
                }
            }
        });
    }
}
