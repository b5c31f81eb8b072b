//! Adapters against PEFT: logits, loss and gradient norms of saved adapters, and the round trip of ours.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use counterpath::base::Seed;
use counterpath::model::{
    Adapter, LanguageModel, LoadOptions, LoraSpec, ModelError, NoHooks, Readout, TargetModules, target_logprobs,
};

use crate::parity::next_token_rows;
use crate::shared::{json, largest_difference, numbers, rows, shared_dir};

/// (adapter, base, tolerance of the logits) of the fixtures that plain and rank-stabilized LoRA cover. The base of
/// `gpt2_rslora` alone is 9.4e-6 away from double precision.
const FIXTURES: [(&str, &str, f64); 5] = [
    ("llama_lora_qv", "llama", 1e-5),
    ("llama_lora_all_linear", "llama", 1e-5),
    ("llama_rslora", "llama", 1e-5),
    ("gpt2_lora", "gpt2", 1e-5),
    ("gpt2_rslora", "gpt2", 5e-5),
];

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values").into_iter().map(f64::from).collect()
}

fn base(name: &str) -> Option<LanguageModel> {
    let folder = shared_dir()?.join("fixtures/parity").join(name);
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-peft-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn bits(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    let bits = |tensor: &Tensor| {
        let values = tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
        (tensor.dims().to_vec(), values.into_iter().map(f32::to_bits).collect())
    };
    tensors.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

#[test]
fn saved_adapters_give_the_reference_values() {
    let Some(shared) = shared_dir() else { return };
    let mut run = 0;
    for (name, base_name, tolerance) in FIXTURES {
        let folder = shared.join("fixtures/peft").join(name);
        let golden = json(&folder.join("golden.json"));
        let base = base(base_name).expect("base");
        let adapter = Adapter::load(&folder, &Device::Cpu).expect("adapter");
        let adapted = base.with_adapter(&adapter).expect("fits");
        let ids = rows(&golden["input_ids"]);
        let ids_bt = Tensor::new(ids.clone(), &Device::Cpu).expect("ids");
        let logits = adapted.forward(&ids_bt, Readout::All, &mut NoHooks).expect("pass");
        let difference = largest_difference(&values(&logits), &numbers(&golden["logits"]));
        assert!(difference <= tolerance, "{name} logits: {difference:e}");
        let frozen = base.with_adapter(&adapter.frozen()).expect("fits");
        let untracked = frozen.forward(&ids_bt, Readout::All, &mut NoHooks).expect("pass");
        assert!(!untracked.track_op(), "a frozen adapter tracks nothing");
        assert!(largest_difference(&values(&untracked), &values(&logits)) <= 1e-6);
        let loss = target_logprobs(&adapted, &next_token_rows(&ids), &mut NoHooks).expect("pass");
        let loss = loss.mean_all().expect("mean").neg().expect("loss");
        let expected = golden["loss"].as_f64().expect("loss");
        assert!((f64::from(loss.to_scalar::<f32>().expect("loss")) - expected).abs() <= 1e-5, "{name} loss");
        let gradients = loss.backward().expect("backward");
        let norms = golden["grad_norm"].as_object().expect("norms");
        let trainable = adapter.trainable();
        assert_eq!(norms.len(), trainable.len());
        for (tensor, var) in trainable {
            // In memory PEFT puts the adapter's name into the path; on disk it never appears.
            let key = tensor.replace(".weight", ".default.weight");
            let norm = norms[&key].as_f64().expect("norm");
            let gradient = values(gradients.get(&var).expect("gradient"));
            let found = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!((found / norm - 1.0).abs() < 1e-4, "{name} {tensor}: {found} against {norm}");
        }
        run += 1;
    }
    assert_eq!(run, FIXTURES.len());
}

#[test]
fn what_is_written_loads_again_bit_for_bit() {
    for name in ["llama", "gpt2"] {
        let Some(model) = base(name) else { return };
        let spec =
            LoraSpec { rank: 3, alpha: 5.0, target_modules: TargetModules::Pattern("all-linear".into()), rslora: true };
        let adapter = Adapter::init(&model, &spec, Seed::new(3)).expect("adapter");
        // B starts at zero, so values of its own are set.
        let values: BTreeMap<String, Tensor> = (adapter.tensors().into_iter())
            .map(|(name, tensor)| (name, (tensor.detach() + 0.123).expect("sum")))
            .collect();
        adapter.set_tensors(&values).expect("set");
        assert_eq!(bits(&adapter.tensors()), bits(&values));
        let folder = scratch(name);
        adapter.save(&folder, "org/base").expect("save");
        let again = Adapter::load(&folder, &Device::Cpu).expect("load");
        assert_eq!(bits(&again.tensors()), bits(&adapter.tensors()));
        assert_eq!(again.digest().expect("digest"), adapter.digest().expect("digest"), "scales are the same, too");
        let files = |folder: &PathBuf| {
            ["adapter_config.json", "adapter_model.safetensors"]
                .map(|file| std::fs::read(folder.join(file)).expect("file"))
        };
        let second = scratch(&format!("{name}-second"));
        again.save(&second, "org/base").expect("save");
        assert_eq!(files(&folder), files(&second), "a second round writes the same bytes");
        let config = json(&folder.join("adapter_config.json"));
        assert_eq!((config["r"].as_u64(), config["lora_alpha"].as_u64()), (Some(3), Some(5)));
        assert_eq!(config["fan_in_fan_out"].as_bool(), Some(name == "gpt2"));
        assert_eq!(config["base_model_name_or_path"].as_str(), Some("org/base"));
        let targets = config["target_modules"].as_array().expect("expanded list");
        assert_eq!(targets.len(), adapter.modules().len());
        assert!(targets.iter().all(|target| target.as_str() != Some("lm_head")));
    }
}

#[test]
fn a_fresh_adapter_changes_nothing_and_is_seeded() {
    let Some(model) = base("llama") else { return };
    let spec = LoraSpec {
        rank: 4,
        alpha: 8.0,
        target_modules: TargetModules::List(vec!["q_proj".into(), "v_proj".into()]),
        rslora: false,
    };
    let adapter = Adapter::init(&model, &spec, Seed::new(1)).expect("adapter");
    let ids = Tensor::new(&[[1u32, 5, 9]], &Device::Cpu).expect("ids");
    let plain = model.forward(&ids, Readout::All, &mut NoHooks).expect("pass");
    let adapted = model.with_adapter(&adapter).expect("fits");
    let adapted = adapted.forward(&ids, Readout::All, &mut NoHooks).expect("pass");
    assert_eq!(values(&plain), values(&adapted));
    assert_eq!(adapter.modules().len(), 4);
    assert_eq!(adapter.parameter_count(), 2 * (4 * 32 + 32 * 4) + 2 * (4 * 32 + 16 * 4));
    let again = Adapter::init(&model, &spec, Seed::new(1)).expect("adapter");
    let other = Adapter::init(&model, &spec, Seed::new(2)).expect("adapter");
    assert_eq!(bits(&adapter.tensors()), bits(&again.tensors()));
    assert_ne!(bits(&adapter.tensors()), bits(&other.tensors()));
    for (name, tensor) in adapter.tensors() {
        let largest = values(&tensor).into_iter().fold(0.0, |largest: f64, v| largest.max(v.abs()));
        let bound = 1.0 / 32f64.sqrt();
        match name.ends_with("lora_A.weight") {
            true => assert!(largest <= bound && largest > 0.8 * bound, "{name}: {largest}"),
            false => assert_eq!(largest, 0.0),
        }
    }
}

#[test]
fn an_adapter_for_another_base_is_refused() {
    let Some(shared) = shared_dir() else { return };
    let adapter = |name: &str| Adapter::load(&shared.join("fixtures/peft").join(name), &Device::Cpu);
    let refused = |model: &str, name: &str| {
        let error = base(model).expect("base").with_adapter(&adapter(name).expect("adapter")).err().expect("refused");
        assert!(matches!(error, ModelError::AdapterMismatch(_)), "{error}");
        error.to_string()
    };
    let message = refused("gpt2", "llama_lora_qv");
    assert!(message.contains("model.layers.0.self_attn.q_proj") && message.contains("another base"), "{message}");
    let message = refused("llama_tied_bias_headdim", "llama_lora_qv");
    assert!(message.contains("32") && message.contains("64"), "{message}");
    for (name, field) in [("llama_dora", "use_dora"), ("llama_lora_patterns", "modules_to_save")] {
        let message = adapter(name).expect_err("refused").to_string();
        assert!(message.contains(field), "{message}");
    }
    let spec = |entry: &str| LoraSpec {
        rank: 1,
        alpha: 1.0,
        target_modules: TargetModules::List(vec![entry.into()]),
        rslora: false,
    };
    let error = Adapter::init(&base("gpt2").expect("base"), &spec("q_proj"), Seed::new(0)).expect_err("refused");
    assert!(error.to_string().contains("q_proj") && error.to_string().contains("c_attn"), "{error}");
}
