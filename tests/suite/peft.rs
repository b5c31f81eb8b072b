//! Adapters against PEFT: logits, loss and gradient norms of saved adapters, and the round trip of ours.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use counterpath::base::{Seed, Silent};
use counterpath::model::generate::{GenerateOptions, GenerateRequest, Stop, complete};
use counterpath::model::{
    Adapter, AdapterBank, LanguageModel, LoadOptions, LoraSpec, ModelError, NoHooks, Readout, ScoreRequest, Span,
    TargetModules, score::score, score_with_adapters, target_logprobs,
};
use serde_json::Value;

use crate::cli::{done, refused};
use crate::parity::next_token_rows;
use crate::shared::{json, largest_difference, numbers, rows, shared_dir};

/// Folders of fixtures; every one runs.
const FOLDERS: usize = 8;

/// Tolerance of logits and loss. The base of `gpt2_rslora` alone is 9.4e-6 away from double precision.
fn tolerance(name: &str) -> f64 {
    if name == "gpt2_rslora" { 5e-5 } else { 1e-5 }
}

struct Case {
    name: String,
    golden: Value,
    base: LanguageModel,
    adapter: Adapter,
    ids: Vec<Vec<u32>>,
    ids_bt: Tensor,
}

fn cases() -> Vec<Case> {
    let Some(shared) = shared_dir() else { return Vec::new() };
    let entries = std::fs::read_dir(shared.join("fixtures/peft")).expect("fixtures").map(|entry| entry.expect("entry"));
    let folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), FOLDERS, "every fixture runs");
    let case = |folder: PathBuf| {
        let golden = json(&folder.join("golden.json"));
        let base = golden["base"].as_str().and_then(|path| path.rsplit('/').next()).expect("base").to_owned();
        let ids = rows(&golden["input_ids"]);
        Case {
            name: golden["adapter"].as_str().expect("name").to_owned(),
            base: self::base(&base).expect("base"),
            adapter: Adapter::load(&folder, &Device::Cpu).expect("adapter"),
            ids_bt: Tensor::new(ids.clone(), &Device::Cpu).expect("ids"),
            ids,
            golden,
        }
    };
    folders.into_iter().map(case).collect()
}

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

fn logits(model: &LanguageModel, ids_bt: &Tensor) -> Tensor {
    model.forward(ids_bt, Readout::All, &mut NoHooks).expect("pass")
}

#[test]
fn saved_adapters_give_the_reference_values() {
    for Case { name, golden, base, adapter, ids, ids_bt } in cases() {
        let tolerance = tolerance(&name);
        let adapted = base.with_adapter(&adapter).expect("fits");
        let found = logits(&adapted, &ids_bt);
        let difference = largest_difference(&values(&found), &numbers(&golden["logits"]));
        assert!(difference <= tolerance, "{name} logits: {difference:e}");
        let frozen = base.with_adapter(&adapter.frozen()).expect("fits");
        let untracked = logits(&frozen, &ids_bt);
        assert!(!untracked.track_op(), "a frozen adapter tracks nothing");
        assert!(largest_difference(&values(&untracked), &values(&found)) <= 1e-6);
        let loss = target_logprobs(&adapted, &next_token_rows(&ids), &mut NoHooks).expect("pass");
        let loss = loss.mean_all().expect("mean").neg().expect("loss");
        let expected = golden["loss"].as_f64().expect("loss");
        assert!((f64::from(loss.to_scalar::<f32>().expect("loss")) - expected).abs() <= 1e-5, "{name} loss");
        let gradients = loss.backward().expect("backward");
        let norms = golden["grad_norm"].as_object().expect("norms");
        let trainable = adapter.trainable();
        assert_eq!(norms.len(), trainable.len(), "{name}");
        for (tensor, var) in trainable {
            let norm = norms[&in_memory(&tensor)].as_f64().expect("norm");
            let gradient = values(gradients.get(&var).expect("gradient"));
            let found = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!((found / norm - 1.0).abs() < 1e-4, "{name} {tensor}: {found} against {norm}");
        }
    }
}

/// A tensor's name in PEFT's memory, where the adapter's own name is part of the path; on disk it never appears.
fn in_memory(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((path, "lora_magnitude_vector")) => format!("{path}.lora_magnitude_vector.default.weight"),
        Some((path, last)) if path.contains(".lora_") => format!("{path}.default.{last}"),
        Some((path, last)) => format!("{path}.modules_to_save.default.{last}"),
        None => name.to_owned(),
    }
}

#[test]
fn merged_weights_give_the_same_logits() {
    for Case { name, golden, base, adapter, ids_bt, .. } in cases() {
        let merged = base.merge(&adapter, &ids_bt).expect("merged");
        // PEFT's own merging is this far from its unmerged run.
        let reference = golden["merged_max_abs_diff"].as_f64().expect("difference");
        assert!(merged.drift <= 3.0 * reference, "{name}: {:e} against {reference:e}", merged.drift);
        let difference = largest_difference(&values(&logits(&merged.model, &ids_bt)), &numbers(&golden["logits"]));
        assert!(difference <= 3.0 * reference + tolerance(&name), "{name} merged logits: {difference:e}");
        assert_ne!(merged.model.digest(), base.digest());
        assert_eq!(merged.model.parameter_count(), base.parameter_count());
    }
}

#[test]
fn a_merge_unties_a_head_that_it_changes() {
    let Some(base) = base("qwen2") else { return };
    assert!(base.architecture().tied_head);
    let ids = Tensor::new(&[[1u32, 5, 9, 30]], &Device::Cpu).expect("ids");
    let target = |entry: &str| LoraSpec {
        rank: 2,
        alpha: 4.0,
        target_modules: TargetModules::List(vec![entry.into()]),
        rslora: false,
    };
    for (entry, tied) in [("lm_head", false), ("down_proj", true)] {
        let adapter = moved(Adapter::init(&base, &target(entry), Seed::new(1)).expect("adapter"));
        let merged = base.merge(&adapter, &ids).expect("merged");
        assert!(merged.drift < 1e-4, "{entry}: {}", merged.drift);
        assert_eq!(merged.model.architecture().tied_head, tied, "{entry}");
        let change = largest_difference(&values(&logits(&merged.model, &ids)), &values(&logits(&base, &ids)));
        assert!(change > 1e-2, "{entry}: {change}");
    }
}

/// An adapter whose every tensor is away from where it starts.
fn moved(adapter: Adapter) -> Adapter {
    let shift = |(name, tensor): (String, Tensor)| {
        let wave = (0..tensor.elem_count()).map(|i| 0.1 * (1.7 * i as f32 + name.len() as f32).sin()).collect();
        let wave = Tensor::from_vec(wave, tensor.shape(), &Device::Cpu).expect("wave");
        (name, (tensor.detach() + wave).expect("sum"))
    };
    adapter.set_tensors(&adapter.tensors().into_iter().map(shift).collect()).expect("set");
    adapter
}

#[test]
fn rows_of_one_batch_use_different_adapters() {
    let chosen: Vec<Case> = cases().into_iter().filter(|case| case.name.starts_with("llama")).collect();
    let Some(first) = chosen.first() else { return };
    let mut bank = AdapterBank::new(&first.base);
    for Case { name, adapter, .. } in &chosen {
        match name.as_str() {
            "llama_lora_patterns" => {
                let message = bank.add(name, adapter).expect_err("replaces the head").to_string();
                assert!(message.contains("lm_head.weight") && message.contains("modules_to_save"), "{message}");
            }
            _ => bank.add(name, &adapter.frozen()).expect("fits"),
        }
    }
    assert_eq!(bank.names().len(), 4);
    let ids = &first.ids[0];
    let choice: Vec<Option<&str>> =
        bank.names().iter().map(|name| Some(name.as_str())).chain([None]).rev().cycle().take(9).collect();
    let batch = Tensor::new(vec![ids.clone(); choice.len()], &Device::Cpu).expect("batch");
    let model = bank.rows(&choice).expect("rows");
    let together = logits(&model, &batch);
    let last: Vec<(usize, usize)> = (0..choice.len()).rev().map(|row| (row, ids.len() - 1)).collect();
    let read = model.forward(&batch, Readout::Rows(&last), &mut NoHooks).expect("pass");
    let mut different = Vec::new();
    for (row, name) in choice.iter().enumerate() {
        let adapter = name.and_then(|name| chosen.iter().find(|case| case.name == name)).map(|case| &case.adapter);
        let alone = adapter.map_or(first.base.clone(), |a| first.base.with_adapter(&a.frozen()).expect("fits"));
        let alone = values(&logits(&alone, &first.ids_bt).get(0).expect("row"));
        let found = values(&together.get(row).expect("row"));
        assert!(largest_difference(&found, &alone) <= 1e-5, "{name:?}");
        let ending = values(&read.get(choice.len() - 1 - row).expect("row"));
        assert!(largest_difference(&ending, &alone[alone.len() - ending.len()..]) <= 1e-5, "{name:?}");
        different.push(alone);
    }
    assert!(largest_difference(&different[0], &different[1]) > 1e-2, "the adapters do differ");
    assert!(bank.rows(&[Some("nobody")]).err().expect("unknown").to_string().contains("llama_lora_qv"));
    let message = bank.rows(&[None]).expect("rows").forward(&batch, Readout::All, &mut NoHooks).expect_err("one row");
    assert!(message.to_string().contains("9"), "{message}");
}

#[test]
fn adapters_of_experts_and_heads_are_chosen_by_row() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/mixtral");
    let base = LanguageModel::load(&folder, &LoadOptions::default()).expect("model");
    let spec = |entries: &[&str]| LoraSpec {
        rank: 2,
        alpha: 8.0,
        target_modules: TargetModules::List(entries.iter().map(|entry| (*entry).into()).collect()),
        rslora: false,
    };
    let adapters = [spec(&["w1", "w2", "lm_head"]), spec(&["gate", "q_proj", "lm_head"])];
    let adapters = adapters.map(|spec| moved(Adapter::init(&base, &spec, Seed::new(2)).expect("adapter")).frozen());
    let mut bank = AdapterBank::new(&base);
    bank.add("a", &adapters[0]).expect("fits");
    bank.add("b", &adapters[1]).expect("fits");
    let ids = Tensor::new(vec![vec![4u32, 30, 17, 8]; 4], &Device::Cpu).expect("ids");
    let together = logits(&bank.rows(&[Some("b"), None, Some("a"), Some("b")]).expect("rows"), &ids);
    let alone = |index: usize| logits(&base.with_adapter(&adapters[index]).expect("fits"), &ids);
    for (row, alone) in [alone(1), logits(&base, &ids), alone(0), alone(1)].iter().enumerate() {
        let [found, expected] = [&together, alone].map(|logits| values(&logits.get(row).expect("row")));
        assert!(largest_difference(&found, &expected) <= 1e-5, "row {row}");
    }
    assert!(largest_difference(&values(&alone(0)), &values(&alone(1))) > 1e-2);
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
    let message = refused("gpt2", "llama_lora_patterns");
    assert!(message.contains("model.layers"), "{message}");
    let spec = |entry: &str| LoraSpec {
        rank: 1,
        alpha: 1.0,
        target_modules: TargetModules::List(vec![entry.into()]),
        rslora: false,
    };
    let error = Adapter::init(&base("gpt2").expect("base"), &spec("q_proj"), Seed::new(0)).expect_err("refused");
    assert!(error.to_string().contains("q_proj") && error.to_string().contains("c_attn"), "{error}");
}

#[test]
fn requests_choose_their_adapter() {
    let Some(base) = base("llama") else { return };
    let shared = shared_dir().expect("shared");
    let adapter =
        |name: &str| Adapter::load(&shared.join("fixtures/peft").join(name), &Device::Cpu).expect("adapter").frozen();
    let (plain, dora) = (adapter("llama_lora_qv"), adapter("llama_dora"));
    let mut bank = AdapterBank::new(&base);
    bank.add("plain", &plain).expect("fits");
    bank.add("dora", &dora).expect("fits");
    let request = |length: u32| ScoreRequest {
        context: (0..length).map(|i| (i * 37 + 11) % 256).collect(),
        continuation: vec![7, (length * 5) % 256],
    };
    let names = [Some("plain"), None, Some("dora")];
    let requests: Vec<_> = (0..12).map(|i| (names[i % 3], request(3 + (i / 3) as u32))).collect();
    let together = score_with_adapters(&bank, &requests, 4096, &Silent).expect("scores");
    let models = [base.with_adapter(&plain), Ok(base.clone()), base.with_adapter(&dora)];
    for (index, ((_, request), found)) in requests.iter().zip(&together).enumerate() {
        let model = models[index % 3].as_ref().expect("fits");
        let alone = &score(model, std::slice::from_ref(request), 4096, &Silent).expect("score")[0];
        assert!((alone.loglikelihood - found.loglikelihood).abs() < 1e-5, "{index}: {alone:?} {found:?}");
        assert_eq!((alone.is_greedy, alone.num_tokens), (found.is_greedy, found.num_tokens));
    }
    let alike = |a: usize, b: usize| (together[a].loglikelihood - together[b].loglikelihood).abs() < 1e-2;
    assert!(!alike(0, 1) && !alike(1, 2), "the same tokens through other adapters");
}

#[test]
fn target_modules_follow_the_rules_of_peft() {
    let mixtral = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/mixtral");
    let mixtral = LanguageModel::load(&mixtral, &LoadOptions::default()).expect("model");
    let targets = |model: &LanguageModel, target_modules: TargetModules| {
        let spec = LoraSpec { rank: 1, alpha: 1.0, target_modules, rslora: false };
        Adapter::init(model, &spec, Seed::new(0))
            .map(|adapter| adapter.modules().into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let list = |entry: &str| targets(&mixtral, TargetModules::List(vec![entry.into()]));
    let pattern = |pattern: &str| targets(&mixtral, TargetModules::Pattern(pattern.into()));
    // A suffix counts on a dot's boundary alone, so that "proj" is no target and "1.w1" is expert 1 of either block.
    assert_eq!(list("q_proj").expect("targets").len(), 2);
    assert!(list("proj").expect_err("no module ends so").to_string().contains("proj"));
    let expert = list("1.w1").expect("targets");
    assert_eq!(expert.len(), 2);
    assert_eq!(expert[0], "model.layers.0.block_sparse_moe.experts.1.w1");
    assert_eq!(list("model.layers.1.self_attn.q_proj").expect("a whole path").len(), 1);
    // A pattern must match the whole path.
    assert!(pattern("q_proj").is_err());
    assert_eq!(pattern(r".*\.1\.self_attn\.(q|k)_proj").expect("targets").len(), 2);
    assert!(pattern("(").expect_err("malformed").to_string().contains("target_modules"));
    // Every linear layer but the head: four projections, a router and three experts of three, in two blocks.
    for all in ["all-linear", "ALL-LINEAR"] {
        let all = pattern(all).expect("targets");
        assert_eq!(all.len(), 2 * (4 + 1 + 3 * 3));
        assert!(!all.iter().any(|module| module == "lm_head"));
    }
}

#[test]
fn texts_of_one_batch_are_continued_with_their_own_adapters() {
    let Some(base) = base("llama") else { return };
    let shared = shared_dir().expect("shared");
    let names = ["llama_lora_qv", "llama_dora", "llama_lora_all_linear"];
    let load =
        |name: &str| Adapter::load(&shared.join("fixtures/peft").join(name), &Device::Cpu).expect("adapter").frozen();
    let adapters = names.map(load);
    let mut bank = AdapterBank::new(&base);
    names.iter().zip(&adapters).for_each(|(name, adapter)| bank.add(name, adapter).expect("fits"));
    let prompt = |length: u32| (0..length).map(|i| 3 + (i * 29 + length) % 250).collect::<Vec<u32>>();
    let chosen = [Some(names[1]), None, Some(names[0]), Some(names[2])];
    let requests: Vec<GenerateRequest> = (chosen.iter().zip([5, 2, 7, 5]))
        .map(|(name, length)| GenerateRequest { id: format!("{name:?}"), prompt: prompt(length) })
        .collect();
    let options = GenerateOptions { stop: Stop::AtLimit, ..GenerateOptions::greedy(8) };
    let run = |model: &LanguageModel, requests: &[GenerateRequest], options: &GenerateOptions| {
        complete(model, requests, options, &mut NoHooks, &mut |_| {}, &Silent).expect("tokens")
    };
    let together = run(&bank.rows(&chosen).expect("rows"), &requests, &options);
    for ((name, request), found) in chosen.iter().zip(&requests).zip(&together) {
        let adapter = name.and_then(|name| names.iter().position(|known| *known == name)).map(|at| &adapters[at]);
        let model = adapter.map_or(base.clone(), |adapter| base.with_adapter(adapter).expect("fits"));
        let alone = run(&model, std::slice::from_ref(request), &options);
        assert_eq!(alone[0].ids, found.ids, "{name:?}");
        assert_eq!(found.ids.len(), 8);
    }
    assert_ne!(together[0].ids, together[3].ids);
    // Once others have ended, a pass holds some texts alone: here the second and the fourth, with their adapters.
    let model = bank.rows(&chosen).expect("rows");
    let mut cache = model.cache(4, 16).expect("cache");
    let ids = Tensor::new(vec![prompt(5), prompt(5)], &Device::Cpu).expect("ids");
    let spans = [1, 3].map(|row| Span { row, start: 0, tokens: 5 });
    let two = model.extend(&mut cache, &ids, &spans, Readout::All, &mut NoHooks).expect("pass");
    let ids = ids.narrow(0, 0, 1).expect("row");
    for (row, alone) in [base.clone(), base.with_adapter(&adapters[2]).expect("fits")].iter().enumerate() {
        let [found, expected] = [two.get(row), logits(alone, &ids).get(0)].map(|row| values(&row.expect("row")));
        assert!(largest_difference(&found, &expected) <= 1e-5, "row {row}");
    }
}

#[test]
fn requests_of_one_file_name_their_adapters() {
    let folder = std::env::temp_dir().join(format!("counterpath-bank-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let path = |name: &str| folder.join(name).display().to_string();
    let base = LanguageModel::embedded(&Device::Cpu).expect("model");
    for (seed, name) in [(1, "a"), (2, "b")] {
        let spec = LoraSpec {
            rank: 2,
            alpha: 8.0,
            target_modules: TargetModules::List(vec!["q_proj".into(), "down_proj".into()]),
            rslora: false,
        };
        let adapter = moved(Adapter::init(&base, &spec, Seed::new(seed)).expect("adapter"));
        adapter.save(&folder.join(name), "embedded").expect("saved");
    }
    let line = |id: usize, adapter: &str| {
        let adapter = if adapter.is_empty() { String::new() } else { format!(r#""adapter":"{adapter}","#) };
        format!(
            r#"{{"id":{id},{adapter}"context":"felix sent a letter . it told of nine years of work . soon he was","continuation":" not hired"}}"#
        )
    };
    let write = |name: &str, lines: &[String]| std::fs::write(folder.join(name), lines.join("\n")).expect("requests");
    write("mixed.jsonl", &[line(0, "b"), line(1, ""), line(2, "a"), line(3, "b")]);
    write("plain.jsonl", &[line(0, "")]);
    let score = |requests: &str, flags: &[&str]| -> Vec<f64> {
        let (requests, output) = (path(requests), path("scores.jsonl"));
        done(&[&["score", "--model", "embedded", "--requests", &requests, "--output", &output], flags].concat());
        let answers = std::fs::read_to_string(&output).expect("answers");
        let number =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("json")["loglikelihood"].as_f64();
        answers.lines().map(|line| number(line).expect("number")).collect()
    };
    let [a, b] = ["a", "b"].map(path);
    let mixed = score("mixed.jsonl", &["--with-adapter", &format!("a={a}"), "--with-adapter", &format!("b={b}")]);
    let alone =
        [score("plain.jsonl", &["--adapter", &b]), score("plain.jsonl", &[]), score("plain.jsonl", &["--adapter", &a])];
    for (found, expected) in mixed.iter().zip([alone[0][0], alone[1][0], alone[2][0], alone[0][0]]) {
        assert!((found - expected).abs() <= 1e-5, "{mixed:?} {alone:?}");
    }
    assert!((alone[0][0] - alone[2][0]).abs() > 1e-3 && (alone[0][0] - alone[1][0]).abs() > 1e-3, "{alone:?}");
    let (mixed, output) = (path("mixed.jsonl"), path("none.jsonl"));
    let asked = ["score", "--model", "embedded", "--requests", &mixed, "--output", &output];
    refused(&asked, "no named adapters were given");
    refused(
        &[asked.as_slice(), &["--with-adapter", &format!("a={a}")]].concat(),
        "no adapter is called \"b\"; there are: a",
    );
    refused(&[asked.as_slice(), &["--with-adapter", &a]].concat(), "NAME=FOLDER is expected");
}
