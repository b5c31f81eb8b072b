//! What a subspace is not, on compiled models: a dormant path, another variable's, a sum in place of a mean.

use counterpath::base::{Seed, Silent};
use counterpath::direction::{
    DasSpec, Direction, Eraser, FitSpec, Material, Matrix, Method, Named, OwnRule, Place, Readings, Stage, Vector,
    disentangle, fit, judge, minimal, random_basis,
};
use counterpath::intervene::{Site, TokenPair};
use counterpath::planted::Node;
use counterpath::planted::compiled::{CompiledSpec, Direction as Axis, HEAD_WIDTH, Role, Strengths, WIDTH, Wiring};

use super::direction_planted::{attribute_pairs, column, compiled, core_pairs, judging, material, site, value};

/// Whether the decoy stands in the first block and no gate does: nothing has then been written to the logit for s.
fn bare(wiring: &Wiring) -> bool {
    wiring.node(Role::Decoy).is_some_and(|node| node.layer() == 0) && wiring.gates.iter().all(|gate| *gate > 0)
}

#[test]
fn the_planted_dormant_direction_is_flagged_and_the_real_axis_is_not() {
    let spec = CompiledSpec { strength: 0.3, ..CompiledSpec::default() };
    let seed = (0..).find(|seed| bare(&Wiring::draw(&spec, &Seed::new(*seed)))).expect("a wiring");
    let planted = compiled(0.3, seed);
    let after = site("blocks.0.hook_resid_post[slot=last]");
    let place = Place::new(&after, planted.model.architecture()).expect("place");
    let pairs = attribute_pairs(&planted, 0);
    let exchanges = minimal(&pairs);
    let stage = Stage::new(&planted.model, &place, &exchanges).expect("stage");
    let judged = |basis: &Matrix| judge(&stage, basis, &judging(), &Silent).expect("judged");
    let Strengths { relay, or, and, saturated, dormant: kappa, .. } = planted.wiring.strengths;
    let total = relay + or + saturated + 0.5 * and;

    let dormant = planted.dormant(&planted.pairs("dormant", 8).expect("pairs")).expect("a decoy").direction_d;
    let dormant: Vec<f32> = dormant.to_vec1().expect("values");
    let basis = column(&dormant.into_iter().map(f64::from).collect::<Vec<_>>());
    let illusion = judged(&basis);
    // Half of the decoy's difference, 2, times what the logit reads of it.
    assert!((value(&illusion.share) - kappa / total).abs() < 1e-3, "{} for {}", value(&illusion.share), kappa / total);
    // The head reads Out + κ·dormant: of the direction, κ/√(2(1 + κ²)) lies along that, and the rest is unread.
    let unread = 1.0 - kappa * kappa / (2.0 * (1.0 + kappa * kappa));
    assert!((illusion.dormant.unread_part.expect("known") - unread).abs() < 0.01, "{illusion:?}");
    assert!((value(&illusion.dormant.unread_effect) - 1.0).abs() < 1e-3, "{illusion:?}");
    let of_all = value(&illusion.share_of_all);
    assert!((0.0..=1.0 + 1e-4).contains(&of_all), "{of_all}");
    assert!((value(&illusion.dormant.beyond_all) - (kappa / total - of_all)).abs() < 1e-3, "{illusion:?}");
    let objections = illusion.objections().join("; ");
    assert!(objections.contains("more than the whole") && objections.contains("nothing reads"), "{objections}");
    // Neither half does anything alone, and the decoy as a whole does not either.
    for axis in [Axis::Disconnected, Axis::Dormant] {
        let half = judged(&column(&planted.axis(axis)));
        assert!(value(&half.share).abs() < 1e-4 && !half.objections().is_empty(), "{axis:?}: {half:?}");
    }
    let Some(Node::Head { layer, head }) = planted.wiring.node(Role::Decoy) else { panic!("a head") };
    let own =
        Place::new(&site(&format!("blocks.{layer}.attn.hook_z[head={head},slot=last]")), planted.model.architecture());
    let own = own.expect("place");
    let stage = Stage::new(&planted.model, &own, &exchanges).expect("stage");
    let component = judge(&stage, &random_basis(HEAD_WIDTH, 1, &Seed::new(1)), &judging(), &Silent).expect("judged");
    assert!(value(&component.share_of_all).abs() < 1e-4, "{component:?}");
}

#[test]
fn s_and_c_have_subspaces_of_their_own_until_they_meet_in_the_logit() {
    let planted = compiled(1.0, 4);
    let named = |at: &Site, variable: &str, basis_wk: Matrix, pairs: Vec<TokenPair>| Named {
        variable: variable.to_owned(),
        direction: Direction {
            site: at.clone(),
            method: Method::Das,
            eraser: Eraser::orthogonal(&basis_wk, &Vector::zeros(WIDTH)),
            basis_wk,
        },
        pairs,
    };
    let (s_pairs, c_pairs) = (attribute_pairs(&planted, 1), core_pairs(&planted, true, 1));
    let table = |at: &Site, [s, c]: [Matrix; 2]| {
        let variables = [named(at, "s", s, s_pairs.clone()), named(at, "c", c, c_pairs.clone())];
        disentangle(&planted.model, &variables, OwnRule::default(), &judging(), &Silent).expect("table")
    };
    // Without positions: the whole input.
    let input = site("blocks.0.hook_resid_pre");
    let apart = table(&input, [Axis::Attribute, Axis::Core].map(|axis| column(&planted.axis(axis))));
    for (at, row) in apart.rows.iter().enumerate() {
        assert!(row.own && (value(&row.shares[at]) - 1.0).abs() < 1e-4, "{row:?}");
        assert!(value(&row.shares[1 - at]).abs() < 1e-4 && (row.angles[1 - at][0] - 90.0).abs() < 1e-4, "{row:?}");
    }
    let by_das = |variable: &str| {
        let spec = FitSpec { method: Method::Das, rank: None, das: DasSpec::new(1, Seed::new(8)), judge: judging() };
        let parts = [0, 1].map(|filler| match variable {
            "s" => material(&planted, filler),
            _ => Material::new(core_pairs(&planted, true, filler), attribute_pairs(&planted, filler), &Seed::new(3)),
        });
        let found = fit(&planted.model, &input, (&parts[0], &parts[1]), &spec, &Silent).expect("fitted");
        assert!((value(&found.held_out.judged.share) - 1.0).abs() < 0.1, "{variable}: {:?}", found.held_out.judged);
        assert!(value(&found.held_out.judged.share_of_others).abs() < 0.1, "{variable}: {:?}", found.held_out.judged);
        found.direction.basis_wk
    };
    let trained = table(&input, [by_das("s"), by_das("c")]);
    assert!(trained.rows.iter().all(|row| row.own), "{trained:?}");
    // Behind the last block both stand in the logit difference: a subspace of one is one of the other.
    let end = site("blocks.2.hook_resid_post[slot=last]");
    let out = column(&planted.axis(Axis::Out));
    // What it moves of c counts as another's.
    let exchanges = material(&planted, 1).exchanges;
    let place = Place::new(&end, planted.model.architecture()).expect("place");
    let stage = Stage::new(&planted.model, &place, &exchanges).expect("stage");
    let judged = judge(&stage, &out, &judging(), &Silent).expect("judged");
    assert!((value(&judged.share_of_others) - 1.0).abs() < 1e-4, "{judged:?}");
    let together = table(&end, [out.clone(), out]);
    for row in &together.rows {
        assert!(!row.own && row.shares.iter().all(|share| (value(share) - 1.0).abs() < 1e-4), "{row:?}");
    }
}

/// Three values, one of them twice as common: the basis spans the differences of the means, not of the sums.
#[test]
fn means_of_unequal_classes_are_means() {
    let planted = compiled(1.0, 1);
    let input = site("blocks.0.hook_resid_pre[slot=attribute]");
    let named = |filler| {
        let mut pairs = attribute_pairs(&planted, filler);
        for (number, pair) in pairs.iter_mut().enumerate() {
            let to = if number % 4 < 2 { "s0, first forms" } else { "s0, other forms" };
            pair.values = Some(["s1".to_owned(), to.to_owned()]);
        }
        Material::new(pairs, Vec::new(), &Seed::new(3))
    };
    let spec = FitSpec { method: Method::Mean, rank: None, das: DasSpec::new(1, Seed::new(8)), judge: judging() };
    let found = fit(&planted.model, &input, (&named(0), &named(1)), &spec, &Silent).expect("fitted");
    let basis = &found.direction.basis_wk;
    assert_eq!(basis.ncols(), 2, "three means span two directions");
    let place = Place::new(&input, planted.model.architecture()).expect("place");
    let readings = Readings::of(&planted.model, &place, &named(0).pairs).expect("readings");
    let mean = |class: usize| {
        let rows: Vec<usize> = readings
            .classes
            .labels()
            .iter()
            .enumerate()
            .filter(|(_, label)| **label == class)
            .map(|(at, _)| at)
            .collect();
        readings.x_nw.select_rows(&rows).row_mean().transpose()
    };
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let difference = mean(a) - mean(b);
        let left = &difference - basis * basis.tr_mul(&difference);
        assert!(left.norm() < 1e-5 && difference.norm() > 0.1, "{a} {b}: {}", left.norm());
    }
}
