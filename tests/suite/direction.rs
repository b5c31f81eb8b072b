//! Directions against a model whose subspaces are known, and against the definitions.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use counterpath::base::Seed;
use counterpath::base::Silent;
use counterpath::base::seed::{normal, uniform};
use counterpath::direction::{
    Card, DasSpec, Direction, DirectionError, Eraser, FitSpec, FittedOn, JudgeSpec, LEAST_HELD_OUT, Material, Matrix,
    Method, Named, OwnRule, Place, ReadSpace, Readings, SameWeights, Stage, Vector, disentangle, erase, fit, fold,
    interchange_gradient, judge, minimal, principal_angles, random_basis, test as test_direction, train,
};
use counterpath::intervene::{Intervention, Job, NaiveEngine, Outcome, Plan, Side, Site, SweepEngine, TokenPair};
use counterpath::model::{LanguageModel, TokenizedPrompt};
use counterpath::stats::Bootstrap;
use serde_json::json;

use super::tiny::tiny_model;

const WIDTH: usize = 24;
/// Words of each combination of the two variables.
const WORDS: usize = 400;

fn bootstrap() -> Bootstrap {
    Bootstrap { replicates: 500, level: 0.95, seed: Seed::new(4) }
}

fn judging() -> JudgeSpec {
    JudgeSpec { random_draws: 20, bootstrap: bootstrap() }
}

/// The directions of the planted model, orthonormal: what A and B stand in and is read, what goes along with A and
/// nobody reads, and what is read and never varies.
struct Planted {
    model: LanguageModel,
    axes: Matrix,
}

impl Planted {
    const A: usize = 0;
    const B: usize = 1;
    const UNREAD: usize = 2;
    const DORMANT: usize = 3;

    /// One block that adds nothing. A word stands for values of A and B (±1 on their axes), for `unread` · A on an axis
    /// that nobody reads, and for noise on the rest; all words are equally long, so that the final norm divides by one
    /// number. The head reads 1.5 A + B, and 4 times the dormant axis, into answer 0 against answer 1, and every axis
    /// but the unread one into other tokens.
    fn new(unread: f64) -> Self {
        let axes = random_basis(WIDTH, WIDTH, &Seed::new(77));
        let vocab = 2 + 4 * WORDS;
        let mut embedding = vec![0f32; 2 * WIDTH];
        for word in 0..4 * WORDS {
            let mut rng = Seed::new(5).fork(&word.to_string()).rng();
            let (a, b) = values(word as u32 + 2);
            let mut noise = Vector::from_fn(WIDTH, |at, _| if at > 3 { normal(&mut rng) } else { 0.0 });
            noise *= 2.0 / noise.norm();
            let mut along = noise;
            (along[Self::A], along[Self::B], along[Self::UNREAD]) = (a, b, unread * a);
            embedding.extend((&axes * along).iter().map(|x| *x as f32));
        }
        let reads = axes.column(Self::A) * 1.5 + axes.column(Self::B) + axes.column(Self::DORMANT) * 4.0;
        let mut head = vec![0f32; vocab * WIDTH];
        for (at, read) in reads.iter().enumerate() {
            (head[at], head[WIDTH + at]) = (*read as f32, -*read as f32);
        }
        for axis in (0..WIDTH).filter(|axis| *axis != Self::UNREAD) {
            for (at, entry) in axes.column(axis).iter().enumerate() {
                head[(2 + axis) * WIDTH + at] = *entry as f32;
            }
        }
        let config = json!({
            "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": vocab, "max_position_embeddings": 16,
            "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": false
        });
        let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("zeros");
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, shape) in [
            ("self_attn.q_proj", [WIDTH, WIDTH]),
            ("self_attn.k_proj", [WIDTH, WIDTH]),
            ("self_attn.v_proj", [WIDTH, WIDTH]),
            ("self_attn.o_proj", [WIDTH, WIDTH]),
            ("mlp.gate_proj", [8, WIDTH]),
            ("mlp.up_proj", [8, WIDTH]),
            ("mlp.down_proj", [WIDTH, 8]),
        ] {
            tensors.insert(format!("model.layers.0.{name}.weight"), zeros(&shape));
        }
        let ones = Tensor::ones(WIDTH, candle_core::DType::F32, &Device::Cpu).expect("ones");
        for name in ["model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"] {
            tensors.insert(format!("{name}.weight"), ones.clone());
        }
        let table = |values: Vec<f32>| Tensor::from_vec(values, (vocab, WIDTH), &Device::Cpu).expect("table");
        tensors.insert("model.embed_tokens.weight".into(), table(embedding));
        tensors.insert("lm_head.weight".into(), table(head));
        let model = LanguageModel::from_parts(&config, tensors, None, &Device::Cpu).expect("planted model");
        Self { model, axes }
    }

    fn axis(&self, which: usize) -> Matrix {
        self.axes.columns(which, 1).into_owned()
    }

    fn site() -> Site {
        "blocks.0.hook_resid_post[slot=last]".parse().expect("a site")
    }

    /// Pairs of words of one half of the vocabulary that differ in A (or B) and in their noise.
    fn pairs(variable: char, half: usize, count: usize) -> Vec<TokenPair> {
        let seed = Seed::new(11).fork(&format!("{variable}{half}"));
        let made = (0..count).map(|number| {
            let mut rng = seed.fork(&number.to_string()).rng();
            let mut word = |a: bool, b: bool| {
                let word = half * WORDS / 2 + (uniform(&mut rng) * (WORDS / 2) as f64) as usize;
                2 + (4 * word + 2 * usize::from(a) + usize::from(b)) as u32
            };
            let (a, b) = (number % 2 == 0, number % 4 < 2);
            let (from, to) = match variable {
                'a' => (word(a, b), word(!a, b)),
                _ => (word(a, b), word(a, !b)),
            };
            let prompt =
                |word: u32| TokenizedPrompt { ids: vec![2, word], answers: vec![vec![0], vec![1]], slots: Vec::new() };
            let (id, cluster) = (format!("{variable}{half}/{number}"), format!("c{}", number % 10));
            let mut pair = TokenPair::new(id, cluster, prompt(from), prompt(to)).expect("a pair");
            let value = |word: u32| if variable == 'a' { values(word).0 } else { values(word).1 };
            pair.values = Some([value(from).to_string(), value(to).to_string()]);
            pair
        });
        made.collect()
    }

    fn material(variable: char, half: usize) -> Material {
        let other = if variable == 'a' { 'b' } else { 'a' };
        Material::new(Self::pairs(variable, half, 300), Self::pairs(other, half, 60), &Seed::new(3))
    }
}

/// A and B of a word.
fn values(token: u32) -> (f64, f64) {
    let sign = |bit: u32| if bit == 1 { 1.0 } else { -1.0 };
    (sign((token - 2) / 2 % 2), sign((token - 2) % 2))
}

fn spec(method: Method, rank: Option<usize>) -> FitSpec {
    FitSpec { method, rank, das: DasSpec::new(1, Seed::new(8)), judge: judging() }
}

pub fn value(estimate: &counterpath::stats::Estimate) -> f64 {
    estimate.value.unwrap_or_else(|| panic!("undefined: {:?}", estimate.undefined))
}

#[test]
fn das_recovers_the_planted_direction_from_any_start() {
    let planted = Planted::new(0.0);
    let (fitted, held_out) = (Planted::material('a', 0), Planted::material('a', 1));
    let place = Place::new(&Planted::site(), planted.model.architecture()).expect("place");
    let stage = Stage::new(&planted.model, &place, &fitted.exchanges).expect("stage");
    let das = DasSpec { random_starts: 2, ..DasSpec::new(1, Seed::new(8)) };
    let trained = train(&stage, &das, &Silent).expect("trained");
    let angle = principal_angles(&trained.basis_wk, &planted.axis(Planted::A))[0];
    assert!(angle < 3.0, "{angle} degrees from the truth, losses {:?}", trained.losses);
    assert!(trained.losses.iter().all(|loss| *loss < 0.02), "every start gets there: {:?}", trained.losses);
    let square = trained.basis_wk.tr_mul(&trained.basis_wk);
    assert!((square - Matrix::identity(1, 1)).amax() < 1e-9, "the basis stayed orthonormal");
    let start = random_basis(WIDTH, 1, &das.seed.fork("start 0"));
    assert!(principal_angles(&start, &planted.axis(Planted::A))[0] > 30.0, "it was not given the answer");

    let found =
        fit(&planted.model, &Planted::site(), (&fitted, &held_out), &spec(Method::Das, None), &Silent).expect("fitted");
    let judged = &found.held_out.judged;
    assert!(value(&judged.accuracy) > 0.95 && value(&judged.accuracy_of_turning) > 0.95, "{judged:?}");
    assert!(value(&judged.accuracy_of_nothing) < 0.8, "doing nothing is not enough: {judged:?}");
    assert!((value(&judged.share) - 1.0).abs() < 0.1, "{judged:?}");
    assert!(value(&judged.share_outside).abs() < 0.1, "nothing leaks: {judged:?}");
    assert!(value(&judged.share_of_others).abs() < 0.1, "B stays: {judged:?}");
    assert!(judged.random.p_value < 0.05 && judged.random.mean_share < 0.3, "{judged:?}");
    assert!(found.held_out.objections.is_empty(), "{:?}", found.held_out.objections);
    assert!((value(&found.training.share) - value(&judged.share)).abs() < 0.1, "no gap to other words");
}

#[test]
fn boundless_das_keeps_about_as_many_dimensions_as_there_are() {
    let planted = Planted::new(0.0);
    let parts = (&Planted::material('a', 0), &Planted::material('a', 1));
    let found =
        fit(&planted.model, &Planted::site(), parts, &spec(Method::Boundless, Some(12)), &Silent).expect("fitted");
    let rank = found.direction.basis_wk.ncols();
    assert!((1..=4).contains(&rank), "rank {rank} of 12, losses {:?}", found.training.losses);
    let judged = &found.held_out.judged;
    assert!((value(&judged.share) - 1.0).abs() < 0.15 && value(&judged.share_of_others).abs() < 0.15, "{judged:?}");
}

#[test]
fn the_other_methods_find_what_can_be_read_and_leace_leaves_nothing() {
    let planted = Planted::new(2.0);
    let parts = (&Planted::material('a', 0), &Planted::material('a', 1));
    let by = |method| fit(&planted.model, &Planted::site(), parts, &spec(method, None), &Silent).expect("fitted");
    // Means differ along A's axis by 2 and along the unread one by 4, so the angle to A's is arctan 2.
    let mean = by(Method::Mean);
    let angle = principal_angles(&mean.direction.basis_wk, &planted.axis(Planted::A))[0];
    assert!((angle - 2f64.atan().to_degrees()).abs() < 6.0, "{angle}");
    let leace = by(Method::Leace);
    assert!(value(&leace.held_out.readable.accuracy) > 0.95);
    let (erased, majority) = (&leace.held_out.readable_erased, leace.held_out.readable_erased.majority);
    assert!(value(&erased.accuracy) < majority + 0.2, "{erased:?}");
    let selective = &leace.held_out.readable.selectivity;
    assert!(value(selective) > 0.2, "A is read, random labels of words are not: {selective:?}");
    let probe = by(Method::Probe);
    assert!(value(&probe.held_out.readable_inside.accuracy) > 0.95);
    assert_eq!(leace.direction.subspace().expect("orthonormal").dimensions(), 1);
}

#[test]
fn a_dormant_path_is_told_from_a_real_one() {
    let planted = Planted::new(2.0);
    let material = Planted::material('a', 1);
    let place = Place::new(&Planted::site(), planted.model.architecture()).expect("place");
    let stage = Stage::new(&planted.model, &place, &material.exchanges).expect("stage");
    let judged = |basis: &Matrix| judge(&stage, basis, &judging(), &Silent).expect("judged");
    let real = judged(&planted.axis(Planted::A));
    assert!(real.objections().is_empty(), "{:?}", real.objections());
    assert!(
        real.dormant.unread_part.expect("known") < 0.01 && value(&real.dormant.unread_effect).abs() < 0.05,
        "{real:?}"
    );
    // Neither half does anything alone: one is not read, the other does not vary.
    let (unread, dormant) = (planted.axis(Planted::UNREAD), planted.axis(Planted::DORMANT));
    assert!(value(&judged(&unread).share).abs() < 1e-3);
    assert!(value(&judged(&dormant).share).abs() < 1e-3);
    let illusion = judged(&((unread + dormant) / 2f64.sqrt()));
    assert!(value(&illusion.share) > 1.2, "{illusion:?}");
    assert!((illusion.dormant.unread_part.expect("known") - 0.5).abs() < 0.02, "{illusion:?}");
    assert!(value(&illusion.dormant.unread_effect) > 0.95 && value(&illusion.dormant.beyond_all) > 0.2, "{illusion:?}");
    let objections = illusion.objections().join("; ");
    assert!(objections.contains("more than the whole") && objections.contains("nothing reads"), "{objections}");
    let noise = judged(&random_basis(WIDTH, 1, &Seed::new(1)));
    assert!(!noise.objections().is_empty(), "{noise:?}");
    // What is used without what is read beside it: erasing A's axis leaves A to be read on the unread one.
    let eraser = Eraser::orthogonal(&planted.axis(Planted::A), &Vector::zeros(WIDTH));
    let readings = Readings::of(&planted.model, &place, &material.pairs).expect("readings");
    let left = readings.with(eraser.apply(&readings.x_nw)).readable(&bootstrap());
    assert!(value(&left.accuracy) > 0.95, "{left:?}");
}

#[test]
fn variables_with_subspaces_of_their_own_are_told_from_those_without() {
    let planted = Planted::new(2.0);
    let named = |variable: char, basis_wk: Matrix| Named {
        variable: variable.to_string(),
        direction: Direction {
            site: Planted::site(),
            method: Method::Das,
            eraser: Eraser::orthogonal(&basis_wk, &Vector::zeros(WIDTH)),
            basis_wk,
        },
        pairs: Planted::pairs(variable, 1, 40),
    };
    let table = |a: Matrix, b: Matrix| {
        let variables = [named('a', a), named('b', b)];
        disentangle(&planted.model, &variables, OwnRule::default(), &judging(), &Silent).expect("table")
    };
    let apart = table(planted.axis(Planted::A), planted.axis(Planted::B));
    assert!(apart.rows.iter().all(|row| row.own), "{apart:?}");
    assert!((apart.rows[0].angles[1][0] - 90.0).abs() < 1e-6 && apart.rows[0].angles[0][0] < 1e-4);
    // What the head reads moves the answer for both: it is nobody's own.
    let mixed = (planted.axis(Planted::A) * 1.5 + planted.axis(Planted::B)).normalize();
    let together = table(mixed, planted.axis(Planted::B));
    assert!(!together.rows[0].own && together.rows[1].own, "{together:?}");
    assert!(value(&together.rows[0].shares[1]) > 0.9, "{together:?}");
}

/// Pairs of a tiny random model that differ in one token.
pub fn tiny_pairs(first: u32, count: u32) -> Vec<TokenPair> {
    let prompt = |word: u32, frame: u32| TokenizedPrompt {
        ids: vec![1, 3 + frame, word, 7, 9],
        answers: vec![vec![20, 21], vec![22]],
        slots: vec![("word".into(), 2..3)],
    };
    let pair = |number: u32| {
        let (frame, word) = (number % 3, first + number % 8);
        let (id, cluster) = (format!("{first}/{number}"), format!("f{}", number % 4));
        TokenPair::new(id, cluster, prompt(word, frame), prompt(word + 8, frame)).expect("pair")
    };
    (0..count).map(pair).collect()
}

#[test]
fn the_gradient_of_an_interchange_is_that_of_finite_differences() {
    let model = tiny_model(3);
    for site in
        ["blocks.0.hook_resid_post[slot=word]", "blocks.0.attn.hook_z[head=2]", "blocks.1.hook_mlp_out[slot=last]"]
    {
        let place = Place::new(&site.parse().expect("site"), model.architecture()).expect("place");
        let material = Material::new(tiny_pairs(20, 6), Vec::new(), &Seed::new(1));
        let stage = Stage::new(&model, &place, &material.exchanges).expect("stage");
        let which: Vec<usize> = (0..stage.len()).collect();
        let basis = random_basis(place.width(), 2, &Seed::new(6));
        let (_, gradient) = interchange_gradient(&stage, &basis, &which).expect("gradient");
        assert!(gradient.amax() > 1e-3, "{site}: something depends on it: {}", gradient.amax());
        for entry in [(0, 0), (1, 1), (3, 0), (2, 1)] {
            let nudged = |by: f64| {
                let mut moved = basis.clone();
                moved[entry] += by;
                interchange_gradient(&stage, &moved, &which).expect("loss").0
            };
            let slope = (nudged(1e-2) - nudged(-1e-2)) / 2e-2;
            let error = (slope - gradient[entry]).abs();
            assert!(error < 2e-2 * gradient.amax(), "{site} {entry:?}: {slope} against {}", gradient[entry]);
        }
    }
}

#[test]
fn an_interchange_is_the_plan_of_the_same_subspace() {
    let model = tiny_model(3);
    for site in [
        "blocks.0.hook_resid_post[slot=word]",
        "blocks.0.attn.hook_z[head=2,slot=word]",
        "blocks.0.mlp.hook_post[slot=word]",
    ] {
        let site: Site = site.parse().expect("site");
        let place = Place::new(&site, model.architecture()).expect("place");
        let pairs = tiny_pairs(20, 6);
        let exchanges = minimal(&pairs);
        let stage = Stage::new(&model, &place, &exchanges).expect("stage");
        let basis_wk = random_basis(place.width(), 3, &Seed::new(6));
        let eraser = Eraser::orthogonal(&basis_wk, &Vector::zeros(place.width()));
        let direction = Direction { site: site.clone(), method: Method::Das, basis_wk: basis_wk.clone(), eraser };
        let subspace = direction.subspace().expect("orthonormal");
        let which: Vec<usize> = (0..stage.len()).collect();
        let (own, donor) = stage.vectors(&which).expect("vectors");
        let moved = (own.clone() + subspace.inside(&(donor - own).expect("difference")).expect("inside")).expect("sum");
        let scores: Vec<Vec<f32>> = stage.run(&which, &moved).expect("run").to_vec2().expect("scores");
        let within = Intervention::InterchangeWithin { subspace };
        let plan = Plan { receiver: Side::Factual, cells: vec![(site.clone(), within)] };
        let mut moves = 0.0f64;
        for ((exchange, scores), base) in exchanges.iter().zip(scores).zip(stage.base()) {
            let job = Job { pair: &exchange.pair, plans: std::slice::from_ref(&plan) };
            let engine = NaiveEngine::default();
            let asked = engine.outcomes(&model, &[job], Outcome::LogOdds, &Silent).expect("outcomes")[0][0];
            let found = f64::from(scores[0] - scores[1]);
            assert!((asked - found).abs() < 1e-4, "{site} {}: {found} against the plan's {asked}", exchange.pair.id);
            moves = moves.max((found - base[0] + base[1]).abs());
        }
        assert!(moves > 1e-2, "{site}: something moves");
    }
}

#[test]
fn what_the_readers_do_not_read_moves_nothing() {
    // 48 neurons write into a stream of width 12: at least 36 directions are in the null space of the projection.
    let model = super::small::model(&super::small::gpt2_config());
    let prompt = |word: u32| TokenizedPrompt {
        ids: vec![3, word, 5],
        answers: vec![vec![10], vec![12]],
        slots: vec![("word".into(), 1..2)],
    };
    let pair = |at: u32| TokenPair::new(at.to_string(), "c", prompt(7 + at), prompt(13 + at)).expect("pair");
    let exchanges = minimal(&(0..6).map(pair).collect::<Vec<_>>());
    for (site, most) in [("blocks.0.mlp.hook_post[slot=word]", 12), ("blocks.1.mlp.hook_post[slot=last]", 12)] {
        let place = Place::new(&site.parse().expect("site"), model.architecture()).expect("place");
        let read = ReadSpace::of(&model, &place).expect("weights").expect("known");
        assert!((1..=most).contains(&read.dimensions()), "{site}: {} directions", read.dimensions());
        let stage = Stage::new(&model, &place, &exchanges).expect("stage");
        let drawn = random_basis(48, 6, &Seed::new(1));
        let unread = &drawn - &read.basis_wr * read.basis_wr.tr_mul(&drawn);
        let moved = |basis: &Matrix| {
            let which: Vec<usize> = (0..stage.len()).collect();
            let projection = basis * basis.transpose();
            let values: Vec<f32> = projection.iter().map(|x| *x as f32).collect();
            let projection = Tensor::from_vec(values, (48, 48), &Device::Cpu).expect("symmetric");
            let (own, donor) = stage.vectors(&which).expect("vectors");
            let step = (donor - &own).expect("difference").matmul(&projection).expect("inside");
            let scores: Vec<Vec<f32>> =
                stage.run(&which, &(own + step).expect("sum")).expect("run").to_vec2().expect("scores");
            let change = |(new, old): (&Vec<f32>, &Vec<f64>)| (f64::from(new[0] - new[1]) - (old[0] - old[1])).abs();
            scores.iter().zip(stage.base()).map(change).fold(0.0, f64::max)
        };
        let basis = unread.svd(true, false).u.expect("an orthonormal basis");
        let (nothing, something) = (moved(&basis), moved(&read.basis_wr));
        assert!(nothing < 0.05 * something && something > 1e-3, "{site}: {nothing} against {something}");
        assert!(read.unread(&basis) > 0.999 && read.read_part(&basis).ncols() == 0);
    }
}

#[test]
fn a_large_basis_on_few_pairs_does_better_on_them_than_on_others() {
    let model = tiny_model(3);
    let site: Site = "blocks.0.hook_resid_post[slot=word]".parse().expect("site");
    let parts = (
        &Material::new(tiny_pairs(16, 8), Vec::new(), &Seed::new(1)),
        &Material::new(tiny_pairs(24, 8), Vec::new(), &Seed::new(1)),
    );
    let found = fit(&model, &site, parts, &spec(Method::Das, Some(4)), &Silent).expect("fitted");
    let (seen, unseen) = (value(&found.training.share), value(&found.held_out.judged.share));
    assert!(seen > 0.7, "{seen}");
    assert!(seen - unseen > 0.1, "training {seen}, held out {unseen}");
    let (first, last) = (found.training.curve.first().expect("steps"), found.training.curve.last().expect("steps"));
    assert!(last < first, "{first} to {last}");
}

#[test]
fn erasing_takes_the_effect_and_is_measured_on_others_too() {
    let planted = Planted::new(2.0);
    let eraser = |which| Eraser::orthogonal(&planted.axis(which), &Vector::zeros(WIDTH));
    let direction = |which| Direction {
        site: Planted::site(),
        method: Method::Das,
        basis_wk: planted.axis(which),
        eraser: eraser(which),
    };
    let material = Planted::material('a', 1);
    let erased = |which| erase(&planted.model, &direction(which), &material, &bootstrap(), &Silent).expect("erased");
    let found = erased(Planted::A);
    assert!(value(&found.variable.remaining).abs() < 0.02, "{found:?}");
    assert!(value(&found.variable.before) > 1.0 && value(&found.variable.after) < 0.05, "{found:?}");
    assert!(found.variable.difference.interval.expect("interval").high < 0.0);
    let others = found.others.expect("pairs of B");
    assert!(value(&others.remaining) > 0.95, "{others:?}");
    let unread = erased(Planted::UNREAD);
    assert!(value(&unread.variable.remaining) > 0.95, "what is not read can be erased without effect: {unread:?}");
}

#[test]
fn an_eraser_is_folded_where_weights_can_hold_it_and_refused_elsewhere() {
    let model = super::small::model(&super::small::gpt2_config());
    let prompt = |word: u32| TokenizedPrompt {
        ids: vec![3, word, 5, 6],
        answers: vec![vec![10, 11], vec![12]],
        slots: vec![("word".into(), 1..2)],
    };
    let pairs: Vec<TokenPair> = (0..6u32)
        .map(|at| TokenPair::new(at.to_string(), "c", prompt(7 + at), prompt(13 + at)).expect("pair"))
        .collect();
    let basis_wk = random_basis(12, 2, &Seed::new(2));
    let eraser = Eraser::orthogonal(&basis_wk, &Vector::from_element(12, 0.3));
    let at = |site: &str| Direction {
        site: site.parse().expect("site"),
        method: Method::Mean,
        basis_wk: basis_wk.clone(),
        eraser: eraser.clone(),
    };
    for site in ["blocks.0.hook_attn_out", "blocks.1.hook_mlp_out"] {
        let folded = fold(&model, &at(site), &pairs).expect(site);
        assert!(folded.check.passed && folded.check.worst.expect("a number") < 1e-4, "{:?}", folded.check);
        assert_ne!(folded.model.digest(), model.digest());
    }
    for (site, reason) in
        [("blocks.0.hook_attn_out[slot=word]", "names one"), ("blocks.0.hook_resid_post", "no single projection")]
    {
        let error = fold(&model, &at(site), &pairs).err().expect(site).to_string();
        assert!(error.contains(site) && error.contains(reason) && error.contains("as an intervention"), "{error}");
    }
    let llama = super::small::model(&super::small::llama_config());
    let error = fold(&llama, &at("blocks.0.hook_attn_out"), &pairs).err().expect("no bias").to_string();
    assert!(error.contains("no bias"), "{error}");
}

#[test]
fn a_folder_is_what_was_fitted_and_a_changed_one_is_refused() {
    let planted = Planted::new(2.0);
    let parts = (&Planted::material('a', 0), &Planted::material('a', 1));
    let fitted = fit(&planted.model, &Planted::site(), parts, &spec(Method::Leace, None), &Silent).expect("fitted");
    let folder = std::env::temp_dir().join(format!("counterpath-direction-{}", std::process::id()));
    let fitted_on = FittedOn {
        model: "planted".into(),
        family: planted.model.architecture().family.clone(),
        model_digest: planted.model.digest().clone(),
        adapter: None,
        population: "words".into(),
        population_digest: planted.model.digest().clone(),
        variable: Some("a".into()),
        seed: 1,
    };
    let card = Card::save(&folder, &fitted, fitted_on).expect("saved");
    let (read, direction) = Card::load(&folder).expect("read");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), serde_json::to_value(&card).expect("JSON"));
    assert!(principal_angles(&direction.basis_wk, &fitted.direction.basis_wk)[0] < 1e-2);
    let again = test_direction(&planted.model, &direction, parts.1, &judging(), &Silent).expect("tested");
    assert!((value(&again.judged.share) - value(&fitted.held_out.judged.share)).abs() < 1e-4, "the same checks");
    read.check(&planted.model, SameWeights::Needed).expect("its own model");
    let other = tiny_model(1);
    let error = read.check(&other, SameWeights::Needed).expect_err("other weights").to_string();
    assert!(error.contains("--other-model"), "{error}");
    let error =
        test_direction(&other, &direction, parts.1, &judging(), &Silent).expect_err("another width").to_string();
    assert!(error.contains("width 24") && error.contains("width 16"), "{error}");
    let path = folder.join("direction.safetensors");
    let mut bytes = std::fs::read(&path).expect("tensors");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let error = Card::load(&folder).expect_err("changed").to_string();
    assert!(error.contains("not of one fit"), "{error}");
    std::fs::remove_dir_all(&folder).expect("clean up");
}

#[test]
fn bad_requests_say_what_to_change() {
    let planted = Planted::new(2.0);
    let material = Planted::material('a', 0);
    let asked = |site: &str, material: &Material, method, rank| {
        let site: Site = site.parse().expect("a site's text");
        fit(&planted.model, &site, (material, material), &spec(method, rank), &Silent).expect_err("refused")
    };
    let last = "blocks.0.hook_resid_post[slot=last]";
    let text = asked(last, &material, Method::Das, Some(25)).to_string();
    assert!(text.contains("rank 25") && text.contains("24"), "{text}");
    let text = asked(last, &material, Method::Mean, Some(2)).to_string();
    assert!(text.contains("2 classes") && text.contains("at most 1"), "{text}");
    let text = asked("blocks.3.hook_resid_post[slot=last]", &material, Method::Das, None).to_string();
    assert!(text.contains("layers run from 0 to 0"), "{text}");
    let text = asked("hook_embed[slot=last]", &material, Method::Das, None).to_string();
    assert!(text.contains("blocks.0.hook_resid_pre"), "{text}");
    let text = asked("blocks.0.attn.hook_z[slot=last]", &material, Method::Das, None).to_string();
    assert!(text.contains("head=0"), "{text}");
    let few = Material::new(Planted::pairs('a', 0, 5), Vec::new(), &Seed::new(1));
    let text = asked(last, &few, Method::Das, None).to_string();
    assert!(text.contains("5 pairs to fit on") && text.contains("at least 8"), "{text}");
    let few = Material::new(Planted::pairs('a', 0, 3), Vec::new(), &Seed::new(1));
    let site = Planted::site();
    let error = fit(&planted.model, &site, (&material, &few), &spec(Method::Das, None), &Silent).expect_err("few");
    assert!(matches!(&error, DirectionError::TooFew { found: 3, needed: LEAST_HELD_OUT, .. }), "{error}");
}
