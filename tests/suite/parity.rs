//! Parity with the reference implementations: every array of the fixtures' `golden.json`, from both config forms. The
//! fixtures are the shared ones and those of the project itself (`tests/fixtures/parity`); every folder runs.
//!
//! Tolerances: activations and logits max(10 × `f32_vs_f64_max_abs`, 1e-6); loss, long and patch 10 × that of the
//! logits; gradient norms 1e-4 relative, or 1e-7 where that is more; generated tokens equal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Result, Tensor, Var};
use counterpath::base::Silent;
use counterpath::model::generate::{Choice, Stop, generate};
use counterpath::model::score::score;
use counterpath::model::{
    HookKind, HookPoint, Hooks, LanguageModel, LoadOptions, NoHooks, Readout, Record, Row, ScoreRequest,
    target_logprobs,
};
use serde_json::Value;

use crate::shared::{json, largest_difference, numbers, rows, shared_dir};

/// Folders of the shared fixtures, and of the project's own.
const FOLDERS: [usize; 2] = [17, 20];

/// A fixture: a tiny model of one family, and what its reference implementation gave.
pub struct Case {
    pub name: String,
    pub folder: PathBuf,
    golden: Value,
    pub model: LanguageModel,
}

impl Case {
    fn tolerance(&self, key: &str) -> f64 {
        let noise = self.golden["f32_vs_f64_max_abs"][key].as_f64().expect("noise");
        (10.0 * noise).max(1e-6)
    }

    fn check(&self, what: &str, found: &[f64], expected: &Value, tolerance: f64) {
        let expected = numbers(expected);
        assert_eq!(found.len(), expected.len(), "{} {what}", self.name);
        let difference = largest_difference(found, &expected);
        assert!(difference <= tolerance, "{} {what}: {difference:e} > {tolerance:e}", self.name);
    }

    pub fn ids(&self) -> Vec<Vec<u32>> {
        rows(&self.golden["input_ids"])
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values").into_iter().map(f64::from).collect()
}

fn batch(rows: &[Vec<u32>]) -> Tensor {
    Tensor::new(rows.to_vec(), &Device::Cpu).expect("batch")
}

/// The folders of a directory, by name.
fn folders(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("fixtures").map(|entry| entry.expect("entry").path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The fixture's folder with one of its configs, put together in a scratch folder where the legacy one is asked for.
fn with_config(source: &Path, config: &str) -> PathBuf {
    if config == "config.json" {
        return source.to_path_buf();
    }
    // Tests run side by side, so each call has a folder of its own.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let scratch = std::env::temp_dir().join(format!("counterpath-parity-{}-{call}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("scratch folder");
    for (from, to) in [(config, "config.json"), ("model.safetensors", "model.safetensors")] {
        let bytes = std::fs::read(source.join(from)).expect("fixture");
        std::fs::write(scratch.join(to), bytes).expect("scratch file");
    }
    scratch
}

pub fn cases() -> Vec<Case> {
    let own = folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity"));
    assert_eq!(own.len(), FOLDERS[1], "every fixture of the project runs");
    let shared = shared_dir().map(|shared| folders(&shared.join("fixtures/parity")));
    assert!(shared.as_ref().is_none_or(|shared| shared.len() == FOLDERS[0]), "every shared fixture runs");
    let (mut cases, mut refused) = (Vec::new(), Vec::new());
    for source in shared.into_iter().flatten().chain(own) {
        let golden = json(&source.join("golden.json"));
        for config in ["config.json", "config_legacy.json"] {
            let name = format!("{} ({config})", golden["arch"].as_str().expect("name"));
            let folder = with_config(&source, config);
            match LanguageModel::load(&folder, &LoadOptions::default()) {
                Ok(model) => cases.push(Case { name, folder, golden: golden.clone(), model }),
                Err(error) => refused.push(format!("{name}: {error}")),
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    cases
}

#[test]
fn activations_and_logits() {
    for case in cases() {
        let layers = case.model.architecture().n_layers;
        let mut record = Record::new(case.model.hook_points());
        let logits = case.model.forward(&batch(&case.ids()), Readout::All, &mut record).expect("pass");
        let kept = record.take();
        assert_eq!(kept.len(), case.model.hook_points().len(), "{}: every point is reached", case.name);
        let at =
            |kind| -> Vec<f64> { (0..layers).flat_map(|layer| values(&kept[&HookPoint::new(kind, layer)])).collect() };
        let golden = &case.golden;
        let first = values(&kept[&HookPoint::new(HookKind::ResidPre, 0)]);
        case.check("embed", &first, &golden["embed"], case.tolerance("embed"));
        let added = |key: &str| match golden.get(format!("{key}_add")) {
            Some(_) => format!("{key}_add"),
            None => format!("{key}_out"),
        };
        for (kind, key) in [
            (HookKind::ResidPost, "resid_post".to_owned()),
            (HookKind::Z, "z".to_owned()),
            (HookKind::AttnOut, added("attn")),
            (HookKind::MlpOut, added("mlp")),
        ] {
            case.check(&key, &at(kind), &golden[key.as_str()], case.tolerance(&key));
        }
        let sparse = case.model.architecture().blocks.iter().any(|block| block.sparse);
        assert_eq!(sparse, golden.get("expert_weights").is_some(), "{}", case.name);
        if sparse {
            let routed = kept.iter().filter(|(point, _)| point.kind == HookKind::ExpertWeights);
            let weights: Vec<f64> = routed.flat_map(|(_, weights)| values(weights)).collect();
            case.check("expert_weights", &weights, &golden["expert_weights"], case.tolerance("expert_weights"));
        }
        case.check("logits", &values(&logits), &golden["logits"], case.tolerance("logits"));
    }
}

/// What is read of a pass is what the whole pass has there, in any order and number; the last block leaves the rest out.
#[test]
fn what_is_read_is_what_the_whole_pass_has() {
    for case in cases() {
        let ids = case.ids();
        let tokens = ids[0].len();
        let reads: Vec<(usize, usize)> =
            (0..ids.len()).rev().flat_map(|row| [(row, tokens - 1), (row, row), (row, tokens / 2)]).collect();
        let whole = case.model.forward(&batch(&ids), Readout::All, &mut NoHooks).expect("pass");
        let at = |(row, position): &(usize, usize)| values(&whole.get(*row).expect("row").get(*position).expect("at"));
        let expected: Vec<f64> = reads.iter().flat_map(at).collect();
        let read = case.model.forward(&batch(&ids), Readout::Rows(&reads), &mut NoHooks).expect("pass");
        let difference = largest_difference(&values(&read), &expected);
        assert!(difference <= 1e-5, "{}: {difference:e}", case.name);
    }
}

#[test]
fn loss_and_long_sequence() {
    for case in cases() {
        let logprobs = target_logprobs(&case.model, &next_token_rows(&case.ids()), &mut NoHooks).expect("pass");
        let loss = -values(&logprobs).iter().sum::<f64>() / logprobs.elem_count() as f64;
        case.check("loss", &[loss], &case.golden["loss"], case.tolerance("logits"));
        let ids = numbers(&case.golden["long"]["input_ids"]).into_iter().map(|id| id as u32).collect::<Vec<_>>();
        let last = [(0, ids.len() - 1)];
        let logits = case.model.forward(&batch(&[ids]), Readout::Rows(&last), &mut NoHooks).expect("pass");
        case.check("long", &values(&logits), &case.golden["long"]["last_logits"], case.tolerance("logits"));
    }
}

/// Every token but the first is predicted, as `labels = input_ids` does it.
pub fn next_token_rows(ids: &[Vec<u32>]) -> Vec<Row> {
    let row = |ids: &Vec<u32>| Row {
        ids: ids.clone(),
        targets: ids.iter().skip(1).enumerate().map(|(position, token)| (position, *token)).collect(),
    };
    ids.iter().map(row).collect()
}

#[test]
fn gradient_norms_of_every_parameter() {
    for case in cases() {
        let config = json(&case.folder.join("config.json"));
        let mut vars: BTreeMap<String, Var> = (case.model.tensors().iter())
            .map(|(name, tensor)| (name.clone(), Var::from_tensor(tensor).expect("variable")))
            .collect();
        let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let model = LanguageModel::from_parts(&config, tensors, None, &Device::Cpu).expect("model");
        let logprobs = target_logprobs(&model, &next_token_rows(&case.ids()), &mut NoHooks).expect("pass");
        let gradients = logprobs.mean_all().and_then(|mean| mean.neg()?.backward()).expect("backward");
        let expected = case.golden["grad_norm"].as_object().expect("norms");
        // GPT-NeoX checkpoints store the head under the name that it had before transformers 5.
        if let Some(head) = vars.remove("embed_out.weight") {
            vars.insert("lm_head.weight".into(), head);
        }
        assert_eq!(expected.keys().collect::<std::collections::BTreeSet<_>>(), vars.keys().collect(), "{}", case.name);
        for (name, norm) in expected {
            // An expert that no token chose gets no gradient here and a zero one there.
            let gradient = gradients.get(&vars[name]).map(values).unwrap_or_default();
            let found = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let norm = norm.as_f64().expect("norm");
            // Where nothing but rounding is left (a bias on keys that are not turned), relative says nothing.
            let tolerance = (1e-4 * norm).max(1e-7);
            assert!((found - norm).abs() <= tolerance, "{} {name}: {found} against {norm}", case.name);
        }
    }
}

#[test]
fn greedy_continuation() {
    for case in cases() {
        for (prompt, expected) in case.ids().iter().zip(rows(&case.golden["generate"]["new_tokens"])) {
            let found = generate(&case.model, prompt, expected.len(), &Choice::Greedy, Stop::AtLimit).expect("tokens");
            assert_eq!(found, expected, "{}", case.name);
        }
    }
}

/// Puts the stored activation in at one index of a dimension.
struct Patch {
    point: HookPoint,
    source: Tensor,
    dimension: usize,
    index: usize,
}

impl Hooks for Patch {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.point
    }

    fn at(&mut self, _: HookPoint, activation: Tensor) -> Result<Tensor> {
        let size = activation.dim(self.dimension)?;
        let part = |tensor: &Tensor, start, len| tensor.narrow(self.dimension, start, len);
        let after = self.index + 1;
        let parts = [
            part(&activation, 0, self.index)?,
            part(&self.source, self.index, 1)?,
            part(&activation, after, size - after)?,
        ];
        Tensor::cat(&parts, self.dimension)
    }
}

#[test]
fn patching_effects() {
    for case in cases() {
        let golden = &case.golden["patch"];
        let token = |key: &str| golden[key].as_u64().expect("token") as usize;
        let (a, b) = (token("token_a"), token("token_b"));
        let ids = case.ids();
        let (destination, source) = (&ids[0], &ids[1]);
        let metric = |ids: &Vec<u32>, hooks: &mut dyn Hooks| {
            let last = [(0, ids.len() - 1)];
            let logits =
                case.model.forward(&batch(std::slice::from_ref(ids)), Readout::Rows(&last), hooks).expect("pass");
            let logits = values(&logits);
            logits[a] - logits[b]
        };
        let mut record = Record::new(case.model.hook_points());
        let tolerance = case.tolerance("logits");
        case.check("metric_source", &[metric(source, &mut record)], &golden["metric_source"], tolerance);
        case.check(
            "metric_destination",
            &[metric(destination, &mut NoHooks)],
            &golden["metric_destination"],
            tolerance,
        );
        let kept = record.take();
        let architecture = case.model.architecture();
        let sweep = |kind, dimension, size| -> Vec<f64> {
            let cells = (0..architecture.n_layers).flat_map(|layer| (0..size).map(move |index| (layer, index)));
            let cell = |(layer, index)| {
                let point = HookPoint::new(kind, layer);
                metric(destination, &mut Patch { point, source: kept[&point].clone(), dimension, index })
            };
            cells.map(cell).collect()
        };
        let resid = sweep(HookKind::ResidPre, 1, destination.len());
        case.check("patch resid_pre", &resid, &golden["resid_pre_layer_pos"], tolerance);
        case.check("patch z", &sweep(HookKind::Z, 2, architecture.n_heads), &golden["z_layer_head"], tolerance);
    }
}

#[test]
fn replacing_every_activation_with_itself_changes_nothing() {
    struct Same(HookPoint);
    impl Hooks for Same {
        fn wants(&self, point: HookPoint) -> bool {
            point == self.0
        }
        fn at(&mut self, _: HookPoint, activation: Tensor) -> Result<Tensor> {
            activation.copy()
        }
    }
    for case in cases() {
        let ids = batch(&case.ids());
        let plain = case.model.forward(&ids, Readout::All, &mut NoHooks).expect("pass");
        for point in case.model.hook_points() {
            let hooked = case.model.forward(&ids, Readout::All, &mut Same(point)).expect("pass");
            let difference = largest_difference(&values(&hooked), &values(&plain));
            // Probabilities that somebody reads come from another kernel than those that nobody does.
            let tolerance = if point.kind == HookKind::Pattern { case.tolerance("logits") } else { 0.0 };
            assert!(difference <= tolerance, "{} {point}: {difference:e}", case.name);
        }
    }
}

#[test]
fn every_hook_point_is_written_where_it_is_read() {
    struct Shift(HookPoint);
    impl Hooks for Shift {
        fn wants(&self, point: HookPoint) -> bool {
            point == self.0
        }
        fn at(&mut self, _: HookPoint, activation: Tensor) -> Result<Tensor> {
            // Different at every position: one shift of all keys would cancel in the softmax.
            let wave = (0..activation.elem_count()).map(|i| 0.3 * (i as f32).sin()).collect();
            &activation + Tensor::from_vec(wave, activation.shape(), activation.device())?
        }
    }
    for case in cases() {
        let ids = batch(&case.ids());
        let plain = case.model.forward(&ids, Readout::All, &mut NoHooks).expect("pass");
        for point in case.model.hook_points() {
            let shifted = case.model.forward(&ids, Readout::All, &mut Shift(point)).expect("pass");
            let difference = largest_difference(&values(&shifted), &values(&plain));
            assert!(difference > 1e-3, "{} {point}: writing changed the logits by {difference:e}", case.name);
        }
    }
}

#[test]
fn rows_whose_frequencies_follow_the_length_are_not_padded_together() {
    let mut seen = 0;
    for case in cases().into_iter().filter(|case| case.name.contains("longrope") || case.name.contains("dynamic")) {
        let request = |length: u32| ScoreRequest {
            context: (0..length).map(|i| (i * 7 + 3) % 48).collect(),
            continuation: vec![5],
        };
        let requests = [request(40), request(8), request(36), request(20)];
        let together = score(&case.model, &requests, 4096, &Silent).expect("scores");
        for (request, expected) in requests.iter().zip(&together) {
            let alone = &score(&case.model, std::slice::from_ref(request), 4096, &Silent).expect("score")[0];
            assert!((alone.loglikelihood - expected.loglikelihood).abs() < 1e-5, "{}", case.name);
        }
        let row = |length: u32| Row { ids: vec![3; length as usize], targets: vec![(0, 5)] };
        let error = target_logprobs(&case.model, &[row(8), row(40)], &mut NoHooks).expect_err("refused");
        assert!(error.to_string().contains("8") && error.to_string().contains("40"), "{error}");
        seen += 1;
    }
    assert!(seen >= 2);
}
