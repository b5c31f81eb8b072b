//! `convert`: every format to a Hugging Face folder, and back.

use super::*;

pub fn converted(name: &str, path: &Path, options: &WriteOptions) -> PathBuf {
    let folder = scratch(name);
    convert(Origin::Path(path), None, &folder, options, &Silent).expect("convert");
    folder
}

pub fn raw(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
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
    let again =
        convert(Origin::Path(&source), None, &folder, &WriteOptions::default(), &Silent).expect_err("not twice");
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
    convert(Origin::Embedded, None, &folder, &WriteOptions::default(), &Silent).expect("convert");
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
        let half = LoadOptions { dtype, ..LoadOptions::default() };
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
    assert!(convert(Origin::Path(&path), None, &target, &options, &Silent).is_err());
    assert_eq!(std::fs::read_dir(&target).expect("folder").count(), 0, "nothing half-written stays");
}
