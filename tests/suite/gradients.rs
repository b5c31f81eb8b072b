//! Gradients of whole models by finite differences, and what does and does not get one.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use counterpath::base::Seed;
use counterpath::base::seed::normal;
use counterpath::model::{
    Adapter, HookKind, HookPoint, Hooks, LanguageModel, LoraSpec, NoHooks, Row, TargetModules, target_logprobs,
};
use serde_json::Value;

use crate::small;

const STEP: f32 = 5e-3;

fn rows() -> Vec<Row> {
    vec![
        Row { ids: vec![1, 5, 9, 3, 7], targets: vec![(2, 4), (4, 6)] },
        Row { ids: vec![1, 8, 2], targets: vec![(0, 8), (2, 11)] },
    ]
}

fn loss(model: &LanguageModel, hooks: &mut dyn Hooks) -> Tensor {
    let logprobs = target_logprobs(model, &rows(), hooks).expect("pass");
    logprobs.sum_all().and_then(|sum| sum.neg()).expect("loss")
}

fn scalar(tensor: &Tensor) -> f64 {
    f64::from(tensor.to_scalar::<f32>().expect("scalar"))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")
}

/// The slopes of the loss at some elements of each variable equal their gradients.
fn check(model: &LanguageModel, vars: &[(String, Var)]) {
    let gradients = loss(model, &mut NoHooks).backward().expect("backward");
    for (name, var) in vars {
        let gradient = values(gradients.get(var).unwrap_or_else(|| panic!("{name} gets no gradient")));
        assert!(gradient.iter().any(|g| *g != 0.0), "{name}: its gradient is zero");
        let base = values(var);
        let scale = gradient.iter().fold(0.3f32, |scale, g| scale.max(g.abs()));
        for element in (0..base.len()).step_by((base.len() / 5).max(1)) {
            let at = |step: f32| {
                let mut moved = base.clone();
                moved[element] += step;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).expect("tensor")).expect("set");
                scalar(&loss(model, &mut NoHooks))
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
            let difference = (slope - f64::from(gradient[element])).abs();
            assert!(difference < 5e-3 * f64::from(scale), "{name}[{element}]: {slope} against {}", gradient[element]);
        }
        var.set(&Tensor::from_vec(base, var.shape(), &Device::Cpu).expect("tensor")).expect("set");
    }
}

fn configs() -> [Value; 2] {
    [small::llama_config(), small::gpt2_config()]
}

fn adapter(model: &LanguageModel) -> Adapter {
    let spec =
        LoraSpec { rank: 2, alpha: 3.0, target_modules: TargetModules::Pattern("all-linear".into()), rslora: false };
    let adapter = Adapter::init(model, &spec, Seed::new(4)).expect("adapter");
    // B is moved away from zero, or A would get no gradient.
    for (name, var) in adapter.trainable() {
        let mut rng = Seed::new(5).fork(&name).rng();
        let random = (0..var.elem_count()).map(|_| 0.3 * normal(&mut rng) as f32).collect();
        var.set(&Tensor::from_vec(random, var.shape(), &Device::Cpu).expect("tensor")).expect("set");
    }
    adapter
}

#[test]
fn through_an_adapter_on_every_layer() {
    for config in configs() {
        let base = small::model(&config);
        let adapter = adapter(&base);
        let model = base.with_adapter(&adapter).expect("fits");
        check(&model, &adapter.trainable());
        let gradients = loss(&model, &mut NoHooks).backward().expect("backward");
        for (name, tensor) in base.tensors() {
            assert!(gradients.get(tensor).is_none(), "frozen {name} got a gradient");
        }
        // Beside the factors candle keeps the gradient of one operand of the first sum, the embedded tokens.
        assert!(gradients.get_ids().count() <= adapter.trainable().len() + 1, "nothing else is kept");
    }
}

#[test]
fn through_the_blocks_of_other_families() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
    // Experts and their router; neighbouring channels turned; scaled residuals; norms of each head's own.
    for name in ["mixtral", "gptj", "granite", "cohere_qk_norm"] {
        let base = LanguageModel::load(&fixtures.join(name), &Default::default()).expect("model");
        let adapter = adapter(&base);
        let model = base.with_adapter(&adapter).expect("fits");
        check(&model, &adapter.trainable());
    }
}

#[test]
fn of_every_weight_in_full_training() {
    for config in configs() {
        let vars: BTreeMap<String, Var> = (small::tensors(&config).into_iter())
            .map(|(name, tensor)| (name, Var::from_tensor(&tensor).expect("variable")))
            .collect();
        let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let model = LanguageModel::from_parts(&config, tensors, None, &Device::Cpu).expect("model");
        check(&model, &vars.into_iter().collect::<Vec<_>>());
    }
}

/// Puts a tensor in at one point.
struct Put(HookPoint, Tensor);

impl Hooks for Put {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.0
    }

    fn at(&mut self, _: HookPoint, _: Tensor) -> candle_core::Result<Tensor> {
        Ok(self.1.clone())
    }
}

#[test]
fn through_what_a_hook_puts_in() {
    for config in configs() {
        let model = small::model(&config);
        for kind in [
            HookKind::ResidMid,
            HookKind::Q,
            HookKind::K,
            HookKind::V,
            HookKind::Pattern,
            HookKind::Z,
            HookKind::MlpPre,
        ] {
            let point = HookPoint::new(kind, 1);
            let mut record = counterpath::model::Record::new([point]);
            loss(&model, &mut record);
            let kept = record.take().remove(&point).expect("kept");
            let var = Var::from_tensor(&kept.contiguous().expect("copy")).expect("variable");
            let gradients = loss(&model, &mut Put(point, var.as_tensor().clone())).backward().expect("backward");
            let gradient = values(gradients.get(&var).expect("gradient"));
            let element =
                (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).expect("one");
            let at = |step: f32| {
                let mut moved = values(&kept);
                moved[element] += step;
                let moved = Tensor::from_vec(moved, kept.shape(), &Device::Cpu).expect("tensor");
                scalar(&loss(&model, &mut Put(point, moved)))
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
            let expected = f64::from(gradient[element]);
            assert!((slope - expected).abs() < 1e-2 * expected.abs().max(0.1), "{point}: {slope} against {expected}");
        }
    }
}
