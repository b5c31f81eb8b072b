//! Each term of the objective: its gradient against finite differences, its value against an independent computation.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use counterpath::base::Seed;
use counterpath::base::seed::normal;
use counterpath::intervene::{Side, Site, SiteKind, SourceGradient, TokenPair, joint_outcomes};
use counterpath::model::{Adapter, LanguageModel, ScoreRequest, TargetModules, score};
use counterpath::tune::data::Batch;
use counterpath::tune::objective::{Objective, ShareError};
use counterpath::tune::{AnchorAt, Distance, FollowLoss, TuneData, TuneSpec, Weights};

use super::world::{self, Answers};

struct Setting {
    base: LanguageModel,
    tuned: LanguageModel,
    adapter: Adapter,
    data: TuneData,
}

/// A trained base, and an adapter whose both factors are already away from 0, so that every gradient is.
fn setting(answers: Answers) -> Setting {
    let base = world::model().0.clone();
    let spec = TuneSpec::default();
    let lora = counterpath::model::LoraSpec {
        rank: 2,
        target_modules: TargetModules::Pattern("all-linear".into()),
        ..spec.lora
    };
    let adapter = Adapter::init(&base, &lora, Seed::new(4)).expect("adapter");
    let mut rng = Seed::new(9).rng();
    for (name, var) in adapter.trainable() {
        if name.contains("lora_B") {
            let values: Vec<f32> = (0..var.elem_count()).map(|_| (0.05 * normal(&mut rng)) as f32).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).expect("values")).expect("set");
        }
    }
    let tuned = base.with_adapter(&adapter).expect("fits");
    Setting { base, tuned, adapter, data: world::data(answers, 6, 2) }
}

fn only(weights: impl Fn(&mut Weights)) -> TuneSpec {
    let mut spec = TuneSpec { ramp: 0.0, ..TuneSpec::default() };
    spec.weights = Weights { task: 0.0, canary: 0.0, consistency: 0.0, follow: 0.0, mediation: 0.0, anchor: 0.0 };
    weights(&mut spec.weights);
    spec
}

fn mediation(sites: Vec<Site>, source: SourceGradient) -> TuneSpec {
    TuneSpec {
        penalty_sites: BTreeMap::from([("world".into(), sites)]),
        mediation_source: source,
        ..only(|w| w.mediation = 1.0)
    }
}

fn batch(data: &TuneData) -> Batch<'_> {
    Batch {
        task: data.task.iter().collect(),
        invariant: data.invariant.iter().collect(),
        follow: data.follow.iter().collect(),
        canaries: data.canaries.iter().collect(),
    }
}

fn loss(setting: &Setting, spec: &TuneSpec) -> Tensor {
    let (objective, batch) = (Objective::new(spec), batch(&setting.data));
    let units = objective.units(&batch);
    match objective.share((&setting.tuned, &setting.base), &batch, &units, 0, &mut BTreeMap::new()) {
        Ok(Some(loss)) => loss,
        Ok(None) => panic!("no term speaks"),
        Err(ShareError::NotFinite { term, value }) => panic!("{term} is {value}"),
        Err(ShareError::Failed(error)) => panic!("{error}"),
    }
}

fn scalar(tensor: &Tensor) -> f64 {
    f64::from(tensor.to_scalar::<f32>().expect("a scalar"))
}

fn gradient(setting: &Setting, loss: &Tensor) -> Vec<Vec<f32>> {
    let store = loss.backward().expect("backward");
    let of = |(name, var): (String, Var)| {
        let gradient = store.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
        gradient.flatten_all().and_then(|flat| flat.to_vec1()).expect("values")
    };
    setting.adapter.trainable().into_iter().map(of).collect()
}

fn dot(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn shifted(setting: &Setting, spec: &TuneSpec, direction: &[Vec<f32>], by: f64) -> f64 {
    let start: Vec<Tensor> =
        setting.adapter.trainable().iter().map(|(_, var)| var.as_detached_tensor().copy().expect("copy")).collect();
    for ((_, var), along) in setting.adapter.trainable().iter().zip(direction) {
        let step =
            Tensor::new(along.as_slice(), &Device::Cpu).and_then(|step| step.reshape(var.shape())).expect("step");
        var.set(&(var.as_detached_tensor() + (step * by).expect("scaled")).expect("moved")).expect("set");
    }
    let value = scalar(&loss(setting, spec));
    for ((_, var), start) in setting.adapter.trainable().iter().zip(&start) {
        var.set(start).expect("restore");
    }
    value
}

/// Central differences along the gradient itself and along random directions, relative to the gradient's norm.
fn check(setting: &Setting, spec: &TuneSpec, name: &str) {
    let gradient = gradient(setting, &loss(setting, spec));
    let norm = dot(&gradient, &gradient).sqrt();
    assert!(norm > 1e-3, "{name}: the gradient is {norm}");
    let mut rng = Seed::new(1).rng();
    let mut directions = vec![gradient.clone()];
    directions.extend(
        (0..2).map(|_| gradient.iter().map(|part| part.iter().map(|_| normal(&mut rng) as f32).collect()).collect()),
    );
    for (number, direction) in directions.into_iter().enumerate() {
        let length = dot(&direction, &direction).sqrt();
        let unit: Vec<Vec<f32>> =
            direction.iter().map(|part| part.iter().map(|x| (f64::from(*x) / length) as f32).collect()).collect();
        let around =
            |step: f64| (shifted(setting, spec, &unit, step) - shifted(setting, spec, &unit, -step)) / (2.0 * step);
        // Richardson: the error of order step² cancels.
        let found = (4.0 * around(4e-3) - around(8e-3)) / 3.0;
        let expected = dot(&gradient, &unit);
        assert!(
            (found - expected).abs() < 5e-3 * norm,
            "{name}, direction {number}: {found} by differences, {expected} by backward, norm {norm}"
        );
    }
}

fn pathway() -> Vec<Site> {
    vec![Site::at_slot(SiteKind::ResidPre, 1, "name"), Site::of_head(0, 1), Site::at_slot(SiteKind::MlpOut, 1, "last")]
}

#[test]
fn gradients_match_finite_differences() {
    for answers in [Answers::Single, Answers::Double] {
        let setting = setting(answers);
        check(&setting, &only(|w| w.task = 1.0), "task");
        check(&setting, &only(|w| w.canary = 1.0), "canary");
        for at in [AnchorAt::Answer, AnchorAt::Prompt, AnchorAt::Everywhere] {
            check(&setting, &TuneSpec { anchor_at: at, ..only(|w| w.anchor = 1.0) }, &format!("anchor {at:?}"));
        }
        for distance in [
            Distance::SquaredLogOdds,
            Distance::PseudoHuber { delta: 0.5 },
            Distance::SymmetricKl,
            Distance::JensenShannon,
        ] {
            check(
                &setting,
                &TuneSpec { consistency: distance, ..only(|w| w.consistency = 1.0) },
                &format!("{distance:?}"),
            );
        }
        for follow in [FollowLoss::CrossEntropy, FollowLoss::Margin { nats: 3.0 }, FollowLoss::KeepBase] {
            check(&setting, &TuneSpec { follow, ..only(|w| w.follow = 1.0) }, &format!("{follow:?}"));
        }
        check(&setting, &mediation(pathway(), SourceGradient::Attached), "mediation");
        check(
            &setting,
            &TuneSpec {
                penalty_sites: BTreeMap::from([("world".into(), pathway())]),
                ..only(|w| *w = Weights::default())
            },
            "everything",
        );
    }
}

#[test]
fn the_mediation_penalty_agrees_with_the_engines_joint_outcomes() {
    for (answers, source) in [
        (Answers::Single, SourceGradient::Attached),
        (Answers::Single, SourceGradient::Detached),
        (Answers::Double, SourceGradient::Detached),
    ] {
        let setting = setting(answers);
        let pairs: Vec<&TokenPair> = setting.data.invariant.iter().map(|example| &example.pair).collect();
        let leg = |receiver| {
            let outcomes = joint_outcomes(&setting.tuned, &pairs, &pathway(), receiver, source).expect("outcomes");
            outcomes.patched.sub(&outcomes.base).and_then(|d| d.sqr()).and_then(|d| d.mean_all()).expect("leg")
        };
        let theirs = leg(Side::Factual).add(&leg(Side::Counterfactual)).and_then(|sum| sum * 0.5).expect("sum");
        let ours = loss(&setting, &mediation(pathway(), source));
        assert!(scalar(&theirs) > 1e-2, "something flows: {}", scalar(&theirs));
        assert!((scalar(&ours) - scalar(&theirs)).abs() < 1e-5, "{} against {}", scalar(&ours), scalar(&theirs));
        let (ours, theirs) = (gradient(&setting, &ours), gradient(&setting, &theirs));
        let scale = dot(&theirs, &theirs).sqrt();
        for (a, b) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            assert!((a - b).abs() < 1e-4 * scale as f32, "{a} against {b}");
        }
    }
}

#[test]
fn detaching_the_source_changes_the_gradient_and_not_the_value() {
    let setting = setting(Answers::Single);
    let [attached, detached] = [SourceGradient::Attached, SourceGradient::Detached]
        .map(|source| loss(&setting, &mediation(pathway(), source)));
    assert_eq!(scalar(&attached), scalar(&detached));
    let (attached, detached) = (gradient(&setting, &attached), gradient(&setting, &detached));
    let difference: Vec<Vec<f32>> =
        attached.iter().zip(&detached).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect()).collect();
    assert!(dot(&difference, &difference) > 1e-2 * dot(&attached, &attached));
}

#[test]
fn values_follow_from_scores_alone() {
    // The same numbers from the scorer, which shares no code with the terms beyond the model.
    for answers in [Answers::Single, Answers::Double] {
        let setting = setting(answers);
        let logprob = |ids: &[u32], answer: &[u32]| {
            let request = ScoreRequest { context: ids.to_vec(), continuation: answer.to_vec() };
            score::score(&setting.tuned, &[request], 64, &counterpath::base::Silent).expect("score")[0].loglikelihood
        };
        let close = |spec: TuneSpec, expected: f64, name: &str| {
            let found = scalar(&loss(&setting, &spec));
            assert!((found - expected).abs() < 2e-5 * expected.abs().max(1.0), "{name}: {found} against {expected}");
        };
        let tasks = &setting.data.task;
        let tokens: usize = tasks.iter().map(|example| example.gold().len()).sum();
        let task: f64 = tasks.iter().map(|example| -logprob(&example.prompt.ids, example.gold())).sum();
        close(only(|w| w.task = 1.0), task / tokens as f64, "task");

        let odds = |pair: &TokenPair, side: Side| {
            let prompt = pair.side(side);
            logprob(&prompt.ids, &prompt.answers[0]) - logprob(&prompt.ids, &prompt.answers[1])
        };
        let squares =
            setting.data.invariant.iter().map(|example| {
                (odds(&example.pair, Side::Factual) - odds(&example.pair, Side::Counterfactual)).powi(2)
            });
        close(only(|w| w.consistency = 1.0), squares.sum::<f64>() / setting.data.invariant.len() as f64, "consistency");

        let entropy = |pair: &TokenPair, side: Side, label: usize| {
            let sign = if label == 0 { 1.0 } else { -1.0 };
            (1.0 + (-sign * odds(pair, side)).exp()).ln()
        };
        let follow = setting.data.follow.iter().map(|example| {
            let [factual, counterfactual] = example.labels.expect("labels");
            entropy(&example.pair, Side::Factual, factual)
                + entropy(&example.pair, Side::Counterfactual, counterfactual)
        });
        close(only(|w| w.follow = 1.0), follow.sum::<f64>() / (2 * setting.data.follow.len()) as f64, "follow");
    }
}

#[test]
fn the_anchor_and_keeping_the_base_are_zero_at_the_base() {
    let mut setting = setting(Answers::Single);
    setting.tuned = setting.base.clone();
    for at in [AnchorAt::Answer, AnchorAt::Prompt, AnchorAt::Everywhere] {
        assert_eq!(scalar(&loss(&setting, &TuneSpec { anchor_at: at, ..only(|w| w.anchor = 1.0) })), 0.0);
    }
    assert_eq!(scalar(&loss(&setting, &TuneSpec { follow: FollowLoss::KeepBase, ..only(|w| w.follow = 1.0) })), 0.0);
}
