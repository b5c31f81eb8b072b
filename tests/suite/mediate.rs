//! Mediation on models whose pathways are known, the identities of effects, and published numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use counterpath::base::seed::index;
use counterpath::base::{Progress, Seed, Silent};
use counterpath::intervene::{
    InterveneError, Job, NaiveEngine, Orientation, Outcome, Site, SiteKind, SweepEngine, TokenPair,
};
use counterpath::mediate::{
    Grid, PathwayPairs, PathwaySearch, RefuteSpec, Runner, SweepRow, SweepSpec, aggregate, effects, find_pathway,
    grids, joint_effects, odds_ratio_effect, random_sites, refute, sweep,
};
use counterpath::model::{LanguageModel, LoadOptions, TokenizedPrompt};
use counterpath::stats::{Bootstrap, EffectKind, EffectScale, Item, PatchDirection, Statistic, estimate};

use super::shared::{json, numbers, rows, shared_dir};
use super::tiny::{planted_model, tiny_model};

pub const BOTH: [PatchDirection; 2] = [PatchDirection::Noise, PatchDirection::Denoise];
static ENGINE: NaiveEngine = NaiveEngine { batch_tokens: 4096, cache_bytes: 64 << 20 };

pub fn runner(model: &LanguageModel) -> Runner<'_> {
    Runner { model, engine: &ENGINE, progress: &Silent }
}

fn bootstrap() -> Bootstrap {
    Bootstrap { replicates: 500, level: 0.95, seed: Seed::new(5) }
}

/// Prompts like `<s> the NAME word word AGE cue` in three wordings. The first half of `names` is one value of the
/// variable behind the name, the second half the other; the counterfactual side has a name of the other value.
fn pairs(n: usize, names: std::ops::Range<u32>, seed: u64, answers: [&[u32]; 2]) -> Vec<TokenPair> {
    let mut rng = Seed::new(seed).rng();
    let mut draw = |range: &std::ops::Range<u32>| range.start + index(&mut rng, range.len()) as u32;
    (0..n)
        .map(|number| {
            let wording = number % 3;
            let middle = (names.start + names.end) / 2;
            let (low, high) = (names.start..middle, middle..names.end);
            let (a, b) = (draw(&low), draw(&high));
            let (age, forward) = (draw(&(30..32)), number % 2 == 0);
            let side = |name: u32| {
                let ids: Vec<u32> = match wording {
                    0 => vec![1, 7, name, 9, 10, age, 5],
                    1 => vec![1, 7, 11, name, 9, age, 5],
                    _ => vec![1, 12, name, 13, 14, 10, age, 5],
                };
                let at = ids.iter().position(|id| *id == name).expect("name");
                let slots = vec![("name".to_owned(), at..at + 1), ("age".to_owned(), ids.len() - 2..ids.len() - 1)];
                TokenizedPrompt { ids, answers: answers.iter().map(|answer| answer.to_vec()).collect(), slots }
            };
            let (from, to) = if forward { (a, b) } else { (b, a) };
            let mut pair =
                TokenPair::new(format!("p{number}"), format!("w{wording}"), side(from), side(to)).expect("pair");
            pair.orientation = if forward { Orientation::Forward } else { Orientation::Backward };
            pair.values = Some(if forward { ["low".into(), "high".into()] } else { ["high".into(), "low".into()] });
            pair
        })
        .collect()
}

pub fn plain_pairs(n: usize, seed: u64) -> Vec<TokenPair> {
    pairs(n, 15..23, seed, [&[3], &[4]])
}

#[test]
fn rows_meet_the_reference_implementation() {
    let Some(shared) = shared_dir() else { return };
    for family in ["llama", "gpt2"] {
        let folder = shared.join("fixtures/parity").join(family);
        let model = LanguageModel::load(&folder, &LoadOptions::default()).expect("fixture");
        let golden = json(&folder.join("golden.json"));
        let tolerance = 10.0 * golden["f32_vs_f64_max_abs"]["logits"].as_f64().expect("tolerance");
        let patch = &golden["patch"];
        let ids = rows(&golden["input_ids"]);
        let token = |name: &str| vec![patch[name].as_u64().expect("token") as u32];
        let prompt = |row: usize| TokenizedPrompt {
            ids: ids[row].clone(),
            answers: vec![token("token_a"), token("token_b")],
            slots: vec![],
        };
        let pair = TokenPair::new("p", "c", prompt(0), prompt(1)).expect("pair");
        let spec = SweepSpec::new(&[SiteKind::ResidPre, SiteKind::Z], Grid::EveryToken, &BOTH);
        let runs = sweep(runner(&model), std::slice::from_ref(&pair), &spec).expect("sweep");
        let expected = [numbers(&patch["resid_pre_layer_pos"]), numbers(&patch["z_layer_head"])].concat();
        let noise: Vec<_> = runs.iter().filter(|run| run.direction == PatchDirection::Noise).collect();
        assert_eq!(noise.len(), expected.len());
        for (run, expected) in noise.iter().zip(expected) {
            let row = SweepRow::new(&pair, run, Outcome::Contrast).expect("row");
            assert!((row.patched - expected).abs() <= tolerance, "{family} {row:?}: {expected}");
            assert!((row.base - patch["metric_destination"].as_f64().expect("base")).abs() <= tolerance);
            assert!((row.source - patch["metric_source"].as_f64().expect("source")).abs() <= tolerance);
            assert_eq!(row.effect, row.patched - row.base);
        }
        // Denoising swaps the roles: base and source are exchanged.
        for (one, other) in runs.iter().zip(runs.iter().skip(1)).step_by(2) {
            assert_eq!((&one.site, one.base, one.source), (&other.site, other.source, other.base));
        }
    }
}

#[test]
fn a_row_has_the_documented_fields() {
    let model = tiny_model(1);
    let pairs = plain_pairs(1, 1);
    let spec = SweepSpec::new(&[SiteKind::AttnOut, SiteKind::Z], Grid::EveryToken, &BOTH);
    let runs = sweep(runner(&model), &pairs, &spec).expect("sweep");
    // Two layers of seven positions and two of four heads, both ways.
    assert_eq!(runs.len(), 2 * (2 * 7 + 2 * 4));
    let row = |at: usize| {
        serde_json::to_value(SweepRow::new(&pairs[0], &runs[at], spec.outcome).expect("row")).expect("JSON")
    };
    let keys: Vec<String> = row(0).as_object().expect("object").keys().cloned().collect();
    assert_eq!(
        keys,
        ["id", "site", "layer", "position", "head", "direction", "base", "source", "patched", "effect", "outcome"]
    );
    let (first, last) = (row(2), row(runs.len() - 1));
    assert_eq!(
        (&first["site"], &first["position"], &first["direction"]),
        (&"attn_out".into(), &1.into(), &"noise".into())
    );
    assert!(first["head"].is_null() && first["outcome"] == "logit_difference");
    assert_eq!(
        (&last["site"], &last["layer"], &last["head"], &last["direction"]),
        (&"z".into(), &1.into(), &3.into(), &"denoise".into())
    );
    assert!(last["position"].is_null());
    let long = self::pairs(1, 15..23, 1, [&[3, 8], &[4]]);
    let runs = sweep(runner(&model), &long, &spec).expect("sweep");
    assert_eq!(SweepRow::new(&long[0], &runs[0], spec.outcome).expect("row").outcome, Outcome::LogOdds);
}

#[test]
fn divergences_name_receiver_and_donor() {
    let model = tiny_model(9);
    let pairs = plain_pairs(1, 3);
    let spec = SweepSpec { outcome: Outcome::Kl, ..SweepSpec::new(&[SiteKind::ResidPost], Grid::Landmarks, &BOTH) };
    let runs = sweep(runner(&model), &pairs, &spec).expect("sweep");
    let last =
        runs.iter().find(|run| run.site == Site::at_slot(SiteKind::ResidPost, 1, "last")).expect("the read position");
    assert!(runs.iter().all(|run| run.base.abs() < 1e-6 && run.source > 0.01));
    assert!((last.patched - last.source).abs() < 1e-5, "the whole stream that is read: {last:?}");
}

/// Carries plans out on activations of which one was changed, from the given call on.
struct Corrupted {
    calls: AtomicU64,
    from: u64,
}

impl SweepEngine for Corrupted {
    fn outcomes(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError> {
        let mut cache = ENGINE.capture(model, jobs, outcome)?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let points: Vec<_> = cache.points().collect();
        if let Some(&point) = points.first().filter(|_| call == self.from) {
            let activation = cache.get(point).expect("captured");
            let wrong = (activation * 1.01).expect("scaled");
            cache.set(point, wrong)?;
        }
        ENGINE.outcomes_from(model, jobs, outcome, &cache, progress)
    }
}

#[test]
fn effects_add_up_and_a_corrupted_cache_turns_the_checks_red() {
    let model = tiny_model(3);
    let sites = [Site::of_head(0, 1), Site::of_head(1, 2), Site::at_slot(SiteKind::MlpOut, 0, "name")];
    for answers in [[&[3u32] as &[u32], &[4]], [&[3, 8], &[4]]] {
        let pairs = pairs(12, 15..23, 4, answers);
        let report = effects(runner(&model), &pairs, &sites, "toy", &bootstrap()).expect("effects");
        assert_eq!(report.checks.len(), 3);
        assert!(report.checks.iter().all(|check| check.passed && check.worst.is_some()), "{:?}", report.checks);
        let value = |kind, scale| report.get(kind, scale).and_then(|effect| effect.estimate.value).expect("estimate");
        let log_odds = |kind| value(kind, EffectScale::LogOdds);
        let (total, direct) = (log_odds(EffectKind::Total), log_odds(EffectKind::NaturalDirect));
        let (indirect, reversed) =
            (log_odds(EffectKind::NaturalIndirect), log_odds(EffectKind::ReversedNaturalIndirect));
        assert!((total - (direct - reversed)).abs() < 1e-4);
        assert!(total.abs() > 0.05 && indirect.abs() > 0.005, "{total} {indirect}");
        // The total effect does not go through anything; the others name the sites.
        assert!(report.log_odds[0].through.is_none());
        assert_eq!(
            report.log_odds[2].through.as_deref(),
            Some("blocks.0.attn.hook_z[head=1] + blocks.1.attn.hook_z[head=2] + blocks.0.hook_mlp_out[slot=name]")
        );
        if answers[0].len() == 1 {
            let (odds, logs) = (&report.odds_ratio[0].items, &report.log_odds[0].items);
            assert!(odds.iter().zip(logs).all(|(odds, log)| (odds.value - log.value.exp_m1()).abs() < 1e-12));
        }
    }
    let pairs = plain_pairs(12, 4);
    let red = |from: u64| {
        let engine = Corrupted { calls: AtomicU64::new(0), from };
        let report = effects(Runner { engine: &engine, ..runner(&model) }, &pairs, &sites, "toy", &bootstrap())
            .expect("effects");
        report.checks.iter().map(|check| !check.passed).collect::<Vec<_>>()
    };
    // Calls: total, direct, indirect, reversed, then nothing, whole input plain and patched.
    assert_eq!(red(99), [false, false, false]);
    assert_eq!(red(1), [false, false, true], "the direct leg's donors");
    assert_eq!(red(3), [false, false, true], "the reversed leg's donors");
    assert_eq!(red(4), [true, false, false]);
    assert_eq!(red(6), [false, true, false]);
}

#[test]
fn vig_effects_are_recomputed_from_probabilities() {
    let Some(shared) = shared_dir() else { return };
    for (file, n) in [("gpt2_filtered_dev.json", 87), ("distilgpt2_filtered_dev.json", 61)] {
        let published = json(&shared.join("data/mediation/vig-results").join(file));
        let items: Vec<Item> = published["results"]
            .as_array()
            .expect("results")
            .iter()
            .enumerate()
            .map(|(number, example)| {
                let log = |name: &str| example[name].as_f64().expect("probability").ln();
                let base = log("candidate2_base_prob") - log("candidate1_base_prob");
                let alternative = log("candidate2_alt_prob") - log("candidate1_alt_prob");
                let id = number.to_string();
                Item { cluster: id.clone(), id, value: odds_ratio_effect(base, alternative), group: None, weight: None }
            })
            .collect();
        assert_eq!(items.len(), n);
        let found = estimate(&items, &Statistic::Mean, &bootstrap()).value.expect("mean");
        let expected = published["mean_total_effect"].as_f64().expect("published mean");
        assert!((found - expected).abs() < 1e-12, "{file}: {found} for {expected}");
    }
}

/// Sweeps the discovery pairs and finds a pathway.
fn find(
    model: &LanguageModel,
    kinds: &[SiteKind],
    discovery: &[TokenPair],
    evaluation: &[TokenPair],
) -> counterpath::mediate::FoundPathway {
    let spec = SweepSpec::new(kinds, Grid::Landmarks, &BOTH);
    let runs = sweep(runner(model), discovery, &spec).expect("sweep");
    let effects = aggregate(&runs, discovery, &bootstrap());
    let search = PathwaySearch { kinds: kinds.to_vec(), ..PathwaySearch::new(bootstrap()) };
    find_pathway(runner(model), PathwayPairs { population: "toy", discovery, evaluation }, &effects, &search)
        .expect("search")
}

#[test]
fn the_planted_head_is_found_and_carries_everything() {
    for (seed, live) in [(11, (0, 2)), (12, (1, 1)), (13, (0, 0))] {
        let model = planted_model(seed, &[live]);
        let (discovery, evaluation) = (plain_pairs(30, 6), pairs(24, 22..30, 7, [&[3], &[4]]));
        let found = find(&model, &[SiteKind::Z], &discovery, &evaluation);
        assert_eq!(found.sites, [Site::of_head(live.0, live.1)], "{}", found.pathway.rule);
        assert!((found.steps[0] - 1.0).abs() < 1e-4, "{:?}", found.steps);
        for direction in BOTH {
            let share = found.evaluation.share_value(direction).expect("share");
            assert!((share - 1.0).abs() < 1e-4, "{share}");
        }
    }
}

#[test]
fn a_relay_of_two_heads_is_complete_only_together() {
    let model = planted_model(14, &[(0, 1), (1, 3)]);
    let (discovery, evaluation) = (plain_pairs(30, 8), plain_pairs(24, 9));
    let joint = joint_effects(runner(&model), &evaluation, &[Site::of_head(0, 1), Site::of_head(1, 3)]).expect("joint");
    for direction in BOTH {
        assert!((joint.share_value(direction).expect("share") - 1.0).abs() < 1e-4);
    }
    let found = find(&model, &[SiteKind::Z], &discovery, &evaluation);
    assert!(
        found.sites.iter().all(|site| [Site::of_head(0, 1), Site::of_head(1, 3)].contains(site)),
        "{:?}",
        found.sites
    );
    assert!(found.steps.last().is_some_and(|share| *share >= 0.8), "{:?}", found.steps);
}

#[test]
fn without_an_effect_there_is_no_pathway_and_no_share() {
    let model = planted_model(15, &[]);
    let (discovery, evaluation) = (plain_pairs(20, 10), plain_pairs(20, 11));
    let found = find(&model, &[SiteKind::Z, SiteKind::MlpOut], &discovery, &evaluation);
    assert!(found.sites.is_empty() && found.pathway.share.value.is_none(), "{:?}", found.pathway);
    let joint = joint_effects(runner(&model), &evaluation, &[Site::of_head(0, 0)]).expect("joint");
    let share = joint.share(PatchDirection::Noise, &bootstrap());
    assert!(
        share.value.is_none() && share.undefined.as_deref().is_some_and(|reason| reason.contains("may be 0")),
        "{share:?}"
    );
}

#[test]
fn positions_are_pooled_by_landmark() {
    let model = planted_model(16, &[(0, 2), (1, 0)]);
    let pairs = plain_pairs(30, 12);
    let kinds = [SiteKind::ResidPre, SiteKind::Z, SiteKind::MlpOut];
    let named = sweep(runner(&model), &pairs, &SweepSpec::new(&kinds, Grid::Landmarks, &BOTH)).expect("sweep");
    let named = aggregate(&named, &pairs, &bootstrap());
    let every = sweep(runner(&model), &pairs, &SweepSpec::new(&kinds, Grid::EveryToken, &BOTH)).expect("sweep");
    let every = aggregate(&every, &pairs, &bootstrap());
    assert_eq!(named.len(), every.len());
    for (a, b) in named.iter().zip(&every) {
        assert_eq!((&a.site, a.direction, a.estimate.n), (&b.site, b.direction, pairs.len()));
        assert!((a.estimate.value.expect("a") - b.estimate.value.expect("b")).abs() < 1e-5);
    }
    let grids = grids(&named, "toy");
    let titles: Vec<&str> = grids.iter().map(|grid| grid.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "resid_pre, noise, toy",
            "resid_pre, denoise, toy",
            "z, noise, toy",
            "z, denoise, toy",
            "mlp_out, noise, toy",
            "mlp_out, denoise, toy"
        ]
    );
    assert_eq!(grids[0].columns, ["name", "age", "last"]);
    assert_eq!(grids[2].columns, ["0", "1", "2", "3"]);
    // The stream before the first block differs at the name alone, and there it is the whole effect, both ways.
    let total = joint_effects(runner(&model), &pairs, &[Site::of_head(0, 2)]).expect("joint").total;
    let size = total.iter().map(|item| item.value.abs()).sum::<f64>() / total.len() as f64;
    for grid in &grids[..2] {
        let first = &grid.values[0];
        assert!(
            (first[0].expect("name") - size).abs() < 1e-4 && first[1] == Some(0.0) && first[2] == Some(0.0),
            "{grid:?}"
        );
        assert!(grid.q_values[0][0].expect("q") < 0.05 && grid.q_values[0][1].expect("q") > 0.9);
    }
    let dead = |grid: &counterpath::stats::EffectGrid| grid.values[0][1].expect("a dead head").abs();
    assert!(dead(&grids[2]) < 1e-6 && dead(&grids[3]) < 1e-6);
}

#[test]
fn refuters_pass_on_the_pathway_and_fail_beside_it() {
    let model = planted_model(17, &[(0, 2), (1, 0)]);
    // One name a value, so that a donor with the same value brings the same name.
    let mut pairs = pairs(36, 15..17, 13, [&[3], &[4]]);
    pairs.iter_mut().for_each(|pair| pair.cluster.clone_from(&pair.id));
    let spec = RefuteSpec { population: "toy", draws: 3, bootstrap: bootstrap(), seed: Seed::new(3) };
    let names = ["placebo position", "placebo sites", "shuffled pairs", "random direction"];
    let right = refute(runner(&model), &pairs, &[Site::of_head(0, 2), Site::of_head(1, 0)], &spec).expect("refuters");
    assert_eq!(right.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), names);
    assert!(right.iter().all(|found| found.passed), "{right:#?}");
    let wrong = refute(runner(&model), &pairs, &[Site::of_head(0, 1), Site::of_head(1, 3)], &spec).expect("refuters");
    assert!(wrong[0].passed && wrong[1..].iter().all(|found| !found.passed), "{wrong:#?}");
}

#[test]
fn random_sites_are_like_the_pathway_and_outside_it() {
    let model = tiny_model(4);
    let landmarks = ["name".to_owned(), "last".to_owned()];
    let pathway = [Site::of_head(0, 1), Site::of_head(1, 2), Site::at_slot(SiteKind::MlpOut, 1, "last")];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let drawn = random_sites(model.architecture(), &pathway, &landmarks, Seed::new(seed)).expect("sites");
        let kinds: Vec<SiteKind> = drawn.iter().map(|site| site.kind).collect();
        assert_eq!(kinds, [SiteKind::Z, SiteKind::Z, SiteKind::MlpOut]);
        assert!(drawn.iter().all(|site| !pathway.contains(site)) && drawn[0] != drawn[1]);
        seen.extend(drawn);
    }
    assert_eq!(seen.len(), 6 + 3, "every other site comes up");
    let all: Vec<Site> = (0..5).map(|number| Site::of_head(number / 4, number % 4)).collect();
    let error =
        random_sites(model.architecture(), &all, &landmarks, Seed::new(0)).expect_err("three are left").to_string();
    assert!(error.contains("5 random z site(s)") && error.contains("has 3"), "{error}");
}
