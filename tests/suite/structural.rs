//! Structural models: counterfactuals, decompositions to the fraction, counterfactual fairness.

use counterpath::base::Seed;
use counterpath::causal::continuous::{AdditiveModel, Noise};
use counterpath::causal::four_way::{LinearMediation, four_way};
use counterpath::causal::network::Network;
use counterpath::causal::{Graph, NodeSet};

use crate::effects::mediation_model;

#[test]
fn the_four_parts_of_the_reference_to_the_fraction() {
    // reference/causal.md 3.5; nodes C, A, M, Y.
    let (graph, truth) = mediation_model();
    let parts = four_way(&graph, 1, 2, 3, &truth).expect("identified");
    let text = |number: &num_rational::BigRational| number.to_string();
    assert_eq!(text(&parts.controlled), "1/5");
    assert_eq!(text(&parts.controlled_at_one), "1/2");
    assert_eq!(text(&parts.reference_interaction), "21/250");
    assert_eq!(text(&parts.mediated_interaction), "9/100");
    assert_eq!(text(&parts.pure_indirect), "3/100");
    let sum = parts.controlled + parts.reference_interaction + parts.mediated_interaction + parts.pure_indirect;
    assert_eq!(sum, parts.parts.total);
    // P(Y=1) = 0.1 + 0.2 a + 0.1 m + 0.3 a m + 0.1 c, P(M=1) = 0.2 + 0.3 a + 0.2 c with E[c] = 0.4: the closed formula.
    let linear = LinearMediation { outcome: [0.2, 0.1, 0.3], mediator: [0.28, 0.3] };
    for (found, expected) in [
        (linear.pure_direct(), 0.284),
        (linear.total_indirect(), 0.12),
        (linear.pure_indirect(), 0.03),
        (linear.mediated_interaction(), 0.09),
        (linear.reference_interaction(), 0.084),
    ] {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    // A second mediator beside M: M does not carry every indirect path.
    let edges = [("A", "M"), ("A", "N"), ("M", "Y"), ("N", "Y"), ("A", "Y")];
    let two = Graph::from_edges(&["A", "M", "N", "Y"], &edges, &[]).expect("graph");
    assert!(four_way(&two, 0, 1, 3, &truth).expect_err("two mediators").to_string().contains("every indirect path"));
}

#[test]
fn counterfactuals_of_additive_models_are_exact() {
    // A → M → Y ← A with y = 2a + m² − 1 and noise everywhere.
    let graph = Graph::from_edges(&["A", "M", "Y"], &[("A", "M"), ("A", "Y"), ("M", "Y")], &[]).expect("graph");
    let model = AdditiveModel::new(
        graph,
        vec![
            (Box::new(|_| 0.0), Noise::Normal(1.0)),
            (Box::new(|parents| 0.5 * parents[0]), Noise::Uniform(1.0)),
            (Box::new(|parents| 2.0 * parents[0] + parents[1] * parents[1] - 1.0), Noise::Exponential(1.0)),
        ],
    );
    let model = model.expect("model");
    // By hand: u_M = 1.5 − 0.5, u_Y = 4 − (2 + 2.25 − 1) = 0.75; under A = 3: M = 2.5, Y = 6 + 6.25 − 1 + 0.75.
    assert_eq!(model.counterfactual(&[1.0, 1.5, 4.0], &[(0, 3.0)]), [3.0, 2.5, 12.0]);
    assert_eq!(model.counterfactual(&[1.0, 1.5, 4.0], &[]), [1.0, 1.5, 4.0]);
    // The same units in two worlds differ by their own counterfactuals.
    let (seen, moved) = (model.sample(50, &[], Seed::new(3)), model.sample(50, &[(0, 3.0)], Seed::new(3)));
    for (unit, other) in seen.iter().zip(&moved) {
        for (found, expected) in model.counterfactual(unit, &[(0, 3.0)]).iter().zip(other) {
            assert!((found - expected).abs() < 1e-12);
        }
    }
    // Interventional mean by sampling: E[Y | do(A=1)] = 2 + E[(0.5 + u)²] − 1 = 1.25 + 1/3; sd of the mean about 0.011.
    let rows = model.sample(20_000, &[(0, 1.0)], Seed::new(4));
    let mean = rows.iter().map(|row| row[2]).sum::<f64>() / 20_000.0;
    assert!((mean - 1.25 - 1.0 / 3.0).abs() < 0.05, "{mean}");
    assert!(
        AdditiveModel::linear(
            Graph::from_edges(&["a", "b"], &[], &[("a", "b")]).expect("graph"),
            |_, _| 1.0,
            |_| Noise::None
        )
        .is_none()
    );
}

/// reference/causal.md 3.9: total effects of A on five predictors, by their structural coefficients.
#[test]
fn total_effects_of_the_invariance_conflict() {
    let edges = [("A", "M"), ("A", "P"), ("A", "Y"), ("M", "Y"), ("C", "Y"), ("Y", "S"), ("M", "R"), ("C", "R")];
    let graph = Graph::from_edges(&["A", "C", "M", "P", "Y", "S", "R"], &edges, &[]).expect("graph");
    let id = |name: &str| graph.id(name).expect("node");
    let weights = [
        ("A", "M", 0.8),
        ("A", "P", 1.0),
        ("A", "Y", 0.6),
        ("M", "Y", 1.0),
        ("C", "Y", 0.7),
        ("Y", "S", 1.0),
        ("M", "R", 1.0),
        ("C", "R", 0.7),
    ];
    let weight = |from: usize, to: usize| {
        weights.iter().find(|(a, b, _)| id(a) == from && id(b) == to).map_or(0.0, |(.., weight)| *weight)
    };
    let model = AdditiveModel::linear(graph.clone(), weight, |_| Noise::Normal(1.0)).expect("model");
    // R is the selective predictor M + 0.7 C: A moves it by 0.8, all of it through M; S moves by e (0.6 + 0.8).
    let unit = vec![0.0; 7];
    let moved = model.counterfactual(&unit, &[(id("A"), 1.0)]);
    assert!((moved[id("R")] - 0.8).abs() < 1e-12 && (moved[id("S")] - 1.4).abs() < 1e-12, "{moved:?}");
}

#[test]
fn counterfactual_fairness_regenerates_descendants_and_a_word_swap_does_not() {
    // A → W (the proxy) and A → R (resolving); Q is independent of A.
    let graph = Graph::from_edges(&["A", "W", "R", "Q"], &[("A", "W"), ("A", "R")], &[]).expect("graph");
    let values = vec![vec!["0".to_owned(), "1".to_owned()]; 4];
    let row = |p: f64| vec![1.0 - p, p];
    let tables = vec![vec![row(0.5)], vec![row(0.1), row(0.9)], vec![row(0.3), row(0.6)], vec![row(0.4)]];
    let model = Network::new(graph, values, vec![vec![], vec![0], vec![0], vec![]], tables).expect("network");
    let gap = |resolving: &[usize], predict: &dyn Fn(&[usize]) -> f64| {
        model.fairness_gap(0, 1, resolving.iter().copied().collect::<NodeSet>(), predict).expect("possible")
    };
    // Reading the proxy alone: unaware, and unfair. W moves from 0 to 1 for u in [0.1, 0.9): 0.8 of the units with A = 0.
    let by_proxy = gap(&[], &|state| state[1] as f64);
    assert!((by_proxy.mean - 0.8).abs() < 1e-12 && by_proxy.worst == 1.0, "{by_proxy:?}");
    assert_eq!(by_proxy.word_swap, 0.0, "a word swap misses the mediated path");
    let fair = gap(&[], &|state| state[3] as f64);
    assert_eq!((fair.mean, fair.worst), (0.0, 0.0));
    let through = gap(&[], &|state| state[2] as f64);
    assert!((through.mean - 0.3).abs() < 1e-12);
    assert_eq!(gap(&[2], &|state| state[2] as f64).mean, 0.0, "what is resolving stays");
    let unit = model.unit_fairness_gap(&[(0, 0), (1, 0)], (0, 1), &|state| state[1] as f64).expect("possible");
    assert!((unit - 0.8 / 0.9).abs() < 1e-12, "{unit}");
}
