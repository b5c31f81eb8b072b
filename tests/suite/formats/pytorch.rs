//! PyTorch's files, old and new.

use super::*;

pub fn pytorch() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch")
}

/// A folder with some of the fixture's files, the first under another name.
pub fn pick(name: &str, files: &[(&str, &str)]) -> PathBuf {
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
