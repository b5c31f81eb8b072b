//! What a direction is trained and judged on, worked out by hand.

use counterpath::base::{Seed, Silent};
use counterpath::direction::{
    DasSpec, Direction, Eraser, Exchange, Material, Matrix, Method, Place, Stage, Vector, erase, interchange_gradient,
    random_basis, train,
};
use counterpath::intervene::{Intervention, Job, NaiveEngine, Outcome, Plan, Side, Site, SweepEngine};
use counterpath::stats::Bootstrap;

use super::direction::{tiny_pairs, value};
use super::tiny::tiny_model;

fn log_normalised(scores: &[f64]) -> Vec<f64> {
    let total = scores.iter().map(|score| score.exp()).sum::<f64>().ln();
    scores.iter().map(|score| score - total).collect()
}

/// B Bᵀ of a basis, as a tensor.
fn projection(basis: &Matrix) -> candle_core::Tensor {
    let square = basis * basis.transpose();
    let values: Vec<f32> = square.iter().map(|x| *x as f32).collect();
    candle_core::Tensor::from_vec(values, square.shape(), &candle_core::Device::Cpu).expect("symmetric")
}

#[test]
fn the_loss_is_the_divergence_of_the_patched_from_the_wanted_answers() {
    let model = tiny_model(3);
    let place = Place::new(&"blocks.0.hook_resid_post[slot=word]".parse().expect("site"), model.architecture());
    let place = place.expect("place");
    let material = Material::new(tiny_pairs(20, 6), Vec::new(), &Seed::new(1));
    let exchanges: &[Exchange] = &material.exchanges;
    let stage = Stage::new(&model, &place, exchanges).expect("stage");
    let basis = random_basis(place.width(), 2, &Seed::new(6));
    let which: Vec<usize> = (0..stage.len()).collect();
    let (own, donor) = stage.vectors(&which).expect("vectors");
    let step = (&donor - &own).and_then(|difference| difference.matmul(&projection(&basis))).expect("inside");
    let patched: Vec<Vec<f32>> =
        stage.run(&which, &(own + step).expect("sum")).expect("run").to_vec2().expect("scores");
    let divergence = |(wanted, patched): (&Vec<f64>, &Vec<f32>)| {
        let patched: Vec<f64> = patched.iter().map(|x| f64::from(*x)).collect();
        let (p, q) = (log_normalised(wanted), log_normalised(&patched));
        p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
    };
    let by_hand = stage.wanted().iter().zip(&patched).map(divergence).sum::<f64>() / which.len() as f64;
    let (loss, _) = interchange_gradient(&stage, &basis, &which).expect("loss");
    assert!((loss - by_hand).abs() < 1e-5 && loss > 1e-3, "{loss} for {by_hand}");

    // Of several starts the one with the least loss is kept, and its loss is that over all interchanges.
    let spec = DasSpec { random_starts: 3, steps: 8, ..DasSpec::new(2, Seed::new(8)) };
    let trained = train(&stage, &spec, &Silent).expect("trained");
    let (kept, _) = interchange_gradient(&stage, &trained.basis_wk, &which).expect("loss");
    let least = trained.losses.iter().copied().fold(f64::MAX, f64::min);
    let most = trained.losses.iter().copied().fold(f64::MIN, f64::max);
    assert!((kept - least).abs() < 1e-6 && most - least > 5e-5, "{kept}: {:?}", trained.losses);
}

#[test]
fn an_eraser_at_a_slot_is_the_plan_of_its_subspace() {
    let model = tiny_model(3);
    let site: Site = "blocks.0.hook_resid_post[slot=word]".parse().expect("site");
    let basis_wk = random_basis(16, 3, &Seed::new(6));
    let eraser = Eraser::orthogonal(&basis_wk, &Vector::zeros(16));
    let direction = Direction { site: site.clone(), method: Method::Mean, basis_wk, eraser };
    let material = Material::new(tiny_pairs(20, 8), Vec::new(), &Seed::new(1));
    let bootstrap = Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(4) };
    let found = erase(&model, &direction, &material, &bootstrap, &Silent).expect("erased").variable;
    let subspace = direction.subspace().expect("orthonormal");
    let plan = |receiver, erased: bool| {
        let cell = (site.clone(), Intervention::ProjectOut { subspace: subspace.clone() });
        Plan { receiver, cells: if erased { vec![cell] } else { Vec::new() } }
    };
    let sides = [Side::Factual, Side::Counterfactual];
    let plans: Vec<Plan> = [false, true].iter().flat_map(|erased| sides.map(|side| plan(side, *erased))).collect();
    let jobs: Vec<Job<'_>> = material.pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    let runs = NaiveEngine::default().outcomes(&model, &jobs, Outcome::LogOdds, &Silent).expect("outcomes");
    let total = |run: &Vec<f64>, first: usize| run[first + 1] - run[first];
    let whole: f64 = runs.iter().map(|run| total(run, 0).abs()).sum();
    let left: f64 = runs.iter().map(|run| total(run, 0).signum() * total(run, 2)).sum();
    assert!((value(&found.remaining) - left / whole).abs() < 1e-4, "{found:?}: {}", left / whole);
    assert!((value(&found.before) - whole / 8.0).abs() < 1e-4, "{found:?}: {}", whole / 8.0);
}
