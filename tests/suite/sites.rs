//! Sites and interventions against what defines them: identities between sites, and activations worked out by hand.

use candle_core::{DType, Device, Tensor};
use counterpath::base::Silent;
use counterpath::intervene::{
    Direction, Intervention, Job, NaiveEngine, NamedPrompt, NoisePlace, Outcome, Part, Plan, Positions, Reference,
    Side, Site, SiteKind, Subspace, SweepEngine, TokenPair, noise, subject_deviation,
};
use counterpath::model::{HookKind, HookPoint, LanguageModel, LoadOptions, QkNorm, Readout, Record, TokenizedPrompt};

use super::shared::shared_dir;
use super::tiny::tiny_model;

pub const FACTUAL: [u32; 6] = [1, 7, 12, 13, 9, 5];
pub const COUNTERFACTUAL: [u32; 6] = [1, 7, 30, 31, 9, 5];

pub fn prompt(ids: &[u32]) -> TokenizedPrompt {
    TokenizedPrompt { ids: ids.to_vec(), answers: vec![vec![3], vec![4]], slots: Vec::new() }
}

fn pair() -> TokenPair {
    TokenPair::new("p", "c", prompt(&FACTUAL), prompt(&COUNTERFACTUAL)).expect("pair")
}

fn outcomes(model: &LanguageModel, plans: &[Plan]) -> Vec<f64> {
    let pair = pair();
    let jobs = [Job { pair: &pair, plans }];
    NaiveEngine::default().outcomes(model, &jobs, Outcome::Contrast, &Silent).expect("outcomes").remove(0)
}

pub fn outcome(model: &LanguageModel, cells: Vec<(Site, Intervention)>) -> f64 {
    outcomes(model, &[Plan { receiver: Side::Factual, cells }])[0]
}

/// Both interchanges give the same outcome, which differs from the plain one where `moves`.
fn same(model: &LanguageModel, name: &str, left: &[Site], right: &[Site], moves: bool) {
    let plans =
        [Plan::nothing(Side::Factual), Plan::interchange(Side::Factual, left), Plan::interchange(Side::Factual, right)];
    let found = outcomes(model, &plans);
    assert!(!moves || (found[1] - found[0]).abs() > 1e-4, "{name}: {left:?} moves nothing, {found:?}");
    assert!((found[1] - found[2]).abs() < 2e-5, "{name}: {found:?}");
}

/// Every way of saying the same site.
fn identities(model: &LanguageModel, name: &str) {
    use SiteKind::{Embed, K, MlpOut, MlpPost, Pattern, PosEmbed, Q, ResidPre, V, Z};
    let architecture = model.architecture().clone();
    let all = Site::everywhere;
    let mut embeddings = vec![all(Embed, 0)];
    embeddings.extend(architecture.learned_positions.then(|| all(PosEmbed, 0)));
    same(model, name, &embeddings, &[all(ResidPre, 0)], true);
    for layer in 0..architecture.n_layers.min(2) {
        same(model, name, &[all(Z, layer)], &[all(Q, layer), all(K, layer), all(V, layer)], true);
        same(model, name, &[all(Z, layer)], &[all(Pattern, layer), all(V, layer)], true);
        let last = || Positions::Slot("last".to_owned());
        let read = |from| Site::of_pattern(layer, last(), Positions::Index(from));
        let one_by_one: Vec<Site> = (0..FACTUAL.len()).map(read).collect();
        same(model, name, &one_by_one, &[Site::at(Pattern, layer, last())], false);
        if architecture.has(HookPoint::new(HookKind::MlpPost, layer)) {
            same(model, name, &[all(MlpOut, layer)], &[all(MlpPost, layer)], true);
            let (half, whole) = (architecture.d_mlp / 2, architecture.d_mlp);
            let halves = [Site::of_neurons(layer, 0..half), Site::of_neurons(layer, half..whole)];
            same(model, name, &halves, &[all(MlpPost, layer)], true);
        }
        // A key/value head serves its group of query heads and no other, unless a norm runs over all heads at once.
        if architecture.qk_norm == Some(QkNorm::Whole) {
            continue;
        }
        let readers = architecture.n_heads / architecture.n_kv_heads;
        let group: Vec<Site> = (0..readers).map(|head| Site::of_head(layer, head)).collect();
        let mut parts: Vec<Site> = (0..readers).map(|head| all(Q, layer).with_head(head)).collect();
        parts.extend([all(K, layer).with_head(0), all(V, layer).with_head(0)]);
        same(model, name, &group, &parts, true);
    }
}

#[test]
fn sites_that_say_the_same_do_the_same() {
    identities(&tiny_model(1), "tiny");
    let Some(shared) = shared_dir() else { return };
    for family in ["gpt2", "gemma2", "olmo2", "gpt_neox"] {
        let folder = shared.join("fixtures/parity").join(family);
        if folder.exists() {
            identities(&LanguageModel::load(&folder, &LoadOptions::default()).expect("fixture"), family);
        }
    }
}

/// The activation of one prompt at one position, `[w]`.
pub fn activation(model: &LanguageModel, ids: &[u32], point: HookPoint, position: usize) -> Tensor {
    let ids_bt = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).expect("ids");
    let mut record = Record::new([point]);
    model.forward(&ids_bt, Readout::All, &mut record).expect("pass");
    record.take().remove(&point).expect("recorded").get(0).expect("row").get(position).expect("position")
}

/// The outcome where `change` is added at the site.
pub fn added(model: &LanguageModel, site: &Site, change: &Tensor) -> f64 {
    let values = change.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
    let direction = Direction::new("change", values).expect("direction");
    outcome(model, vec![(site.clone(), Intervention::Add { direction, scale: 1.0 })])
}

pub fn difference(a: &Tensor, b: &Tensor) -> Tensor {
    (a - b).expect("difference")
}

#[test]
fn means_and_resampling_write_what_was_averaged() {
    let model = tiny_model(2);
    let site = Site::at_index(SiteKind::ResidPre, 1, 3);
    let other = [1u32, 8, 20, 21];
    let own = activation(&model, &FACTUAL, site.hook(), 3);
    let named = |ids: &[u32]| NamedPrompt::new("n", &prompt(ids)).expect("prompt");
    let reference = Reference::new("r", vec![named(&COUNTERFACTUAL), named(&other)]).expect("set");
    let at_three: Vec<Tensor> =
        [&COUNTERFACTUAL[..], &other].iter().map(|ids| activation(&model, ids, site.hook(), 3)).collect();
    let positional = ((&at_three[0] + &at_three[1]).expect("sum") / 2.0).expect("mean");
    let found = outcome(&model, vec![(site.clone(), Intervention::PositionalMean { reference: reference.clone() })]);
    let expected = added(&model, &site, &difference(&positional, &own));
    assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    // Positions 4 and 5 are reached by one prompt alone.
    let late = Site::at_index(SiteKind::ResidPre, 1, 4);
    let positional = Intervention::PositionalMean { reference: reference.clone() };
    let found = outcome(&model, vec![(late.clone(), positional)]);
    let expected = outcome(&model, vec![(late, Intervention::Interchange)]);
    assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    let everything: Vec<Tensor> = (0..6)
        .map(|position| activation(&model, &COUNTERFACTUAL, site.hook(), position))
        .chain((0..4).map(|position| activation(&model, &other, site.hook(), position)))
        .collect();
    let mean = Tensor::stack(&everything, 0).expect("stack").mean(0).expect("mean");
    let found = outcome(&model, vec![(site.clone(), Intervention::Mean { reference: reference.clone() })]);
    let expected = added(&model, &site, &difference(&mean, &own));
    assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    let from_other = Intervention::Resample { prompt: named(&COUNTERFACTUAL) };
    let found = outcome(&model, vec![(site.clone(), from_other)]);
    let interchanged = outcome(&model, vec![(site.clone(), Intervention::Interchange)]);
    assert!((found - interchanged).abs() < 1e-6 && (found - expected).abs() > 1e-4, "{found}, {interchanged}");
    let beyond = Reference::new("short", vec![named(&other)]).expect("set");
    let plans = [Plan {
        receiver: Side::Factual,
        cells: vec![(Site::at_index(SiteKind::Z, 0, 4), Intervention::PositionalMean { reference: beyond })],
    }];
    let pair = pair();
    let jobs = [Job { pair: &pair, plans: &plans }];
    let error = NaiveEngine::default().outcomes(&model, &jobs, Outcome::Contrast, &Silent).expect_err("beyond");
    assert!(error.to_string().contains("position 4 lies behind the longest prompt of short"), "{error}");
}

#[test]
fn a_subspace_changes_what_lies_in_it_and_nothing_else() {
    let model = tiny_model(3);
    let site = Site::at_index(SiteKind::ResidPost, 0, 3);
    let own = activation(&model, &FACTUAL, site.hook(), 3);
    let donor = activation(&model, &COUNTERFACTUAL, site.hook(), 3);
    let vectors = Tensor::arange(0f32, 32.0, &Device::Cpu).expect("range").sin().expect("sin").reshape((2, 16));
    let subspace = Subspace::spanned(&vectors.expect("rows")).expect("span");
    let inside = |x: &Tensor| subspace.inside(&x.unsqueeze(0).expect("row")).expect("inside");
    let cases = [
        (Intervention::ProjectOut { subspace: subspace.clone() }, inside(&own).neg().expect("negative")),
        (Intervention::InterchangeWithin { subspace: subspace.clone() }, inside(&difference(&donor, &own))),
    ];
    let base = outcome(&model, Vec::new());
    for (intervention, change) in cases {
        let (name, expected) = (intervention.name(), added(&model, &site, &change));
        let found = outcome(&model, vec![(site.clone(), intervention)]);
        assert!((found - expected).abs() < 1e-5 && (found - base).abs() > 1e-4, "{name}: {found} for {expected}");
    }
    let whole = Subspace::new(&Tensor::eye(16, DType::F32, &Device::Cpu).expect("identity")).expect("basis");
    let within = outcome(&model, vec![(site.clone(), Intervention::InterchangeWithin { subspace: whole.clone() })]);
    let all = outcome(&model, vec![(site.clone(), Intervention::Interchange)]);
    assert!((within - all).abs() < 1e-5, "{within} for {all}");
    let nothing_left = outcome(&model, vec![(site.clone(), Intervention::ProjectOut { subspace: whole })]);
    let zero = outcome(&model, vec![(site, Intervention::Zero)]);
    assert!((nothing_left - zero).abs() < 1e-5, "{nothing_left} for {zero}");
}

#[test]
fn noise_is_averaged_over_its_draws_before_anything_is_subtracted() {
    let model = tiny_model(4);
    let site = Site::at_index(SiteKind::Embed, 0, 2);
    let deviation = 3.0 * subject_deviation(&model, &[&FACTUAL[2..4], &COUNTERFACTUAL[2..4]]).expect("deviation");
    let place = NoisePlace { pair: "p", point: site.hook(), position: 2, head: 0 };
    let drawn: Vec<f64> = (0..4)
        .map(|draw| {
            let values = Tensor::new(noise(5, place, draw, deviation, 16), &Device::Cpu).expect("values");
            added(&model, &site, &values)
        })
        .collect();
    let found = outcome(&model, vec![(site.clone(), Intervention::Noise { deviation, draws: 4, seed: 5 })]);
    let expected = drawn.iter().sum::<f64>() / 4.0;
    assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    assert!(drawn.iter().all(|value| (value - found).abs() > 1e-4), "draws differ: {drawn:?}");
    // A large sample has the deviation that was asked for.
    let sample = noise(5, place, 0, deviation, 20_000);
    let square = sample.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / 20_000.0;
    assert!((square.sqrt() / deviation - 1.0).abs() < 0.02, "{}", square.sqrt());
    let spread = subject_deviation(&model, &[&FACTUAL[2..3]]).expect("one token");
    let own = activation(&model, &FACTUAL, site.hook(), 2).to_vec1::<f32>().expect("values");
    let mean = own.iter().sum::<f32>() / 16.0;
    let by_hand = (own.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 15.0).sqrt();
    assert!((spread - f64::from(by_hand)).abs() < 1e-6, "{spread} for {by_hand}");
}

#[test]
fn what_a_site_cannot_receive_is_refused_before_anything_runs() {
    let architecture = tiny_model(5).architecture().clone();
    let refuse = |site: Site, intervention| {
        let plan = Plan { receiver: Side::Factual, cells: vec![(site, intervention)] };
        plan.check(&architecture).expect_err("refused").to_string()
    };
    let direction = Direction::new("gender", vec![1.0; 3]).expect("direction");
    let add = Intervention::Add { direction, scale: 1.0 };
    let text = refuse(Site::everywhere(SiteKind::ResidPre, 0), add.clone());
    assert!(text.contains("\"gender\" has 3 values, the site 16"), "{text}");
    assert!(refuse(Site::everywhere(SiteKind::Pattern, 0), add).contains("needs a vector space"));
    let text = refuse(Site::everywhere(SiteKind::K, 0).with_head(2), Intervention::Zero);
    assert!(text.contains("key/value heads run from 0 to 1"), "{text}");
    assert!(refuse(Site::of_neurons(0, 20..25), Intervention::Zero).contains("neurons run from 0 to 23"));
    assert!(refuse(Site::everywhere(SiteKind::PosEmbed, 0), Intervention::Zero).contains("not learned"));
    assert!(refuse(Site::everywhere(SiteKind::Embed, 1), Intervention::Zero).contains("once a model"));
    let part = Part::From(Positions::Index(1));
    let misplaced = Site { part, ..Site::everywhere(SiteKind::Z, 0) };
    assert!(refuse(misplaced, Intervention::Zero).contains("only pattern has sources"));
    let noise = |deviation, draws| Intervention::Noise { deviation, draws, seed: 0 };
    assert!(refuse(Site::everywhere(SiteKind::Embed, 0), noise(1.0, 0)).contains("greater than 0"));
    let foreign = NamedPrompt::new("foreign", &prompt(&[1, 99])).expect("prompt");
    let text = refuse(Site::everywhere(SiteKind::Z, 0), Intervention::Resample { prompt: foreign.clone() });
    assert!(text.contains("\"foreign\"") && text.contains("vocabulary of 40"), "{text}");
    let reference = Reference::new("set", vec![foreign]).expect("set");
    assert!(
        refuse(Site::everywhere(SiteKind::Pattern, 0), Intervention::Mean { reference }).contains("positional_mean")
    );
    let two = Plan {
        receiver: Side::Factual,
        cells: vec![(Site::at_index(SiteKind::Embed, 0, 1), noise(1.0, 2)), (Site::of_head(0, 1), noise(1.0, 3))],
    };
    assert!(two.check(&architecture).expect_err("draws").to_string().contains("drawn together"));
    assert!(Reference::new("none", Vec::new()).expect_err("empty").to_string().contains("no prompts"));
    assert!(Direction::new("flat", vec![0.0; 4]).expect_err("zero").to_string().contains("points nowhere"));
}

#[test]
fn a_plan_with_everything_survives_json() {
    let named = NamedPrompt::new("other", &prompt(&COUNTERFACTUAL)).expect("prompt");
    let subspace = Subspace::new(&Tensor::eye(16, DType::F32, &Device::Cpu).expect("identity")).expect("basis");
    let interventions = [
        Intervention::Resample { prompt: named.clone() },
        Intervention::Mean { reference: Reference::new("set", vec![named]).expect("set") },
        Intervention::Noise { deviation: 0.1, draws: 10, seed: 3 },
        Intervention::Add { direction: Direction::new("d", vec![0.5; 16]).expect("direction"), scale: 2.0 },
        Intervention::ProjectOut { subspace },
    ];
    let mut digests = Vec::new();
    for intervention in interventions {
        let plan =
            Plan { receiver: Side::Factual, cells: vec![(Site::at_index(SiteKind::ResidPre, 1, 2), intervention)] };
        let json = serde_json::to_string(&plan).expect("JSON");
        let back: Plan = serde_json::from_str(&json).expect("plan");
        assert_eq!(back, plan);
        assert_eq!(back.digest(), plan.digest());
        assert!(!digests.contains(&plan.digest()));
        digests.push(plan.digest());
    }
}
