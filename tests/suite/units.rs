//! What each unit of a site receives: its own head's mean, its own draw of noise, its own row of a pattern.

use candle_core::{DType, Device, Tensor};
use counterpath::intervene::{
    Direction, InterveneError, Intervention, NamedPrompt, NoisePlace, Positions, Reference, Site, SiteKind, Subspace,
    noise, subject_deviation,
};

use super::sites::{COUNTERFACTUAL, FACTUAL, activation, added, difference, outcome, prompt};
use super::tiny::tiny_model;

const OTHER: [u32; 4] = [1, 8, 20, 21];

fn reference() -> Reference {
    let named = |ids: &[u32]| NamedPrompt::new("n", &prompt(ids)).expect("prompt");
    Reference::new("r", vec![named(&COUNTERFACTUAL), named(&OTHER)]).expect("set")
}

fn close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 1e-5, "{what}: {found} for {expected}");
}

#[test]
fn a_head_receives_its_own_mean() {
    let model = tiny_model(2);
    let heads = |ids: &[u32], position| activation(&model, ids, Site::everywhere(SiteKind::Z, 0).hook(), position);
    for head in [1, 3] {
        let site = Site::at_index(SiteKind::Z, 0, 3).with_head(head);
        let own = |ids: &[u32], position| heads(ids, position).get(head).expect("head");
        let at_three = ((own(&COUNTERFACTUAL, 3) + own(&OTHER, 3)).expect("sum") / 2.0).expect("mean");
        let everything: Vec<Tensor> =
            (0..6).map(|at| own(&COUNTERFACTUAL, at)).chain((0..4).map(|at| own(&OTHER, at))).collect();
        let everywhere = Tensor::stack(&everything, 0).and_then(|all| all.mean(0)).expect("mean");
        let base = outcome(&model, Vec::new());
        for (intervention, mean) in [
            (Intervention::PositionalMean { reference: reference() }, at_three),
            (Intervention::Mean { reference: reference() }, everywhere),
        ] {
            let name = format!("head {head}, {}", intervention.name());
            let found = outcome(&model, vec![(site.clone(), intervention)]);
            close(found, added(&model, &site, &difference(&mean, &own(&FACTUAL, 3))), &name);
            assert!((found - base).abs() > 1e-4, "{name} moves nothing");
        }
    }
}

/// Only one prompt of the set reaches the last position: its row of the pattern is the mean there.
#[test]
fn a_pattern_s_mean_counts_the_prompts_that_reach_its_row() {
    let model = tiny_model(2);
    let site = Site::at(SiteKind::Pattern, 1, Positions::Slot("last".to_owned()));
    let found = outcome(&model, vec![(site.clone(), Intervention::PositionalMean { reference: reference() })]);
    close(found, outcome(&model, vec![(site, Intervention::Interchange)]), "pattern");
    assert!((found - outcome(&model, Vec::new())).abs() > 1e-4);
}

#[test]
fn noise_differs_from_place_to_place() {
    let model = tiny_model(4);
    let point = Site::everywhere(SiteKind::Z, 0).hook();
    let place = NoisePlace { pair: "p", point, position: 2, head: 0 };
    let places = [
        place,
        NoisePlace { position: 3, ..place },
        NoisePlace { head: 1, ..place },
        NoisePlace { pair: "q", ..place },
        NoisePlace { point: Site::everywhere(SiteKind::Z, 1).hook(), ..place },
    ];
    let drawn: Vec<Vec<f32>> = places.iter().map(|place| noise(5, *place, 0, 1.0, 8)).collect();
    for (number, a) in drawn.iter().enumerate() {
        assert!(drawn.iter().skip(number + 1).all(|b| a != b), "{:?}", places[number]);
    }
    // Two heads at once are two draws, each at its own place.
    let values = |head| Tensor::new(noise(5, NoisePlace { head, ..place }, 0, 0.5, 4), &Device::Cpu).expect("values");
    let noised = |head| {
        (Site::at_index(SiteKind::Z, 0, 2).with_head(head), Intervention::Noise { deviation: 0.5, draws: 1, seed: 5 })
    };
    let given = |head: usize| {
        let direction = Direction::new("n", values(head).to_vec1::<f32>().expect("values")).expect("direction");
        (Site::at_index(SiteKind::Z, 0, 2).with_head(head), Intervention::Add { direction, scale: 1.0 })
    };
    let found = outcome(&model, vec![noised(0), noised(1)]);
    close(found, outcome(&model, vec![given(0), given(1)]), "both heads");
    // About their common mean, over all tokens of all subjects.
    let found = subject_deviation(&model, &[&FACTUAL[2..4], &COUNTERFACTUAL[2..3]]).expect("deviation");
    let embed = Site::everywhere(SiteKind::Embed, 0).hook();
    let tokens = [(&FACTUAL, 2), (&FACTUAL, 3), (&COUNTERFACTUAL, 2)];
    let all: Vec<f32> = tokens
        .iter()
        .flat_map(|(ids, at)| activation(&model, &ids[..], embed, *at).to_vec1::<f32>().expect("values"))
        .collect();
    let mean = all.iter().map(|x| f64::from(*x)).sum::<f64>() / 48.0;
    let expected = (all.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 47.0).sqrt();
    close(found, expected, "deviation");
}

#[test]
fn what_is_added_is_scaled() {
    let model = tiny_model(3);
    let site = Site::at_index(SiteKind::ResidPost, 0, 3);
    let add = |factor: f32, scale| {
        let direction = Direction::new("d", (0..16).map(|at| factor * (at as f32).cos()).collect()).expect("direction");
        outcome(&model, vec![(site.clone(), Intervention::Add { direction, scale })])
    };
    close(add(1.0, -1.5), add(-1.5, 1.0), "scale");
    assert!((add(1.0, -1.5) - add(1.0, 1.0)).abs() > 1e-4);
}

#[test]
fn a_span_holds_all_of_its_vectors_and_a_basis_is_orthonormal() {
    let tensor = |rows: &[[f32; 3]]| {
        Tensor::from_iter(rows.iter().flatten().copied(), &Device::Cpu)
            .and_then(|all| all.reshape((rows.len(), 3)))
            .expect("rows")
    };
    let vectors = tensor(&[[3.0, 0.0, 0.0], [1.0, 2.0, 0.0], [4.0, 2.0, 0.0]]);
    let span = Subspace::spanned(&vectors).expect("span");
    assert_eq!(span.dimensions(), 2, "the third is the sum of the others");
    let inside = span.inside(&vectors).and_then(|found| (found - &vectors)?.abs()?.max_all()?.to_scalar::<f32>());
    assert!(inside.expect("inside") < 1e-6);
    let off = span.inside(&tensor(&[[0.0, 0.0, 5.0]])).and_then(|found| found.abs()?.max_all()?.to_scalar::<f32>());
    assert!(off.expect("off") < 1e-6);
    for (rows, reason) in [
        (tensor(&[[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]), "rows 1 and 0"),
        (tensor(&[[2.0, 0.0, 0.0]]), "rows 0 and 0"),
        (tensor(&[[f32::NAN, 0.0, 0.0]]), "not finite"),
    ] {
        let error = Subspace::new(&rows).expect_err(reason);
        assert!(matches!(error, InterveneError::Basis { .. }) && error.to_string().contains(reason), "{error}");
    }
    assert!(Subspace::new(&Tensor::zeros((0, 3), DType::F32, &Device::Cpu).expect("nothing")).is_err());
}

/// In one dimension a direction is a sign, which is drawn anew at every place.
#[test]
fn random_directions_are_drawn_place_by_place() {
    let model = tiny_model(3);
    let mut signs = Vec::new();
    for (layer, position) in (0..2).flat_map(|layer| (2..6).map(move |position| (layer, position))) {
        let site = Site { positions: Positions::Index(position), ..Site::of_neurons(layer, 3..4) };
        let neuron = |ids: &[u32]| {
            let all = activation(&model, ids, site.hook(), position);
            all.get(3).and_then(|x| x.to_scalar::<f32>()).expect("neuron")
        };
        let distance = (neuron(&COUNTERFACTUAL) - neuron(&FACTUAL)).abs();
        let by = |change: f32| added(&model, &site, &Tensor::new(&[change], &Device::Cpu).expect("one number"));
        let found = outcome(&model, vec![(site.clone(), Intervention::RandomDirection { seed: 1 })]);
        let (up, down) = (by(distance), by(-distance));
        assert!((found - up).abs().min((found - down).abs()) < 1e-5, "{site}: {found} is neither {up} nor {down}");
        // In the last block only what stands at the last position is read.
        if (up - down).abs() > 1e-4 {
            signs.push((found - up).abs() < (found - down).abs());
        }
    }
    assert!(signs.len() > 3 && signs.contains(&true) && signs.contains(&false), "{signs:?}");
}
