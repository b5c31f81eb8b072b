//! The circuits of the made-up arms.

use counterpath::record::{CircuitChange, CircuitRecord};
use counterpath::stats::Estimate;
use counterpath::stats::circuit::*;

use super::{LEFT, estimate};

fn evaluation(left: f64) -> CircuitEvaluation {
    CircuitEvaluation {
        edges: 7,
        ablation: "counterfactual".into(),
        whole: estimate(1.5 * left, 0.1),
        empty: estimate(-1.4 * left, 0.1),
        circuit: estimate(1.3 * left, 0.1),
        complement: estimate(-1.35 * left, 0.1),
        total: estimate(2.9 * left, 0.12),
        faithfulness: if left < 0.1 {
            Estimate::undefined("the mean total effect, 0.232, may be 0", 30, 10)
        } else {
            estimate(0.931, 0.02)
        },
        complement_faithfulness: estimate(0.017, 0.004),
    }
}

fn curve(ranking: Ranking, values: [f64; 4]) -> FaithfulnessCurve {
    let point = |(fraction, value): (f64, f64)| CurvePoint {
        fraction,
        requested: (479.0 * fraction) as usize,
        realised: (470.0 * fraction) as usize,
        faithfulness: estimate(value, 0.03),
    };
    FaithfulnessCurve {
        ranking,
        ablation: "counterfactual".into(),
        edges: 479,
        points: [0.001, 0.01, 0.1, 1.0].into_iter().zip(values).map(point).collect(),
        fixed: Some(Areas { cpr: 0.9761, cmd: 0.0229 }),
        realised: Some(Areas { cpr: 0.9802, cmd: 0.0188 }),
        log: Some(Areas { cpr: 4.9123, cmd: 1.9955 }),
    }
}

/// What the base's record holds of one set.
pub fn circuit(set: &str) -> CircuitRecord {
    let edge = |from: &str, to: &str, input: &str, effect| CircuitEdge {
        from: from.into(),
        to: to.into(),
        input: input.into(),
        effect,
    };
    let test = |name: &str, null: &str, statistic, p_value, n, passed| HypothesisTest {
        name: name.into(),
        null: null.into(),
        statistic,
        p_value,
        n,
        passed,
    };
    CircuitRecord {
        population: set.into(),
        method: "eap_ig_inputs".into(),
        discovery_pairs: 32,
        same_pairs: false,
        decoder_edges: 479,
        edges: vec![
            edge("input", "a0.h1", "v", 2.41),
            edge("a0.h1", "m0", "", 1.9),
            edge("m0", "a2.h3", "v", 1.2),
            edge("a2.h3", "logits", "", 1.1),
            edge("m0", "logits", "", 0.9),
            edge("input", "a0.h1", "k", -0.4),
            edge("a0.h1", "logits", "", -0.2),
        ],
        report: CircuitReport {
            pairs: 30,
            evaluation: evaluation(1.0),
            completeness: Some(Completeness { draws: 3, gaps: vec![0.01, 0.05, 0.06], mean: 0.04, worst: 0.06 }),
            minimality: vec![EdgeEffect {
                edge: "input->a0.h1<v>".into(),
                effect: estimate(2.2, 0.2),
                p_value: Some(0.002),
                adjusted: Some(0.004),
            }],
            judgement: Some(Judgement {
                random: RandomCircuits {
                    edges: vec![7, 7, 6],
                    faithfulness: vec![Some(0.02), Some(-0.13), None],
                    p_value: 0.032,
                },
                tests: vec![
                    test(
                        "equivalence",
                        "the circuit scores above the model on a share of ½ ± 0.1",
                        0.45,
                        0.73,
                        10,
                        true,
                    ),
                    test(
                        "independence",
                        "the complement's scores are independent of the model's",
                        0.09,
                        0.001,
                        1000,
                        false,
                    ),
                ],
                minimality: vec![(
                    "input->a0.h1<v>".into(),
                    test("minimality", "an edge does less than nine in ten random ones", 1.0, 1.0, 30, true),
                )],
                superfluous: Vec::new(),
            }),
        },
        curves: vec![curve(Ranking::Signed, [0.0, 0.21, 1.02, 1.0]), curve(Ranking::Absolute, [0.0, 0.64, 0.99, 1.0])],
        missed: None,
        sensitivity: Vec::new(),
    }
}

/// What an arm's record holds of one set.
pub fn change(set: &str, arm: usize) -> CircuitChange {
    let left = LEFT[arm];
    let contrast = |quantity: &str, value: f64| Contrast {
        quantity: quantity.into(),
        difference: estimate((left - 1.0) * value, 0.1),
        p_value: Some(0.002),
    };
    CircuitChange {
        population: set.into(),
        comparison: CircuitComparison {
            before: evaluation(1.0),
            after: evaluation(left),
            contrasts: vec![contrast("total", 2.9), contrast("carried", 2.7), contrast("left", 0.05)],
        },
    }
}
