//! The engine against reference patching, its own invariants, and gradients through patched passes.

use candle_core::Device;
use counterpath::base::{Seed, Silent};
use counterpath::intervene::{
    Intervention, Job, NaiveEngine, Outcome, Plan, Side, Site, SiteKind, SourceGradient, SweepEngine, TokenPair,
    joint_outcomes,
};
use counterpath::model::{
    Adapter, AnswerRows, LanguageModel, LoadOptions, LoraSpec, NoHooks, TargetModules, TokenizedPrompt,
    answer_loglikelihoods,
};
use serde_json::Value;

use super::shared::shared_dir;
use super::tiny::tiny_model;

fn prompt(ids: &[u32], answers: &[&[u32]], slots: &[(&str, std::ops::Range<usize>)]) -> TokenizedPrompt {
    TokenizedPrompt {
        ids: ids.to_vec(),
        answers: answers.iter().map(|answer| answer.to_vec()).collect(),
        slots: slots.iter().map(|(name, range)| ((*name).to_owned(), range.clone())).collect(),
    }
}

fn pair(factual: TokenizedPrompt, counterfactual: TokenizedPrompt) -> TokenPair {
    TokenPair::new("p", "c", factual, counterfactual).expect("a usable pair")
}

/// Two prompts of seven tokens that differ at tokens 2 and 3.
fn plain_pair(answers: &[&[u32]]) -> TokenPair {
    pair(prompt(&[1, 7, 12, 13, 9, 22, 5], answers, &[]), prompt(&[1, 7, 30, 31, 9, 22, 5], answers, &[]))
}

fn run(model: &LanguageModel, pair: &TokenPair, plans: &[Plan], outcome: Outcome) -> Vec<f64> {
    let engine = NaiveEngine::default();
    engine.outcomes(model, &[Job { pair, plans }], outcome, &Silent).expect("outcomes").remove(0)
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("id") as u32).collect()
}

fn matrix(value: &Value) -> Vec<Vec<f64>> {
    let row = |row: &Value| row.as_array().expect("row").iter().map(|x| x.as_f64().expect("number")).collect();
    value.as_array().expect("matrix").iter().map(row).collect()
}

#[test]
fn patching_meets_the_reference_implementation() {
    let Some(shared) = shared_dir() else { return };
    for family in ["llama", "llama_tied_bias_headdim", "llama3_rope", "gpt2"] {
        let folder = shared.join("fixtures/parity").join(family);
        let model = LanguageModel::load(&folder, &LoadOptions::default()).expect("fixture");
        let golden = std::fs::read_to_string(folder.join("golden.json")).expect("golden.json");
        let golden: Value = serde_json::from_str(&golden).expect("JSON");
        // The README of the fixtures: ten times the reference's own float32 error.
        let tolerance = 10.0 * golden["f32_vs_f64_max_abs"]["logits"].as_f64().expect("tolerance");
        let patch = &golden["patch"];
        let row = |name: &str| {
            let row = patch[name].as_u64().expect("row") as usize;
            let token = |name: &str| patch[name].as_u64().expect("token") as u32;
            prompt(&ids(&golden["input_ids"][row]), &[&[token("token_a")], &[token("token_b")]], &[])
        };
        let pair = pair(row("destination_row"), row("source_row"));
        let into = |site: Site| Plan::interchange(Side::Factual, &[site]);
        let (resid, z) = (matrix(&patch["resid_pre_layer_pos"]), matrix(&patch["z_layer_head"]));
        let mut plans = vec![Plan::nothing(Side::Factual), Plan::nothing(Side::Counterfactual)];
        let mut expected =
            vec![patch["metric_destination"].as_f64().expect("base"), patch["metric_source"].as_f64().expect("source")];
        for (layer, values) in resid.iter().enumerate() {
            for (position, value) in values.iter().enumerate() {
                plans.push(into(Site::at_index(SiteKind::ResidPre, layer, position)));
                expected.push(*value);
            }
        }
        for (layer, values) in z.iter().enumerate() {
            for (head, value) in values.iter().enumerate() {
                plans.push(into(Site::of_head(layer, head)));
                expected.push(*value);
            }
        }
        let found = run(&model, &pair, &plans, Outcome::Contrast);
        for ((plan, found), expected) in plans.iter().zip(found).zip(expected) {
            assert!(close(found, expected, tolerance), "{family}, {plan}: {found} for {expected} within {tolerance}");
        }
    }
}

#[test]
fn a_run_patched_with_itself_is_unchanged() {
    let model = tiny_model(1);
    let pair = plain_pair(&[&[3], &[4, 5]]).reflexive(Side::Counterfactual).expect("reflexive");
    let mut plans = vec![Plan::nothing(Side::Factual)];
    for kind in SiteKind::ALL {
        let sites: Vec<Site> = (0..2).map(|layer| Site::everywhere(kind, layer)).collect();
        let there: Vec<Site> = sites.into_iter().filter(|site| site.check(model.architecture()).is_ok()).collect();
        assert!(!there.is_empty() || kind == SiteKind::PosEmbed, "{kind}");
        plans.push(Plan::interchange(Side::Factual, &there));
    }
    let found = run(&model, &pair, &plans, Outcome::LogOdds);
    for (plan, value) in plans.iter().zip(&found) {
        assert!(close(*value, found[0], 1e-5), "{plan}: {value} for {}", found[0]);
    }
}

#[test]
fn the_whole_input_carries_the_whole_outcome_also_of_continuations() {
    let model = tiny_model(2);
    for answers in [[&[3u32] as &[u32], &[4]], [&[3, 8, 11], &[4, 6]]] {
        let pair = plain_pair(&answers);
        let whole = |side| Plan::interchange(side, &[Site::everywhere(SiteKind::ResidPre, 0)]);
        let plans = [
            Plan::nothing(Side::Factual),
            Plan::nothing(Side::Counterfactual),
            whole(Side::Factual),
            whole(Side::Counterfactual),
            Plan::interchange(Side::Factual, &[Site::everywhere(SiteKind::Z, 0), Site::everywhere(SiteKind::Z, 1)]),
            Plan::interchange(Side::Factual, &[Site::of_head(1, 2)]),
        ];
        let found = run(&model, &pair, &plans, Outcome::LogOdds);
        assert!(!close(found[0], found[1], 0.01), "the two sides differ: {found:?}");
        assert!(close(found[2], found[1], 1e-5) && close(found[3], found[0], 1e-5), "{found:?}");
        // The read positions hold the same tokens on both sides, so what differs there comes through heads alone.
        assert!(close(found[4], found[1], 1e-5), "{found:?}");
        assert!(!close(found[5], found[0], 1e-4) && !close(found[5], found[1], 1e-4), "one head is not all: {found:?}");
    }
}

#[test]
fn outcomes_are_those_of_the_scores() {
    let model = tiny_model(3);
    let answers: [&[u32]; 2] = [&[3, 8, 11], &[4, 6]];
    let pair = plain_pair(&answers);
    let rows = AnswerRows::new(&pair.factual.ids, &pair.factual.answers);
    let scores = answer_loglikelihoods(&model, &[rows], &mut NoHooks).expect("scores").remove(0);
    let scores: Vec<f64> = scores.to_vec1::<f32>().expect("values").into_iter().map(f64::from).collect();
    let plain = [Plan::nothing(Side::Factual)];
    let read = |outcome| run(&model, &pair, &plain, outcome)[0];
    assert!(close(read(Outcome::Contrast), scores[0] - scores[1], 1e-5));
    assert!(close(read(Outcome::LogOddsPerToken), scores[0] / 3.0 - scores[1] / 2.0, 1e-5));
    assert!(close(read(Outcome::Probability), scores[0].exp(), 1e-6));
    assert!(close(read(Outcome::Kl), 0.0, 1e-6));
    let error = NaiveEngine::default()
        .outcomes(&model, &[Job { pair: &pair, plans: &plain }], Outcome::LogitDifference, &Silent)
        .expect_err("answers of several tokens")
        .to_string();
    assert!(error.contains("[3, 2]") && error.contains("log odds"), "{error}");
}

#[test]
fn divergence_of_the_whole_input_is_that_of_the_two_runs() {
    let model = tiny_model(4);
    let pair = plain_pair(&[&[3], &[4]]);
    let distribution = |ids: &[u32]| {
        let every: Vec<Vec<u32>> = (0..super::tiny::VOCABULARY as u32).map(|token| vec![token]).collect();
        let found =
            answer_loglikelihoods(&model, &[AnswerRows::new(ids, &every)], &mut NoHooks).expect("scores").remove(0);
        found.to_vec1::<f32>().expect("values").into_iter().map(f64::from).collect::<Vec<_>>()
    };
    let (p, q) = (distribution(&pair.factual.ids), distribution(&pair.counterfactual.ids));
    let expected: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
    let plan = Plan::interchange(Side::Factual, &[Site::everywhere(SiteKind::ResidPre, 0)]);
    let found = run(&model, &pair, &[plan], Outcome::Kl)[0];
    assert!(expected > 0.01 && close(found, expected, 1e-5), "{found} for {expected}");
}

#[test]
fn batches_and_company_do_not_change_a_number() {
    let model = tiny_model(5);
    let short = pair(prompt(&[1, 7, 12, 5], &[&[3], &[4]], &[]), prompt(&[1, 7, 30, 5], &[&[3], &[4]], &[]));
    let long = plain_pair(&[&[3, 8, 11], &[4, 6]]);
    let mut plans = Vec::new();
    for receiver in [Side::Factual, Side::Counterfactual] {
        plans.push(Plan::nothing(receiver));
        for position in 0..4 {
            plans.push(Plan::interchange(receiver, &[Site::at_index(SiteKind::MlpOut, 0, position)]));
        }
        plans.push(Plan::interchange(receiver, &[Site::of_head(0, 3), Site::at_slot(SiteKind::ResidMid, 0, "last")]));
        let random = Intervention::RandomDirection { seed: 3 };
        plans.push(Plan {
            receiver,
            cells: vec![(Site::everywhere(SiteKind::Z, 0), random), (Site::of_head(1, 0), Intervention::Zero)],
        });
    }
    let jobs = [Job { pair: &short, plans: &plans }, Job { pair: &long, plans: &plans }];
    let with = |batch_tokens, cache_bytes| {
        let engine = NaiveEngine { batch_tokens, cache_bytes };
        engine.outcomes(&model, &jobs, Outcome::Contrast, &Silent).expect("outcomes").concat()
    };
    let together = with(4096, 1 << 30);
    let base = together[0];
    assert!(together.iter().skip(1).take(6).filter(|value| !close(**value, base, 1e-3)).count() >= 3, "{together:?}");
    for alone in [with(1, 1), with(40, 1 << 30), with(4096, 1)] {
        for (number, (a, b)) in together.iter().zip(&alone).enumerate() {
            assert!(close(*a, *b, 1e-5), "plan {number}: {a} and {b}");
        }
    }
}

#[test]
fn pairs_of_unequal_length_are_patched_slot_to_slot() {
    let model = tiny_model(6);
    let answers: &[&[u32]] = &[&[3], &[4]];
    let a = prompt(&[1, 12, 13, 14, 9, 5], answers, &[("name", 1..4)]);
    let b = prompt(&[1, 30, 9, 5], answers, &[("name", 1..2)]);
    let pair = pair(a, b);
    // At the last layer only the last position is read: its stream carries the whole outcome from either side.
    let last = |side| Plan::interchange(side, &[Site::at_slot(SiteKind::ResidPost, 1, "last")]);
    let name = |side| Plan::interchange(side, &[Site::at_slot(SiteKind::ResidPre, 1, "name")]);
    let plans = [
        Plan::nothing(Side::Factual),
        Plan::nothing(Side::Counterfactual),
        last(Side::Factual),
        last(Side::Counterfactual),
        name(Side::Factual),
        name(Side::Counterfactual),
    ];
    let found = run(&model, &pair, &plans, Outcome::Contrast);
    assert!(close(found[2], found[1], 1e-5) && close(found[3], found[0], 1e-5), "{found:?}");
    assert!(!close(found[4], found[0], 1e-4) && !close(found[5], found[1], 1e-4), "{found:?}");
}

#[test]
fn sites_that_do_not_exist_are_refused_before_anything_runs() {
    let model = tiny_model(7);
    let pair = plain_pair(&[&[3], &[4]]);
    let refuse = |plan: Plan| {
        let plans = [plan];
        let outcome =
            NaiveEngine::default().outcomes(&model, &[Job { pair: &pair, plans: &plans }], Outcome::Contrast, &Silent);
        outcome.expect_err("refused").to_string()
    };
    let text = refuse(Plan::interchange(Side::Factual, &[Site::of_head(0, 4)]));
    assert!(text.contains("blocks.0.attn.hook_z[head=4]") && text.contains("0 to 3"), "{text}");
    let text = refuse(Plan::interchange(Side::Factual, &[Site::everywhere(SiteKind::Z, 2)]));
    assert!(text.contains("layers run from 0 to 1"), "{text}");
    let text = refuse(Plan::interchange(Side::Factual, &[Site::of_head(0, 1), Site::of_head(0, 1)]));
    assert!(text.contains("named twice"), "{text}");
    let text = refuse(Plan::interchange(Side::Factual, &[Site::at_index(SiteKind::ResidPre, 0, 7)]));
    assert!(text.contains("position 7") && text.contains("7 tokens"), "{text}");
    let zero = Plan {
        receiver: Side::Factual,
        cells: vec![
            (Site::of_head(0, 1), Intervention::Interchange),
            (Site::everywhere(SiteKind::Z, 0), Intervention::Zero),
        ],
    };
    assert!(refuse(zero).contains("different values"));
    let foreign = TokenPair::new("q", "c", prompt(&[1, 40], &[&[3], &[4]], &[]), prompt(&[1, 2], &[&[3], &[4]], &[]))
        .expect("pair");
    let plans = [Plan::nothing(Side::Factual)];
    let text =
        NaiveEngine::default().outcomes(&model, &[Job { pair: &foreign, plans: &plans }], Outcome::Contrast, &Silent);
    assert!(text.expect_err("refused").to_string().contains("token 40"));
}

#[test]
fn training_sees_the_numbers_of_the_engine_and_their_gradients() {
    let spec =
        LoraSpec { rank: 2, alpha: 4.0, target_modules: TargetModules::Pattern("all-linear".into()), rslora: false };
    let base = tiny_model(8);
    let adapter = Adapter::init(&base, &spec, Seed::new(1)).expect("adapter");
    // B starts at zero: move everything, so that every gradient is alive.
    for (name, var) in adapter.trainable() {
        let noise = candle_core::Tensor::from_vec(
            {
                let mut rng = Seed::new(2).fork(&name).rng();
                (0..var.elem_count())
                    .map(|_| (0.2 * counterpath::base::seed::normal(&mut rng)) as f32)
                    .collect::<Vec<_>>()
            },
            var.dims(),
            &Device::Cpu,
        );
        var.set(&noise.expect("noise")).expect("set");
    }
    let model = base.with_adapter(&adapter).expect("adapted");
    let pairs = [plain_pair(&[&[3], &[4]]), plain_pair(&[&[3, 8, 11], &[4, 6]])];
    let pairs: Vec<&TokenPair> = pairs.iter().collect();
    let sites = [Site::of_head(0, 1), Site::at_slot(SiteKind::MlpOut, 0, "changed"), Site::of_head(1, 3)];
    let loss = |gradient| {
        let found = joint_outcomes(&model, &pairs, &sites, Side::Factual, gradient).expect("outcomes");
        let effect = (&found.patched - &found.base).expect("difference");
        (effect.sqr().expect("square").sum_all().expect("sum"), found)
    };
    let (value, found) = loss(SourceGradient::Attached);
    let plans =
        [Plan::nothing(Side::Factual), Plan::nothing(Side::Counterfactual), Plan::interchange(Side::Factual, &sites)];
    for (number, pair) in pairs.iter().enumerate() {
        let expected = run(&model, pair, &plans, Outcome::Contrast);
        for (tensor, expected) in [&found.base, &found.source, &found.patched].into_iter().zip(expected) {
            let value = f64::from(tensor.to_vec1::<f32>().expect("values")[number]);
            assert!(close(value, expected, 1e-5), "{value} for {expected}");
        }
    }
    let attached = value.backward().expect("gradients");
    let detached = loss(SourceGradient::Detached).0.backward().expect("gradients");
    let mut differing = 0;
    for (name, var) in adapter.trainable() {
        let gradient = attached
            .get(&var)
            .expect("attached gradient")
            .flatten_all()
            .expect("flat")
            .to_vec1::<f32>()
            .expect("values");
        let other = detached
            .get(&var)
            .expect("detached gradient")
            .flatten_all()
            .expect("flat")
            .to_vec1::<f32>()
            .expect("values");
        differing += usize::from(gradient.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1e-3));
        let largest =
            (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).expect("entries");
        let original = var.as_tensor().copy().expect("copy");
        let at = |step: f32| {
            let mut values = original.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
            values[largest] += step;
            var.set(&candle_core::Tensor::from_vec(values, original.dims(), &Device::Cpu).expect("moved"))
                .expect("set");
            let value = f64::from(loss(SourceGradient::Attached).0.to_scalar::<f32>().expect("loss"));
            var.set(&original).expect("set");
            value
        };
        // Central differences; float32 losses of order 1 leave about 1e-3 at this step.
        let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
        let analytic = f64::from(gradient[largest]);
        assert!(
            close(numeric, analytic, 0.02 * analytic.abs().max(0.3)),
            "{name}: {analytic}, by differences {numeric}"
        );
    }
    assert!(differing > 0, "detaching the source changes some gradient");
}
