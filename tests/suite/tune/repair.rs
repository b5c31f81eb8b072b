//! What the penalties do to the effects that they name, on a model that learned a spurious and a legitimate cause.
//!
//! In the world's prompts the name can reach the answer only through attention heads that read its position, so the
//! heads of both blocks together carry its whole effect, and the stream at the cause's position before block 0 carries
//! none of it: a pathway and a placebo that are known by construction.

use std::collections::BTreeMap;

use counterpath::base::Silent;
use counterpath::intervene::{Side, Site, SiteKind, SourceGradient, TokenPair, joint_outcomes};
use counterpath::model::LanguageModel;
use counterpath::tune::{BatchSizes, FollowLoss, TuneData, TuneSpec, Weights, train};

use super::world::{self, Answers};

fn heads() -> Vec<Site> {
    (0..2).flat_map(|layer| (0..2).map(move |head| Site::of_head(layer, head))).collect()
}

/// Mean |log-odds effect|: total, and through the heads.
fn effects(model: &LanguageModel, pairs: &[&TokenPair]) -> (f64, f64) {
    let outcomes = joint_outcomes(model, pairs, &heads(), Side::Factual, SourceGradient::Detached).expect("outcomes");
    let mean = |to: &candle_core::Tensor| {
        let change =
            to.sub(&outcomes.base).and_then(|d| d.abs()).and_then(|d| d.mean_all()).and_then(|m| m.to_scalar::<f32>());
        f64::from(change.expect("mean"))
    };
    (mean(&outcomes.source), mean(&outcomes.patched))
}

struct Measured {
    spurious: f64,
    through_heads: f64,
    legitimate: f64,
}

fn measure(model: &LanguageModel) -> Measured {
    let held_out = world::data(Answers::Single, 60, 77);
    let of = |examples: &[counterpath::tune::PairExample]| {
        effects(model, &examples.iter().map(|example| &example.pair).collect::<Vec<_>>())
    };
    let (spurious, through_heads) = of(&held_out.invariant);
    Measured { spurious, through_heads, legitimate: of(&held_out.follow).0 }
}

fn tuned(data: &TuneData, change: impl Fn(&mut TuneSpec)) -> Measured {
    let base = &world::model().0;
    let mut spec = TuneSpec {
        steps: 60,
        batch: BatchSizes { task: 16, invariant: 12, follow: 12, canary: 0 },
        learning_rate: 1e-2,
        weights: Weights { task: 1.0, canary: 0.0, consistency: 0.0, follow: 0.0, mediation: 0.0, anchor: 0.0 },
        ..TuneSpec::default()
    };
    change(&mut spec);
    let outcome = train(base, &spec, data, None, &Silent).expect("training");
    measure(&base.with_adapter(&outcome.adapter.frozen()).expect("fits"))
}

fn at(sites: Vec<Site>) -> BTreeMap<String, Vec<Site>> {
    BTreeMap::from([("world".into(), sites)])
}

#[test]
fn each_ingredient_does_what_it_names() {
    let data = world::data(Answers::Single, 200, 21);
    let before = measure(&world::model().0);
    // The environment's log-odds are 1.5 each, so a swap moves the answer by 3.
    assert!(
        before.spurious > 1.5 && before.legitimate > 1.5,
        "the base learned both: {} and {}",
        before.spurious,
        before.legitimate
    );
    assert!((before.through_heads - before.spurious).abs() < 1e-3 * before.spurious, "the heads carry everything");

    let plain = tuned(&data, |_| {});
    assert!(plain.spurious > 0.6 * before.spurious, "task loss alone keeps the shortcut: {}", plain.spurious);

    let pathway = |source| {
        tuned(&data, |spec| {
            (spec.weights.mediation, spec.mediation_source, spec.penalty_sites) = (3.0, source, at(heads()))
        })
    };
    for source in [SourceGradient::Attached, SourceGradient::Detached] {
        let closed = pathway(source);
        assert!(
            closed.through_heads < 0.2 * before.through_heads,
            "{source:?}: {} through the heads",
            closed.through_heads
        );
        assert!(closed.spurious < 0.2 * before.spurious, "{source:?}: no other way is open: {}", closed.spurious);
        assert!(closed.legitimate > 0.6 * before.legitimate, "{source:?}: the cause stays: {}", closed.legitimate);
    }

    let placebo = tuned(&data, |spec| {
        (spec.weights.mediation, spec.penalty_sites) = (3.0, at(vec![Site::at_slot(SiteKind::ResidPre, 0, "cause")]))
    });
    assert!(placebo.spurious > 0.6 * before.spurious, "a site without the effect closes nothing: {}", placebo.spurious);

    let causal = tuned(&data, |spec| {
        (spec.weights.mediation, spec.penalty_sites) = (1.0, at(heads()));
        (spec.weights.consistency, spec.weights.follow, spec.weights.anchor) = (1.0, 0.5, 0.1);
        spec.follow = FollowLoss::KeepBase;
    });
    assert!(causal.spurious < 0.15 * before.spurious, "{}", causal.spurious);
    assert!(
        (causal.legitimate / before.legitimate - 1.0).abs() < 0.25,
        "{} against {}",
        causal.legitimate,
        before.legitimate
    );
}
