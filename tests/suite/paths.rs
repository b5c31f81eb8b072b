//! Path patching on every family, against brute force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use counterpath::base::seed::index;
use counterpath::base::{Seed, Silent};
use counterpath::intervene::path::{Ablation, Edge, EdgeMask, PathRunner, Receiver, Sender, SenderMeans};
use counterpath::intervene::{Job, NaiveEngine, Outcome, Plan, Side, SweepEngine, TokenPair};
use counterpath::model::{HookKind, HookPoint, Hooks, LanguageModel, LoadOptions, Part, Readout, TokenizedPrompt};

use crate::shared::shared_dir;
use crate::tiny::tiny_model;

/// Random pairs of equal length; answers of one token, or of one and two.
pub fn pairs(model: &LanguageModel, number: usize, long: bool) -> Vec<TokenPair> {
    let vocabulary = model.architecture().vocab_size;
    let mut rng = Seed::new(3).fork("pairs").rng();
    let mut token = || 3 + index(&mut rng, vocabulary - 3) as u32;
    (0..number)
        .map(|at| {
            let factual: Vec<u32> = (0..5 + at % 2).map(|_| token()).collect();
            let mut counterfactual = factual.clone();
            counterfactual[1] = (factual[1] + 1) % vocabulary as u32;
            counterfactual[3] = (factual[3] + 2) % vocabulary as u32;
            let a = token();
            let b = (a + 1) % vocabulary as u32;
            let answers = if long { vec![vec![a, token()], vec![b]] } else { vec![vec![a], vec![b]] };
            let side = |ids| TokenizedPrompt { ids, answers: answers.clone(), slots: Vec::new() };
            TokenPair::new(format!("p{at}"), format!("c{at}"), side(factual), side(counterfactual)).expect("pair")
        })
        .collect()
}

/// The tiny Llama and every parity fixture: all families that the project and the shared folder have.
pub fn models() -> Vec<(String, LanguageModel)> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
    let folders = [Some(own), shared_dir().map(|shared| shared.join("fixtures/parity"))];
    let mut models = vec![("tiny".to_owned(), tiny_model(5))];
    for folder in folders.into_iter().flatten() {
        let entries = std::fs::read_dir(&folder).expect("fixtures").map(|entry| entry.expect("entry").path());
        let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        found.sort();
        for path in found {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            models.push((name, LanguageModel::load(&path, &LoadOptions::default()).expect("model")));
        }
    }
    models
}

pub fn plain(model: &LanguageModel, pairs: &[TokenPair], side: Side) -> Vec<f64> {
    let plans = [Plan::nothing(side)];
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    let outcomes = NaiveEngine::default().outcomes(model, &jobs, Outcome::Contrast, &Silent).expect("plain runs");
    outcomes.into_iter().map(|values| values[0]).collect()
}

pub fn close(found: f64, expected: f64, scale: f64, tolerance: f64, what: &str) {
    let off = (found - expected).abs();
    assert!(off <= tolerance * scale.max(1e-3), "{what}: {found} against {expected} (scale {scale})");
}

/// The metric of each pair with one mask, its declared sign applied: pairs made here are all forward.
pub fn metric(runner: &PathRunner<'_>, pairs: &[TokenPair], mask: &EdgeMask) -> f64 {
    let masks = std::slice::from_ref(mask);
    let how = (Ablation::Counterfactual, Outcome::Contrast);
    let outcomes = runner.outcomes(pairs, masks, Side::Factual, how, &Silent).expect("runs");
    -outcomes.iter().map(|values| values[0]).sum::<f64>() / pairs.len() as f64
}

#[test]
fn a_whole_circuit_is_the_plain_run_and_an_empty_one_the_donors() {
    for (name, model) in models() {
        for long in [false, true] {
            let pairs = pairs(&model, 3, long);
            let runner = PathRunner::new(&model).expect("runner");
            let masks = [EdgeMask::whole(runner.graph()), EdgeMask::empty(runner.graph())];
            let how = (Ablation::Counterfactual, Outcome::Contrast);
            for side in [Side::Factual, Side::Counterfactual] {
                let outcomes = runner.outcomes(&pairs, &masks, side, how, &Silent).expect("runs");
                let (own, donor) = (plain(&model, &pairs, side), plain(&model, &pairs, side.other()));
                for (number, values) in outcomes.iter().enumerate() {
                    let scale = own[number].abs().max(donor[number].abs());
                    assert!((own[number] - donor[number]).abs() > 1e-3 * scale, "{name}: nothing to patch");
                    close(values[0], own[number], scale, 1e-5, &format!("{name} whole"));
                    close(values[1], donor[number], scale, 2e-4, &format!("{name} empty"));
                }
            }
        }
    }
}

/// Puts tensors in and keeps others.
#[derive(Default)]
struct Put {
    values: BTreeMap<HookPoint, Tensor>,
    keep: Option<HookPoint>,
    kept: Option<Tensor>,
}

impl Hooks for Put {
    fn wants(&self, point: HookPoint) -> bool {
        self.values.contains_key(&point) || self.keep == Some(point)
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> candle_core::Result<Tensor> {
        if self.keep == Some(point) {
            self.kept = Some(activation.clone());
        }
        Ok(self.values.get(&point).cloned().unwrap_or(activation))
    }
}

pub fn ids(pair: &TokenPair, side: Side) -> Tensor {
    Tensor::new(vec![pair.side(side).ids.clone()], &Device::Cpu).expect("ids")
}

pub fn kept(model: &LanguageModel, ids: &Tensor, values: BTreeMap<HookPoint, Tensor>, keep: HookPoint) -> Tensor {
    let mut hooks = Put { values, keep: Some(keep), kept: None };
    model.forward(ids, Readout::All, &mut hooks).expect("pass");
    hooks.kept.expect("kept")
}

/// z with every head but one at zero, or all of them.
pub fn alone(z: &Tensor, head: Option<usize>) -> Tensor {
    let heads = z.dim(2).expect("heads");
    let mask: Vec<f32> = (0..heads).map(|at| f32::from(u8::from(Some(at) == head))).collect();
    z.broadcast_mul(&Tensor::from_vec(mask, (1, 1, heads, 1), &Device::Cpu).expect("mask")).expect("z")
}

#[test]
fn a_single_edge_is_what_brute_force_gives() {
    for (name, model) in models() {
        let architecture = model.architecture().clone();
        let runner = PathRunner::new(&model).expect("runner");
        let post_norm = ["gemma2", "gemma3_text", "olmo2"].contains(&name.as_str());
        let pairs = pairs(&model, 1, false);
        let pair = &pairs[0];
        let layer = architecture.n_layers - 1;
        let (from, to) = (HookPoint::new(HookKind::Z, 0), HookPoint::new(HookKind::AttnOut, 0));
        let own_z = kept(&model, &ids(pair, Side::Factual), BTreeMap::new(), from);
        let other_z = kept(&model, &ids(pair, Side::Counterfactual), BTreeMap::new(), from);
        // What head 1 adds, by running with all others at zero. Under a norm behind attention that is another thing.
        let added = |z: &Tensor| kept(&model, &ids(pair, Side::Factual), [(from, alone(z, Some(1)))].into(), to);
        let head = (added(&other_z) - added(&own_z)).expect("difference");
        let sent = HookPoint::new(HookKind::MlpOut, 0);
        let mlp = (kept(&model, &ids(pair, Side::Counterfactual), BTreeMap::new(), sent)
            - kept(&model, &ids(pair, Side::Factual), BTreeMap::new(), sent))
        .expect("difference");
        let senders = [(Sender::Head { layer: 0, head: 1 }, head), (Sender::Mlp { layer: 0 }, mlp)];
        let parts = [(Part::Query, HookKind::Q), (Part::Key, HookKind::K), (Part::Value, HookKind::V)];
        for (sender, difference) in
            senders.iter().filter(|(sender, _)| !post_norm || matches!(sender, Sender::Mlp { .. }))
        {
            let mut cases = Vec::new();
            for (part, kind) in parts {
                let (pre, here) = (HookPoint::new(HookKind::ResidPre, layer), HookPoint::new(kind, layer));
                let stream = kept(&model, &ids(pair, Side::Factual), BTreeMap::new(), pre);
                let moved = (stream + difference).expect("stream");
                let own = kept(&model, &ids(pair, Side::Factual), BTreeMap::new(), here);
                let other = kept(&model, &ids(pair, Side::Factual), [(pre, moved)].into(), here);
                let unit = own.dim(2).expect("units") - 1;
                let kept_units = own.narrow(2, 0, unit).expect("units");
                let new = Tensor::cat(&[kept_units, other.narrow(2, unit, 1).expect("unit")], 2).expect("units");
                cases.push((Receiver::Attention { layer, part, unit }, here, new));
            }
            let stream_cases = [(Receiver::Mlp { layer }, HookKind::MlpIn), (Receiver::Logits, HookKind::ResidPost)];
            for (receiver, kind) in stream_cases {
                let here = HookPoint::new(kind, layer);
                let own = kept(&model, &ids(pair, Side::Factual), BTreeMap::new(), here);
                cases.push((receiver, here, (own + difference).expect("stream")));
            }
            for (receiver, here, value) in cases {
                let edge = Edge { sender: *sender, receiver };
                let mask = EdgeMask::cutting(runner.graph(), [edge]);
                let found = -metric(&runner, &pairs, &mask);
                let mut hooks = Put { values: [(here, value)].into(), ..Put::default() };
                let last = pair.factual.ids.len() - 1;
                let logits = model.forward(&ids(pair, Side::Factual), Readout::Rows(&[(0, last)]), &mut hooks);
                let logits = logits.expect("pass").flatten_all().and_then(|all| all.to_vec1::<f32>()).expect("logits");
                let [a, b] = pair.answers(Side::Factual).map(|answer| f64::from(logits[answer[0] as usize]));
                let text = format!("{name} {}", runner.graph().name(edge));
                close(found, a - b, (a - b).abs().max(1.0), 2e-5, &text);
                let untouched = plain(&model, &pairs, Side::Factual)[0];
                // A parallel block's first MLP sees what stands at its own position alone.
                if receiver == Receiver::Logits && !architecture.parallel_residual {
                    assert!((found - untouched).abs() > 1e-4, "{text}: cutting it changes nothing");
                }
            }
        }
    }
}

#[test]
fn zero_and_mean_ablation_cut_to_what_they_say() {
    let model = tiny_model(8);
    let pairs: Vec<TokenPair> = pairs(&model, 4, false).into_iter().step_by(2).collect();
    let runner = PathRunner::new(&model).expect("runner");
    let graph = runner.graph();
    let mlp = |layer| HookPoint::new(HookKind::MlpOut, layer);
    let all: Vec<Edge> = graph.edges().filter(|edge| edge.sender == Sender::Mlp { layer: 1 }).collect();
    assert_eq!(all.len(), 1, "the last MLP reaches the logits alone");
    let mask = [EdgeMask::cutting(graph, all)];
    let run =
        |ablation| runner.outcomes(&pairs, &mask, Side::Factual, (ablation, Outcome::Contrast), &Silent).expect("runs");
    let outputs: Vec<Tensor> = pairs
        .iter()
        .flat_map(|pair| {
            [Side::Factual, Side::Counterfactual].map(|side| kept(&model, &ids(pair, side), BTreeMap::new(), mlp(1)))
        })
        .collect();
    let all = Tensor::cat(&outputs, 0).expect("outputs");
    let mean = all.mean_keepdim(0).and_then(|mean| mean.mean_keepdim(1)).expect("mean");
    let (over, by) = (SenderMeans::over(&model, &pairs).expect("means"), SenderMeans::by_position(&model, &pairs));
    let by = by.expect("means by position");
    let cases = [
        (Ablation::Zero, all.mean_keepdim(0).and_then(|mean| mean.zeros_like()).expect("zero")),
        (Ablation::Mean(&over), mean.broadcast_as((1, 5, 16)).expect("mean")),
        (Ablation::Mean(&by), all.mean_keepdim(0).expect("means")),
    ];
    let mut seen = Vec::new();
    for (ablation, value) in cases {
        for (pair, values) in pairs.iter().zip(run(ablation)) {
            let mut hooks = Put { values: [(mlp(1), value.clone())].into(), ..Put::default() };
            let logits = model.forward(&ids(pair, Side::Factual), Readout::Rows(&[(0, 4)]), &mut hooks).expect("pass");
            let logits = logits.flatten_all().and_then(|all| all.to_vec1::<f32>()).expect("logits");
            let [a, b] = pair.answers(Side::Factual).map(|answer| f64::from(logits[answer[0] as usize]));
            close(values[0], a - b, 1.0, 2e-5, ablation.name());
            seen.push(values[0]);
        }
    }
    assert!((seen[0] - seen[2]).abs() > 1e-3 && (seen[2] - seen[4]).abs() > 1e-3, "the ablations differ: {seen:?}");
}
