//! The engine that reuses against the one that does not: the same numbers, on every family and on random plans.

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use counterpath::base::seed::{index, uniform};
use counterpath::base::{Seed, Silent};
use counterpath::intervene::{
    Direction, Intervention, Job, NaiveEngine, NamedPrompt, Outcome, Part, Plan, Positions, Reference, ReuseEngine,
    Side, Site, SiteKind, Subspace, SweepEngine, TokenPair,
};
use counterpath::model::{LanguageModel, TokenizedPrompt};

use super::parity::cases;
use super::small::{gpt2_config, model};
use super::tiny::{VOCABULARY, tiny_model};

const SIDES: [Side; 2] = [Side::Factual, Side::Counterfactual];

fn draw(rng: &mut impl rand::Rng, below: usize) -> usize {
    index(rng, below)
}

fn prompt(ids: Vec<u32>, answers: &[Vec<u32>], slot: std::ops::Range<usize>) -> TokenizedPrompt {
    TokenizedPrompt { ids, answers: answers.to_vec(), slots: vec![("name".to_owned(), slot)] }
}

/// A pair with a shared front, a slot of one or two tokens a side, and a shared end; answers of one or two tokens.
fn random_pair(rng: &mut impl rand::Rng, vocabulary: usize, number: usize) -> TokenPair {
    let mut tokens = |n: usize| -> Vec<u32> { (0..n).map(|_| 1 + draw(rng, vocabulary - 1) as u32).collect() };
    let (front, end) = (tokens(1 + number % 4), tokens(1 + number % 5));
    let (a, b) = (tokens(1 + number % 2), tokens(1 + number / 2 % 2));
    let answers = [tokens(1 + number % 3 / 2), tokens(1 + number % 5 / 4)];
    let side = |middle: &[u32]| {
        prompt([front.as_slice(), middle, &end].concat(), &answers, front.len()..front.len() + middle.len())
    };
    TokenPair::new(format!("p{number}"), "c", side(&a), side(&b)).expect("pair")
}

/// One to three cells of any kind, at any place, with any intervention that the site takes; cells of one kind and
/// layer are left out, so that none meet.
fn random_plan(rng: &mut impl rand::Rng, model: &LanguageModel, pair: &TokenPair) -> Plan {
    let architecture = model.architecture();
    let receiver = SIDES[draw(rng, 2)];
    let mut cells: Vec<(Site, Intervention)> = Vec::new();
    for _ in 0..1 + draw(rng, 3) {
        let site = random_site(rng, model, pair);
        let intervention = random_intervention(rng, model, pair, receiver, &site);
        let cell = Plan { receiver, cells: vec![(site.clone(), intervention.clone())] };
        let apart = cells.iter().all(|(other, _)| other.kind != site.kind || other.layer != site.layer);
        if apart && cell.check(architecture).is_ok() {
            cells.push((site, intervention));
        }
    }
    Plan { receiver, cells }
}

fn random_positions(rng: &mut impl rand::Rng, pair: &TokenPair) -> Positions {
    let partners = pair.alignment().partners();
    match draw(rng, 4) {
        0 => Positions::Slot("name".to_owned()),
        1 => Positions::Slot("last".to_owned()),
        2 => Positions::Index(partners[draw(rng, partners.len())].0),
        _ => Positions::All,
    }
}

fn random_site(rng: &mut impl rand::Rng, model: &LanguageModel, pair: &TokenPair) -> Site {
    let architecture = model.architecture();
    let kind = SiteKind::ALL[draw(rng, SiteKind::ALL.len())];
    let layer = if kind.is_embedding() { 0 } else { draw(rng, architecture.n_layers) };
    let mut site = Site::at(kind, layer, random_positions(rng, pair));
    if let Some(heads) = kind.heads(architecture).filter(|_| draw(rng, 2) == 0) {
        site.head = Some(draw(rng, heads));
    }
    site.part = match kind {
        SiteKind::MlpPost if draw(rng, 2) == 0 => {
            let first = draw(rng, architecture.d_mlp);
            Part::Neurons { first, end: first + 1 + draw(rng, architecture.d_mlp - first) }
        }
        SiteKind::Pattern if draw(rng, 2) == 0 => match random_positions(rng, pair) {
            Positions::All => Part::All,
            sources => Part::From(sources),
        },
        _ => Part::All,
    };
    site
}

fn random_intervention(
    rng: &mut impl rand::Rng,
    model: &LanguageModel,
    pair: &TokenPair,
    receiver: Side,
    site: &Site,
) -> Intervention {
    let named = |name: &str, prompt: &TokenizedPrompt| NamedPrompt::new(name, prompt).expect("prompt");
    let width = site.width(model.architecture()).unwrap_or(1);
    let mut values = |n: usize| -> Vec<f32> { (0..n).map(|_| uniform(rng) as f32 - 0.5).collect() };
    let rows = values(width * 2);
    let subspace = Subspace::spanned(&Tensor::from_vec(rows, (2, width), &Device::Cpu).expect("rows")).expect("span");
    let direction = Direction::new("d", values(width)).expect("direction");
    let mut long = pair.factual.clone();
    long.ids.extend([5, 6, 7, 8]);
    let prompts = vec![named("a", &pair.counterfactual), named("b", &long)];
    let reference = Reference::new("reference", prompts).expect("reference");
    match draw(rng, 12) {
        0 => Intervention::Zero,
        1 => Intervention::RandomDirection { seed: 7 },
        2 => Intervention::Mean { reference },
        3 => Intervention::PositionalMean { reference },
        4 => Intervention::Resample { prompt: named("other", pair.side(receiver.other())) },
        5 => Intervention::Noise { deviation: 0.3, draws: 3, seed: 9 },
        6 => Intervention::Add { direction, scale: -1.5 },
        7 => Intervention::ProjectOut { subspace },
        8 => Intervention::InterchangeWithin { subspace },
        _ => Intervention::Interchange,
    }
}

/// Both engines on the same jobs; the largest difference relative to the largest effect.
fn compare(model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome, reuse: ReuseEngine) -> (f64, f64) {
    let naive = NaiveEngine::default().outcomes(model, jobs, outcome, &Silent).expect("naive").concat();
    let reused = reuse.outcomes(model, jobs, outcome, &Silent).expect("reuse").concat();
    assert_eq!(naive.len(), reused.len());
    let span = |values: &[f64]| {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        high - low
    };
    let worst = naive.iter().zip(&reused).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (worst, span(&naive))
}

/// Pairs with random plans on each.
fn random_jobs(model: &LanguageModel, seed: u64, pairs: usize, plans: usize) -> (Vec<TokenPair>, Vec<Vec<Plan>>) {
    let mut rng = Seed::new(seed).rng();
    let pairs: Vec<TokenPair> = (0..pairs)
        .map(|number| random_pair(&mut rng, model.architecture().vocab_size.min(VOCABULARY), number))
        .collect();
    let plans = pairs.iter().map(|pair| (0..plans).map(|_| random_plan(&mut rng, model, pair)).collect()).collect();
    (pairs, plans)
}

fn check(name: &str, model: &LanguageModel, seed: u64, pairs: usize, plans: usize, reuse: ReuseEngine) {
    let (pairs, plans) = random_jobs(model, seed, pairs, plans);
    let jobs: Vec<Job<'_>> = pairs.iter().zip(&plans).map(|(pair, plans)| Job { pair, plans }).collect();
    for outcome in [Outcome::Contrast, Outcome::LogOdds, Outcome::Probability, Outcome::Kl] {
        let (worst, span) = compare(model, &jobs, outcome, reuse);
        assert!(span > 1e-3, "{name}, {outcome}: nothing moves, so nothing is compared ({span})");
        assert!(worst <= 1e-5 * span.max(1.0), "{name}, {outcome}: {worst} apart at a span of {span}");
    }
}

/// What the tests below draw, counted: every intervention at every kind of site that takes it, every way of naming a
/// position, heads and parts, both receivers, and plans of one to three cells.
#[test]
fn random_plans_reach_every_site_and_intervention() {
    let mut drawn: BTreeSet<(SiteKind, &str)> = BTreeSet::new();
    let (mut ways, mut kinds): (BTreeSet<String>, BTreeSet<SiteKind>) = Default::default();
    let tiny = (0..4).map(|seed| (tiny_model(seed), seed, 12, 30));
    // Learned positions, as among the families.
    for (model, seed, pairs, plans) in tiny.chain([(model(&gpt2_config()), 11, 12, 30)]) {
        kinds.extend(
            SiteKind::ALL.into_iter().filter(|kind| Site::everywhere(*kind, 0).check(model.architecture()).is_ok()),
        );
        let (_, plans) = random_jobs(&model, seed, pairs, plans);
        for plan in plans.iter().flatten() {
            ways.insert(format!("{:?}, {} cells", plan.receiver, plan.cells.len()));
            for (site, what) in &plan.cells {
                drawn.insert((site.kind, what.name()));
                ways.insert(match &site.positions {
                    Positions::Slot(name) => format!("slot {name}"),
                    Positions::Index(_) => "index".to_owned(),
                    Positions::All => "all".to_owned(),
                });
                ways.extend(site.head.map(|_| format!("{} head", site.kind)));
                match &site.part {
                    Part::All => {}
                    Part::Neurons { .. } => drop(ways.insert("neurons".to_owned())),
                    Part::From(_) => drop(ways.insert("sources".to_owned())),
                }
            }
        }
    }
    assert_eq!(kinds.len(), SiteKind::ALL.len(), "every kind of site is there in some model");
    let anywhere = ["interchange", "zero", "positional_mean", "resample"];
    let vectors = ["random_direction", "mean", "noise", "add", "project_out", "interchange_within"];
    for kind in SiteKind::ALL {
        let whole = kind != SiteKind::Pattern;
        for name in anywhere.into_iter().chain(vectors.into_iter().filter(|_| whole)) {
            assert!(drawn.contains(&(kind, name)), "{name} was never drawn at {kind}");
        }
    }
    for side in ["Factual", "Counterfactual"] {
        for cells in 1..=3 {
            assert!(ways.contains(&format!("{side}, {cells} cells")), "{side}, {cells} cells");
        }
    }
    for way in [
        "slot name",
        "slot last",
        "index",
        "all",
        "neurons",
        "sources",
        "q head",
        "k head",
        "v head",
        "z head",
        "pattern head",
    ] {
        assert!(ways.contains(way), "{way}: {ways:?}");
    }
}

#[test]
fn random_plans_give_the_same_numbers_at_any_batch_size() {
    for seed in 0..4 {
        let model = tiny_model(seed);
        check("tiny", &model, seed, 12, 30, ReuseEngine::default());
        check("tiny, one run a batch", &model, seed, 5, 6, ReuseEngine { batch_tokens: 1, cache_bytes: 1 });
        check("tiny, small batches", &model, seed, 12, 6, ReuseEngine { batch_tokens: 60, cache_bytes: 1 << 30 });
    }
}

#[test]
fn every_family_gives_the_same_numbers() {
    for case in cases().iter().filter(|case| case.name.ends_with("(config.json)")) {
        let (name, model) = (&case.name, &case.model);
        check(name, model, 11, 6, 20, ReuseEngine::default());
        // Long enough for windows to slide and rope to scale.
        let ids = case.ids();
        let answers = [vec![3], vec![4]];
        let side = |row: usize| prompt(ids[row].clone(), &answers, 0..1);
        let pair = TokenPair::new("golden", "c", side(0), side(1)).expect("pair");
        let mut plans = Vec::new();
        for layer in 0..model.architecture().n_layers {
            for position in 0..pair.factual.ids.len() {
                plans.push(Plan::interchange(Side::Factual, &[Site::at_index(SiteKind::ResidPre, layer, position)]));
            }
            for head in 0..model.architecture().n_heads {
                plans.push(Plan::interchange(Side::Factual, &[Site::of_head(layer, head)]));
            }
            for kind in [SiteKind::AttnOut, SiteKind::ResidMid, SiteKind::MlpPost, SiteKind::MlpOut] {
                let plan = Plan::interchange(Side::Factual, &[Site::at_slot(kind, layer, "last")]);
                plans.extend(plan.check(model.architecture()).is_ok().then_some(plan));
            }
        }
        let jobs = [Job { pair: &pair, plans: &plans }];
        let (worst, span) = compare(model, &jobs, Outcome::Contrast, ReuseEngine::default());
        assert!(worst <= 1e-5 * span.max(1.0), "{name}: {worst} apart at a span of {span}");
    }
}

#[test]
fn cells_that_meet_are_added_once() {
    let model = tiny_model(6);
    let mut rng = Seed::new(3).rng();
    let pairs: Vec<TokenPair> = (0..4).map(|number| random_pair(&mut rng, VOCABULARY, number)).collect();
    let neurons =
        |first, end| Site { part: Part::Neurons { first, end }, ..Site::at_slot(SiteKind::MlpPost, 0, "last") };
    let zero = |sites: &[Site]| Plan {
        receiver: Side::Factual,
        cells: sites.iter().map(|site| (site.clone(), Intervention::Zero)).collect(),
    };
    let plans = [
        zero(&[neurons(0, 9), neurons(4, 20)]),
        zero(&[neurons(4, 20), neurons(0, 9), neurons(8, 12)]),
        zero(&[Site::of_head(0, 1), Site::of_head(0, 2)]),
    ];
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    let (worst, span) = compare(&model, &jobs, Outcome::Contrast, ReuseEngine::default());
    assert!(span > 1e-3 && worst <= 1e-5 * span.max(1.0), "{worst} apart at a span of {span}");
}

#[test]
fn what_can_change_nothing_is_not_run_and_the_rest_is_a_fraction() {
    let model = tiny_model(3);
    let answers = [vec![3], vec![4]];
    let side = |name: u32| prompt(vec![1, 7, 9, name, 10, 11, 12, 5], &answers, 3..4);
    let pair = TokenPair::new("p", "c", side(20), side(30)).expect("pair");
    let at = |layer, position| Plan::interchange(Side::Factual, &[Site::at_index(SiteKind::ResidPre, layer, position)]);
    let cost = |plans: &[Plan]| {
        let jobs = [Job { pair: &pair, plans }];
        ReuseEngine::default().operations(&model, &jobs, Outcome::Contrast).expect("operations")
    };
    // A token meets 256 weights of queries, as many of keys and values and of the heads' output, and 1152 of the MLP; the
    // products of its heads with a key take 2·16. In the last block queries and what is behind them run where the
    // outcome is read, and two logits take 16 weights each.
    let (queries, stored, out, mlp, key) = (256, 256, 256, 1152, 32);
    let block = |tokens: u64, keys: u64| tokens * (queries + stored + out + mlp) + key * keys;
    let last = |tokens: u64| tokens * stored + queries + 8 * key + out + mlp + 32;
    let plain = block(8, 36) + last(8);
    let full = 2 * block(8, 36) + 40 * 16;
    // The prompts are the same before token 3, and so are the embeddings behind it.
    let idle = cost(&[at(0, 0), at(1, 2), at(0, 5)]);
    assert_eq!((idle.reused, idle.naive), (2 * plain, 3 * full));
    // Block 1 alone from position 5, both blocks from position 3.
    let busy = cost(&[at(1, 5), at(0, 3)]);
    assert_eq!((busy.reused, busy.naive), (2 * plain + last(3) + block(5, 36 - 6) + last(5), 2 * full));
    // A head of the first block: what it changes is projected by its own four rows at five positions, and the block goes
    // on with its MLP.
    let heads = cost(&[Plan::interchange(Side::Factual, &[Site::of_head(0, 1)])]);
    assert_eq!(heads.reused, 2 * plain + 5 * (4 * 16 + mlp) + last(5));
    // Two neurons of it at the last position, and then the last block alone.
    let neurons = Site { part: Part::Neurons { first: 3, end: 5 }, ..Site::at_slot(SiteKind::MlpPost, 0, "last") };
    assert_eq!(cost(&[Plan::interchange(Side::Factual, &[neurons])]).reused, 2 * plain + 2 * 16 + last(1));
    // A head of the last block where it is read: queries of the plain runs are then stored at every position.
    let head = Site { positions: Positions::Slot("last".to_owned()), ..Site::of_head(1, 1) };
    let all = block(8, 36) + 8 * (queries + stored) + key * 36 + out + mlp + 32;
    assert_eq!(cost(&[Plan::interchange(Side::Factual, &[head])]).reused, 2 * all + out + mlp + 32);
    // Behind the last block, of which the plain runs then store every position.
    let end = cost(&[Plan::interchange(Side::Factual, &[Site::at_slot(SiteKind::ResidPost, 1, "last")])]);
    assert_eq!(end.reused, 2 * (2 * block(8, 36) + 32) + 32);
}

#[test]
fn what_prompts_begin_with_is_run_once() {
    let model = tiny_model(5);
    let mut rng = Seed::new(17).rng();
    let stems: Vec<Vec<u32>> =
        (0..2).map(|_| (0..20).map(|_| 1 + draw(&mut rng, VOCABULARY - 1) as u32).collect()).collect();
    let pairs: Vec<TokenPair> = (0..12)
        .map(|number| {
            let pair = random_pair(&mut rng, VOCABULARY, number);
            let stem = &stems[number % 2];
            let side = |side: Side| {
                let TokenizedPrompt { ids, answers, slots } = pair.side(side);
                let slots = slots.iter().map(|(_, slot)| slot.start + stem.len()..slot.end + stem.len()).next();
                prompt([stem, ids.as_slice()].concat(), answers, slots.expect("slot"))
            };
            TokenPair::new(pair.id.clone(), "c", side(Side::Factual), side(Side::Counterfactual)).expect("pair")
        })
        .collect();
    let without_patterns = |plan: &Plan| plan.cells.iter().all(|(site, _)| site.kind != SiteKind::Pattern);
    let plans: Vec<Vec<Plan>> = pairs
        .iter()
        .map(|pair| (0..12).map(|_| random_plan(&mut rng, &model, pair)).filter(without_patterns).collect())
        .collect();
    let jobs: Vec<Job<'_>> = pairs.iter().zip(&plans).map(|(pair, plans)| Job { pair, plans }).collect();
    for outcome in [Outcome::Contrast, Outcome::LogOdds, Outcome::Kl] {
        let (worst, span) = compare(&model, &jobs, outcome, ReuseEngine::default());
        assert!(span > 1e-3 && worst <= 1e-5 * span.max(1.0), "{outcome}: {worst} apart at a span of {span}");
    }
    // A pair that only runs plainly: both sides of all pairs together, against each by itself.
    let idle = [Plan::interchange(Side::Factual, &[Site::at_index(SiteKind::ResidPre, 0, 0)])];
    let cost = |pairs: &[TokenPair]| {
        let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &idle }).collect();
        ReuseEngine::default().operations(&model, &jobs, Outcome::Contrast).expect("operations").reused
    };
    let apart: u64 = pairs.iter().map(|pair| cost(std::slice::from_ref(pair))).sum();
    // Ten of twelve times twenty tokens need the first block no more, and at least its 1920 weights.
    assert!(cost(&pairs) + 10 * 20 * 1920 < apart, "{} against {apart}", cost(&pairs));
}
