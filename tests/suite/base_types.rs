//! Bases that are kept in fewer bits than they are computed in.

use std::path::PathBuf;

use candle_core::quantized::GgmlDType;
use candle_core::{Device, Tensor};
use counterpath::base::{Seed, Silent};
use counterpath::model::generate::{Choice, Stop, generate};
use counterpath::model::{
    Adapter, BaseType, LanguageModel, LoadOptions, LoraSpec, NoHooks, Readout, Row, ScoreRequest, Special,
    TargetModules, score, target_logprobs,
};

use crate::formats::gguf;
use crate::shared::shared_dir;

fn folder(name: &str) -> Option<PathBuf> {
    Some(shared_dir()?.join(name))
}

fn load(folder: &std::path::Path, base: &str) -> LanguageModel {
    let base: BaseType = base.parse().expect("type");
    LanguageModel::load(folder, &LoadOptions { base, ..LoadOptions::default() }).expect("model")
}

fn logits(model: &LanguageModel, ids: &[u32]) -> Vec<f32> {
    let ids_bt = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).expect("ids");
    let logits = model.forward(&ids_bt, Readout::All, &mut NoHooks).expect("pass");
    logits.flatten_all().expect("flat").to_vec1().expect("values")
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Tied and untied heads, `[in, out]` weights, gated and plain MLPs, gradients of an adapter.
#[test]
fn a_packed_base_computes_what_its_rounded_weights_compute() {
    let ids: Vec<u32> = (0..24).map(|i| (i * 37 + 11) % 200).collect();
    for name in ["llama", "gpt2", "gemma2", "phi3"] {
        let Some(folder) = folder(&format!("fixtures/parity/{name}")) else { return };
        let wide = load(&folder, "f32");
        let reference = logits(&wide, &ids);
        let mut errors = Vec::new();
        for base in ["bf16", "q8_0", "q4_k"] {
            let packed = load(&folder, base);
            assert_eq!(packed.parameter_count(), wide.parameter_count(), "{name} {base}");
            assert_ne!(packed.digest(), wide.digest(), "{name} {base}: rounding shows in the digest");
            errors.push(apart(&logits(&packed, &ids), &reference));
        }
        let size = reference.iter().fold(0f32, |most, logit| most.max(logit.abs()));
        // A relative rounding of 2⁻⁹ (bf16) and of about 2⁻⁸ (q8_0), over a few layers.
        assert!(errors[0] > 0.0 && errors[0] < 0.05 * size, "{name}: {errors:?} of {size}");
        assert!(errors[1] > 0.0 && errors[1] < 0.05 * size, "{name}: {errors:?} of {size}");
        // Rounding to bf16 first and keeping it, or computing with the rounded weights in f32, is the same.
        let spec =
            LoraSpec { rank: 2, alpha: 4.0, target_modules: TargetModules::Pattern("all-linear".into()), ..spec() };
        let adapter = Adapter::init(&wide, &spec, Seed::new(5)).expect("adapter");
        let rows = [Row { ids: ids.clone(), targets: (1..24).map(|at| (at - 1, ids[at])).collect() }];
        let gradient = |model: &LanguageModel| {
            let model = model.with_adapter(&adapter).expect("adapted");
            let loss = target_logprobs(&model, &rows, &mut NoHooks).and_then(|l| Ok(l.mean_all()?)).expect("loss");
            let gradients = loss.backward().expect("gradients");
            let all = adapter.trainable().into_iter().map(|(name, var)| gradients.get(&var).expect(&name).clone());
            let flat = all.map(|gradient| gradient.flatten_all().expect("flat")).collect::<Vec<_>>();
            Tensor::cat(&flat, 0).expect("all").to_vec1::<f32>().expect("values")
        };
        let (exact, rounded) = (gradient(&wide), gradient(&load(&folder, "bf16")));
        let most = exact.iter().fold(0f32, |most, g| most.max(g.abs()));
        assert!(most > 0.0 && apart(&exact, &rounded) < 0.1 * most, "{name}: {} of {most}", apart(&exact, &rounded));
    }
}

fn spec() -> LoraSpec {
    LoraSpec { rank: 1, alpha: 1.0, target_modules: TargetModules::Pattern("all-linear".into()), rslora: false }
}

#[test]
fn a_file_kept_as_it_is_keeps_its_digest_and_a_real_model_its_story() {
    let Some(folder) = folder("data/models/stories260K") else { return };
    let wide = load(&folder, "f32");
    let tokenizer = wide.tokenizer().expect("tokenizer");
    let prompt = tokenizer.encode("Once upon a time", Special::Default).expect("tokens").ids;
    let story = |model: &LanguageModel| generate(model, &prompt, 24, &Choice::Greedy, Stop::AtEnd).expect("tokens");
    assert_eq!(story(&load(&folder, "q8_0")), story(&wide));
    assert_eq!(load(&folder, "keep").digest(), wide.digest(), "an f32 file has nothing to keep");
    let request = ScoreRequest { context: prompt.clone(), continuation: story(&wide) };
    let loss = |model: &LanguageModel| {
        score::score(model, std::slice::from_ref(&request), 512, &Silent).expect("score")[0].loglikelihood
    };
    let (exact, rounded) = (loss(&wide), loss(&load(&folder, "q8_0")));
    assert!((exact - rounded).abs() < 0.3 && exact != rounded, "{exact} {rounded}");
}

/// Blocks of a file are taken over as they stand, rows in the order of the reference.
#[test]
fn blocks_of_a_gguf_file_stay_as_they_are() {
    for (family, kind) in [("llama", GgmlDType::Q8_0), ("llama", GgmlDType::F16), ("gemma2", GgmlDType::Q8_0)] {
        let folder = std::env::temp_dir().join(format!("counterpath-base-{family}-{kind:?}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let path = folder.join("model.gguf");
        std::fs::write(&path, gguf(family, |_| kind, vec![])).expect("file");
        let (kept, wide) = (load(&path, "keep"), load(&path, "f32"));
        assert_eq!(kept.digest(), wide.digest(), "{family} {kind:?}: the same numbers");
        assert!(kept.tensors().len() < wide.tensors().len(), "{family} {kind:?}: matrices are packed");
        let ids: Vec<u32> = (1..9).collect();
        let (found, expected) = (logits(&kept, &ids), logits(&wide, &ids));
        assert!(apart(&found, &expected) < 1e-4, "{family} {kind:?}: {}", apart(&found, &expected));
        assert_ne!(load(&path, "q4_0").digest(), wide.digest(), "{family} {kind:?}: rounded again");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
