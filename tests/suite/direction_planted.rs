//! Directions on compiled models, where the axis of every variable is planted and what a subspace of it moves has a
//! closed form.

use candle_core::{Device, Tensor};
use counterpath::base::{Seed, Silent};
use counterpath::direction::{
    DasSpec, FitSpec, Fitted, JudgeSpec, Judged, Material, Matrix, Method, Place, Readings, Stage, Vector, fit, judge,
    minimal, principal_angles, random_basis,
};
use counterpath::intervene::{Site, TokenPair};
use counterpath::planted::Node;
use counterpath::planted::compiled::{
    CompiledModel, CompiledSpec, Content, Direction as Axis, HEAD_WIDTH, Role, Strengths, WIDTH, Wiring,
};
use counterpath::stats::{Bootstrap, Estimate};

const DRAWS: usize = 20;

pub fn judging() -> JudgeSpec {
    JudgeSpec { random_draws: DRAWS, bootstrap: Bootstrap { replicates: 300, level: 0.95, seed: Seed::new(4) } }
}

pub fn compiled(strength: f64, seed: u64) -> CompiledModel {
    CompiledModel::new(&CompiledSpec { strength, ..CompiledSpec::default() }, &Seed::new(seed))
        .expect("a compiled model")
}

pub fn site(text: &str) -> Site {
    text.parse().expect("a site")
}

pub fn value(estimate: &Estimate) -> f64 {
    estimate.value.unwrap_or_else(|| panic!("undefined: {:?}", estimate.undefined))
}

pub fn column(values: &[f64]) -> Matrix {
    Matrix::from_column_slice(values.len(), 1, values)
}

fn pair(planted: &CompiledModel, number: usize, values: [&str; 2], sides: [Content; 2]) -> TokenPair {
    let [factual, counterfactual] = sides.map(|content| content.prompt(&planted.wiring));
    let (id, cluster) = (format!("{}{number}", values[0]), format!("c{}", number % 8));
    let mut pair = TokenPair::new(id, cluster, factual, counterfactual).expect("a pair");
    pair.values = Some(values.map(str::to_owned));
    pair
}

/// Every surface form of s = 1 with every one of s = 0, c absent and present; n is 1 throughout, so that y(s = 0) > 0.
pub fn attribute_pairs(planted: &CompiledModel, filler: u32) -> Vec<TokenPair> {
    let content = |number: usize, attribute: bool| {
        let surface = if attribute { number / 4 % 4 } else { number % 4 };
        Content { attribute, surface, core: number >= 16, neutral: true, filler }
    };
    (0..32).map(|number| pair(planted, number, ["s1", "s0"], [content(number, true), content(number, false)])).collect()
}

/// c: 1 → 0 with everything else as it was.
pub fn core_pairs(planted: &CompiledModel, attribute: bool, filler: u32) -> Vec<TokenPair> {
    let content = |number: usize, core| Content { attribute, surface: number % 4, core, neutral: true, filler };
    (0..16).map(|number| pair(planted, number, ["c1", "c0"], [content(number, true), content(number, false)])).collect()
}

pub fn material(planted: &CompiledModel, filler: u32) -> Material {
    Material::new(attribute_pairs(planted, filler), core_pairs(planted, true, filler), &Seed::new(3))
}

fn relu(x: f64) -> f64 {
    x.max(0.0)
}

/// The logit difference for any real s and c, written out from the gates' definitions.
fn y(wiring: &Wiring, s: f64, c: f64, n: f64) -> f64 {
    let Strengths { core, neutral, relay, or, and, saturated, .. } = wiring.strengths;
    core * c
        + neutral * n
        + relay * s
        + or * (relu(4.0 * s - 0.5) - relu(4.0 * s - 1.5))
        + and * relu(2.0 * (s + c) - 3.0)
        + saturated * (relu(4.0 * s - 1.0) - relu(4.0 * s - 2.0))
}

/// The closed form of the share of a basis at a place where the variable stands on `axis` and `outcome(number, value)`
/// is what exchange `number` answers for a value of it; `own` and `to` are the values of receiver and donor.
fn closed_share(
    stage: &Stage<'_>,
    basis: &Matrix,
    axis: &Matrix,
    ends: impl Fn(usize) -> [f64; 2],
    outcome: impl Fn(usize, f64) -> f64,
) -> f64 {
    let (mut carried, mut whole) = (0.0, 0.0);
    for number in 0..stage.len() {
        let (own, donor) = stage.vectors(&[number]).expect("vectors");
        let difference = (donor - own).and_then(|x| x.flatten_all()?.to_vec1::<f32>()).expect("one vector");
        let difference = Vector::from_iterator(difference.len(), difference.into_iter().map(f64::from));
        let along = (axis.tr_mul(basis) * basis.tr_mul(&difference))[(0, 0)];
        let [from, to] = ends(number);
        let moved = outcome(number, to) - outcome(number, from);
        carried += moved.signum() * (outcome(number, from + along) - outcome(number, from));
        whole += moved.abs();
    }
    carried / whole
}

/// Receiver and donor of minimal interchanges, which are taken both ways: 1 → 0, 0 → 1.
fn both_ways(number: usize) -> [f64; 2] {
    if number.is_multiple_of(2) { [1.0, 0.0] } else { [0.0, 1.0] }
}

#[test]
fn any_subspace_of_the_input_moves_what_its_closed_form_says() {
    let planted = compiled(1.0, 1);
    let place = Place::new(&site("blocks.0.hook_resid_pre[slot=attribute]"), planted.model.architecture());
    let place = place.expect("place");
    let exchanges = minimal(&attribute_pairs(&planted, 0));
    let stage = Stage::new(&planted.model, &place, &exchanges).expect("stage");
    let axis = column(&planted.axis(Axis::Attribute));
    // Pair number at/2 has c where it is of the second half.
    let outcome = |at: usize, s: f64| y(&planted.wiring, s, f64::from(u8::from(at / 2 >= 16)), 1.0);
    let closed = |basis: &Matrix| closed_share(&stage, basis, &axis, both_ways, outcome);
    let judged = |basis: &Matrix| judge(&stage, basis, &judging(), &Silent).expect("judged");
    let whole = judged(&axis);
    assert!((value(&whole.share) - 1.0).abs() < 1e-4 && value(&whole.share_outside).abs() < 1e-4, "{whole:?}");
    assert!(
        (value(&whole.share_of_all) - 1.0).abs() < 1e-4 && whole.objections().is_empty(),
        "{:?}",
        whole.objections()
    );
    assert!(whole.dormant.unread_part.expect("known") < 1e-2, "{whole:?}");
    let mut shares = Vec::new();
    for rank in [1, 4, 12] {
        for seed in 0..4 {
            let basis = random_basis(WIDTH, rank, &Seed::new(seed).fork("basis"));
            let judged = judged(&basis);
            let expected = closed(&basis);
            let chance = judged.objections().iter().any(|line| line.contains("random subspaces of rank"));
            assert_eq!(chance, judged.random.p_value > 0.05, "{:?}", judged.objections());
            assert!(
                (value(&judged.share) - expected).abs() < 1e-3,
                "rank {rank}: {} for {expected}",
                value(&judged.share)
            );
            // What lies outside is the interchange of the orthogonal complement.
            let rest = Matrix::identity(WIDTH, WIDTH) - &basis * basis.transpose();
            let outside = closed(&rest.svd(true, false).u.expect("left").columns(0, WIDTH - rank).into_owned());
            assert!((value(&judged.share_outside) - outside).abs() < 1e-3, "rank {rank}: outside {outside}");
            shares.push(expected);
        }
    }
    let spread = shares.iter().copied().fold(f64::MIN, f64::max) - shares.iter().copied().fold(f64::MAX, f64::min);
    assert!(spread > 0.2, "there were shares to tell apart: {shares:?}");
}

#[test]
fn random_subspaces_carry_their_rank_s_share_of_the_width() {
    let planted = compiled(1.0, 1);
    let place = Place::new(&site("blocks.0.hook_resid_pre[slot=core]"), planted.model.architecture()).expect("place");
    // Where s is 0, y is linear in c, so that a random subspace of rank k carries k/w on average.
    let pairs = core_pairs(&planted, false, 0);
    let exchanges = minimal(&pairs);
    let stage = Stage::new(&planted.model, &place, &exchanges).expect("stage");
    let axis = column(&planted.axis(Axis::Core));
    let spec = JudgeSpec { random_draws: 150, ..judging() };
    for rank in [1, 4] {
        let basis = match rank {
            1 => axis.clone(),
            _ => Matrix::from_columns(
                &[Axis::Core, Axis::Out, Axis::Or, Axis::Attribute].map(|axis| Vector::from_vec(planted.axis(axis))),
            ),
        };
        let judged = judge(&stage, &basis, &spec, &Silent).expect("judged");
        assert!((value(&judged.share) - 1.0).abs() < 1e-4, "{judged:?}");
        let drawn: Vec<f64> = (0..150)
            .map(|draw| {
                let seed = spec.bootstrap.seed.fork(&format!("random subspace {draw}"));
                let linear = |_: usize, c: f64| planted.wiring.strengths.core * c;
                closed_share(&stage, &random_basis(WIDTH, rank, &seed), &axis, both_ways, linear)
            })
            .collect();
        let mean = drawn.iter().sum::<f64>() / 150.0;
        let error = (drawn.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 149.0 / 150.0).sqrt();
        assert!((judged.random.mean_share - mean).abs() < 1e-3, "{} for {mean}", judged.random.mean_share);
        let expected = rank as f64 / WIDTH as f64;
        assert!((mean - expected).abs() < 3.5 * error && error < 0.02, "{mean} for {expected} ± {error}");
        let largest = drawn.iter().copied().fold(f64::MIN, f64::max);
        assert!((judged.random.largest_share - largest).abs() < 1e-3, "{} for {largest}", judged.random.largest_share);
        let above = drawn.iter().filter(|share| **share >= 1.0).count();
        assert_eq!(judged.random.p_value, (1 + above) as f64 / 151.0);
        assert!(judged.accuracy_of_turning.value.is_none(), "c turns no answer here: {judged:?}");
    }
}

fn fitted(planted: &CompiledModel, site: &Site, method: Method, rank: Option<usize>) -> Fitted {
    let spec = FitSpec { method, rank, das: DasSpec::new(1, Seed::new(8)), judge: judging() };
    let parts = (&material(planted, 0), &material(planted, 1));
    fit(&planted.model, site, parts, &spec, &Silent).expect("fitted")
}

/// The relay's reader: its head holds s on one axis and the three contrasts between surface forms on others, and the
/// logit reads s alone, with weight b. Half of its dimensions hold nothing.
#[test]
fn every_method_meets_the_planted_axis_in_a_head() {
    let planted = compiled(1.0, 2);
    let Some(Node::Head { layer, head }) = planted.wiring.node(Role::RelayReader) else { panic!("a head") };
    let values = &planted.model.tensors()[&format!("model.layers.{layer}.self_attn.v_proj.weight")];
    let axis: Vec<f32> = planted.axis(Axis::RelayAttribute).into_iter().map(|x| x as f32).collect();
    let axis = Tensor::from_vec(axis, (WIDTH, 1), &Device::Cpu).expect("axis");
    let axis =
        values.narrow(0, head * HEAD_WIDTH, HEAD_WIDTH).and_then(|rows| rows.matmul(&axis)).expect("in the head");
    let axis: Vec<f32> = axis.flatten_all().and_then(|all| all.to_vec1()).expect("values");
    let axis = column(&axis.into_iter().map(f64::from).collect::<Vec<_>>());
    assert!((axis.norm() - 1.0).abs() < 1e-5, "a head's frame is orthonormal");

    let place = site(&format!("blocks.{layer}.attn.hook_z[head={head},slot=last]"));
    let Strengths { relay, or, and, saturated, .. } = planted.wiring.strengths;
    // Half of the pairs have c.
    let carried = relay / (relay + or + saturated + 0.5 * and);
    for (method, rank, within) in [
        (Method::Mean, None, 0.1),
        (Method::Leace, None, 0.1),
        (Method::Probe, None, 60.0),
        (Method::Das, None, 3.0),
        (Method::Das, Some(2), 3.0),
    ] {
        let found = fitted(&planted, &place, method, rank);
        let basis = &found.direction.basis_wk;
        let angle = principal_angles(basis, &axis)[0];
        assert!(angle < within, "{method} {rank:?}: {angle} degrees");
        let judged = &found.held_out.judged;
        // Linear, and the contrasts have mean 0 over the pairs: cos² of the angle is carried, for one dimension.
        let share = if rank.is_none() { carried * angle.to_radians().cos().powi(2) } else { carried };
        assert!((value(&judged.share) - share).abs() < 0.01, "{method}: {} for {share}", value(&judged.share));
        assert!((value(&judged.share_of_all) - carried).abs() < 1e-4, "{method}: {judged:?}");
        assert!((value(&judged.share_outside) - (carried - share)).abs() < 0.01, "{method}: {judged:?}");
        assert!(value(&judged.share_of_others).abs() < 1e-3, "{method}: c does not pass here, {judged:?}");
        let readings = Readings::of(
            &planted.model,
            &Place::new(&place, planted.model.architecture()).expect("place"),
            &attribute_pairs(&planted, 0),
        );
        let mean = readings.expect("readings").x_nw.row_mean().transpose();
        assert!((found.direction.eraser.mean() - mean).amax() < 1e-6, "{method}: erased vectors keep the mean");
        assert_eq!(judged.dormant.read_dimensions, Some(1), "the logit reads one direction of the head");
        let held_out = &found.held_out;
        assert!(
            value(&held_out.readable.accuracy) == 1.0 && value(&held_out.readable_inside.accuracy) == 1.0,
            "{method}"
        );
        assert!(
            (value(&found.training.share) - value(&judged.share)).abs() < 1e-3,
            "the same activations in other prompts"
        );
        match method {
            // Balanced pairs: what tells the classes apart is their means alone.
            Method::Mean | Method::Leace => assert!(value(&held_out.readable_erased.accuracy) <= 0.55, "{held_out:?}"),
            // A probe reads s off what stands beside it too, and is the worse for it as a place to patch.
            Method::Probe => assert!(angle > 0.1, "{angle}"),
            _ => {}
        }
        if method != Method::Probe {
            assert!(held_out.objections.is_empty(), "{method}: {:?}", held_out.objections);
        }
    }
}

/// s pulls against c and n here, so that it turns the answer.
#[test]
fn a_subspace_trained_on_the_input_answers_for_held_out_pairs() {
    let planted = compiled(-2.0, 3);
    let input = site("blocks.0.hook_resid_pre[slot=attribute]");
    let axis = column(&planted.axis(Axis::Attribute));
    let held_out = material(&planted, 1);
    let place = Place::new(&input, planted.model.architecture()).expect("place");
    let exchanges = minimal(&held_out.pairs);
    let stage = Stage::new(&planted.model, &place, &exchanges).expect("stage");
    for rank in [1, 3] {
        let found = fitted(&planted, &input, Method::Das, Some(rank));
        let judged: &Judged = &found.held_out.judged;
        assert_eq!(
            (value(&judged.accuracy), value(&judged.accuracy_of_turning)),
            (1.0, 1.0),
            "rank {rank}: {judged:?}"
        );
        assert_eq!(value(&judged.accuracy_of_nothing), 0.0, "every pair turns");
        assert!((value(&judged.share) - 1.0).abs() < 0.05 && value(&judged.share_outside).abs() < 0.05, "{judged:?}");
        assert_eq!(judged.random.p_value, 1.0 / (1 + DRAWS) as f64, "{judged:?}");
        assert!(found.held_out.objections.is_empty(), "{:?}", found.held_out.objections);
        // Four surface forms a value leave room: what nobody needs and goes along with s in every form may be part of
        // the subspace. What it carries of s itself is the planted difference all the same.
        let outcome = |at: usize, s: f64| y(&planted.wiring, s, f64::from(u8::from(at / 2 >= 16)), 1.0);
        let closed = closed_share(&stage, &found.direction.basis_wk, &axis, both_ways, outcome);
        assert!((closed - value(&judged.share)).abs() < 0.02, "{closed} for {}", value(&judged.share));
        let s = closed_share(&stage, &found.direction.basis_wk, &axis, both_ways, |_, s| s);
        // The OR and the saturated gate are flat behind 1, so that y binds s less closely there.
        assert!((s - 1.0).abs() < 0.15, "rank {rank} moves s by {s}");
    }
    let wrong = found_at_random(&stage);
    assert!(value(&wrong.accuracy) < 0.5 && !wrong.objections().is_empty(), "{wrong:?}");
}

fn found_at_random(stage: &Stage<'_>) -> Judged {
    judge(stage, &random_basis(WIDTH, 1, &Seed::new(5)), &judging(), &Silent).expect("judged")
}
