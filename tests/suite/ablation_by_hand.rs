//! Each change of an ablation beside the plan that it stands for, in both directions.

use counterpath::base::{Seed, Silent, files};
use counterpath::intervene::{
    Direction, Intervention, Job, NaiveEngine, NamedPrompt, Outcome, Plan, Reference, Side, Site, SiteKind,
    SweepEngine, TokenPair, subject_deviation,
};
use counterpath::mediate::{AblationPlan, AblationRow, Measure};
use counterpath::planted::compiled::{CompiledModel, CompiledSpec};
use counterpath::stats::PatchDirection;

use super::ablation::{PLAN, scene};

const CHANGES: &str = r#"
version = 1
seed = 3
noise = { times = 3.0, draws = 2 }

[[set]]
name = "head"
sites = ["blocks.0.attn.hook_z[head=1]"]
interventions = [
  { kind = "mean" }, { kind = "resample" }, { kind = "noise" }, { kind = "add", file = "d.json", scale = 2.0 },
  { kind = "interchange" },
]
direct = true

[[set]]
name = "two layers"
sites = ["blocks.0.attn.hook_z[head=1]", "blocks.1.attn.hook_z[head=2]"]
interventions = [{ kind = "interchange" }]
direct = true

[[grid]]
kinds = ["z"]
layers = [1]
interventions = [{ kind = "zero" }]
"#;

#[test]
fn changes_are_the_plans_that_they_stand_for() {
    let scene = scene("changes");
    files::write_atomic(&scene.folder.join("plan.toml"), CHANGES.as_bytes()).expect("plan");
    let rows = scene.run(&Silent).expect("rows");
    let named = |pair: &TokenPair, side| NamedPrompt::new(&pair.id, pair.side(side)).expect("prompt");
    let sides = [Side::Factual, Side::Counterfactual];
    let everyone = scene.pairs.iter().flat_map(|pair| sides.map(|side| named(pair, side))).collect();
    let reference = Reference::new("both", everyone).expect("set");
    // The tokens that change are 12 and 30.
    let deviation = 3.0 * subject_deviation(&scene.model, &[&[12], &[30]]).expect("deviation");
    let direction: Direction = files::read_json(&scene.folder.join("d.json")).expect("direction");
    let head = Site::of_head(0, 1);
    let others: Vec<Site> = [0, 2, 3]
        .map(|head| Site::of_head(0, head))
        .into_iter()
        .chain([
            Site::everywhere(SiteKind::MlpOut, 0),
            Site::everywhere(SiteKind::AttnOut, 1),
            Site::everywhere(SiteKind::MlpOut, 1),
        ])
        .collect();
    let row = |set: &str, intervention: &str, denoise: bool, measure: &Measure| {
        let wanted = |row: &&AblationRow| {
            let direction = if denoise { PatchDirection::Denoise } else { PatchDirection::Noise };
            (row.id.as_str(), row.set.as_str(), row.intervention.as_str()) == ("p0", set, intervention)
                && row.direction == direction
                && row.measure == *measure
        };
        rows.iter().find(wanted).unwrap_or_else(|| panic!("no row of {set}, {intervention}")).clone()
    };
    for (denoise, side) in [(false, Side::Factual), (true, Side::Counterfactual)] {
        let plain = sides.map(|side| scene.received(side, Vec::new()));
        let [base, source] = if denoise { [plain[1], plain[0]] } else { plain };
        for (name, change) in [
            ("mean", Intervention::Mean { reference: reference.clone() }),
            ("noise", Intervention::Noise { deviation, draws: 2, seed: 3 }),
            ("add 2 d.json", Intervention::Add { direction: direction.clone(), scale: 2.0 }),
            ("interchange", Intervention::Interchange),
        ] {
            let found = row("head", name, denoise, &Measure::Joint);
            assert!((found.base - base).abs() < 1e-5 && (found.source - source).abs() < 1e-5, "{found:?}");
            let cell = (head.clone(), change);
            let expected = scene.received(side, vec![cell.clone()]);
            assert!((found.patched - expected).abs() < 1e-5 && found.effect.abs() > 1e-4, "{found:?} for {expected}");
            assert!((found.effect - (found.patched - found.base)).abs() < 1e-12);
            // Directly: with all other heads and MLPs as they were.
            let own = Intervention::Resample { prompt: named(&scene.pairs[0], side) };
            let held = others.iter().map(|site| (site.clone(), own.clone()));
            let expected = scene.received(side, [cell].into_iter().chain(held).collect());
            let direct = row("head", name, denoise, &Measure::Direct);
            assert!((direct.patched - expected).abs() < 1e-5, "{direct:?} for {expected}");
            assert!((direct.patched - found.patched).abs() > 1e-5, "the rest of the model answers: {direct:?}");
        }
        // The other heads of the second layer would answer the head of the first.
        let own = Intervention::Resample { prompt: named(&scene.pairs[0], side) };
        let moved = [(0, 1), (1, 2)].map(|(layer, head)| (Site::of_head(layer, head), Intervention::Interchange));
        let mut held: Vec<Site> = [0, 2, 3].map(|head| Site::of_head(0, head)).to_vec();
        held.extend([0, 1, 3].map(|head| Site::of_head(1, head)));
        held.extend([0, 1].map(|layer| Site::everywhere(SiteKind::MlpOut, layer)));
        let cells = moved.into_iter().chain(held.into_iter().map(|site| (site, own.clone())));
        let expected = scene.received(side, cells.collect());
        let direct = row("two layers", "interchange", denoise, &Measure::Direct);
        assert!((direct.patched - expected).abs() < 1e-5, "{direct:?} for {expected}");
        // The same side of some other pair.
        let found = row("head", "resample", denoise, &Measure::Joint).patched;
        let from = |pair: &TokenPair, side| {
            let prompt = named(pair, side);
            let runs = scene.received(
                if denoise { Side::Counterfactual } else { Side::Factual },
                vec![(head.clone(), Intervention::Resample { prompt })],
            );
            (runs - found).abs() < 1e-5
        };
        assert!(scene.pairs[1..].iter().any(|pair| from(pair, side)), "{found}");
        assert!(!scene.pairs.iter().any(|pair| from(pair, side.other())), "{found}");
        for head in 0..4 {
            let found = row(&Site::of_head(1, head).to_string(), "zero", denoise, &Measure::Joint).patched;
            let expected = scene.received(side, vec![(Site::of_head(1, head), Intervention::Zero)]);
            assert!((found - expected).abs() < 1e-5, "head {head}: {found} for {expected}");
        }
    }
}

/// A divergence's receiver is its own zero; its donor is the receiver that ends as the other side does.
#[test]
fn a_divergence_is_held_against_the_other_side_s_end() {
    let scene = scene("divergence");
    let plan = CHANGES.replace("seed = 3", "seed = 3\noutcome = \"kl\"");
    files::write_atomic(&scene.folder.join("plan.toml"), plan.as_bytes()).expect("plan");
    let rows = scene.run(&Silent).expect("rows");
    let plans = [Plan::interchange(Side::Factual, &[Site::everywhere(SiteKind::ResidPre, 0)])];
    let jobs = [Job { pair: &scene.pairs[0], plans: &plans }];
    let whole = NaiveEngine::default().outcomes(&scene.model, &jobs, Outcome::Kl, &Silent).expect("divergence")[0][0];
    let row = rows.iter().find(|row| row.id == "p0" && row.direction == PatchDirection::Noise).expect("a row");
    assert!(row.base.abs() < 1e-6 && (row.source - whole).abs() < 1e-5 && whole > 1e-3, "{row:?} for {whole}");
}

#[test]
fn a_window_opens_as_many_layers_as_it_says() {
    let seed = Seed::new(1);
    let planted = CompiledModel::new(&CompiledSpec::default(), &seed).expect("three blocks");
    let path = scene("window").folder.join("plan.toml");
    for (window, layers) in [(1, 1), (2, 2), (3, 3), (9, 3)] {
        files::write_atomic(&path, PLAN.replace("window = 5", &format!("window = {window}")).as_bytes()).expect("plan");
        let sets = AblationPlan::load(&path).expect("plan").resolve(planted.model.architecture()).expect("sets");
        let sites = &sets.iter().find(|set| set.name == "window").expect("set").sites;
        let expected: Vec<Site> = (0..layers).map(|layer| Site::at_slot(SiteKind::AttnOut, layer, "last")).collect();
        assert_eq!(*sites, expected, "{window}");
    }
}
