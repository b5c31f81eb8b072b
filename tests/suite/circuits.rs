//! Circuits on models whose working parts are known.

use std::collections::BTreeSet;

use counterpath::base::{Seed, Silent};
use counterpath::intervene::path::{Ablation, Edge, EdgeMask, PathRunner, Receiver, Sender};
use counterpath::intervene::{Outcome, Side, TokenPair};
use counterpath::mediate::attribution::{AttributionSpec, Method, MetricSign, edge_scores};
use counterpath::mediate::circuit::{
    Axis, Circuit, ConfirmSpec, Evaluator, FRACTIONS, JudgeSpec, Ranking, Rule, compare, confirm, faithfulness_curve,
    judge, select,
};
use counterpath::model::LanguageModel;
use counterpath::stats::Bootstrap;

use crate::paths::pairs;
use crate::tiny::{planted_model, tiny_model};

pub fn bootstrap() -> Bootstrap {
    Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(3) }
}

/// How every circuit here is read: the pair's own sign, so that totals are positive.
pub fn evaluator<'a>(runner: &'a PathRunner<'a>, pairs: &'a [TokenPair], sign: MetricSign) -> Evaluator<'a> {
    let how = (Ablation::Counterfactual, Outcome::Contrast, sign);
    Evaluator::new(runner, pairs, how, &Silent).expect("evaluator")
}

/// The edges that can matter in a model in which one head alone moves anything between positions.
pub fn alive(model: &LanguageModel, live: (usize, usize)) -> Circuit {
    let graph = PathRunner::new(model).expect("runner").graph();
    let silent = |sender: Sender| matches!(sender, Sender::Head { layer, head } if (layer, head) != live);
    Circuit::new(graph, graph.edges().filter(|edge| !silent(edge.sender))).expect("circuit").pruned()
}

#[test]
fn the_planted_circuit_is_faithful_and_its_complement_is_not() {
    let live = (0, 2);
    let model = planted_model(4, &[live]);
    let pairs = pairs(&model, 8, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let circuit = alive(&model, live);
    assert!(circuit.len() < circuit.graph().edge_count() / 2);
    let found = evaluator.evaluate(&circuit, &bootstrap()).expect("evaluated");
    let share = found.faithfulness.value.expect("defined");
    assert!((share - 1.0).abs() < 1e-4, "{share}");
    assert!(found.complement_faithfulness.value.expect("defined").abs() < 1e-4, "{found:?}");
    assert!(found.total.value.expect("total") > 0.05 && found.ablation == "counterfactual");
    // Without the live head nothing is left of the effect of what it reads.
    let reads = |edge: &Edge| edge.sender == Sender::Head { layer: live.0, head: live.1 };
    let removed: BTreeSet<Edge> = circuit.edges().filter(reads).collect();
    assert!(!removed.is_empty());
    let without = evaluator.evaluate(&circuit.without(&removed), &bootstrap()).expect("evaluated");
    assert!((without.faithfulness.value.expect("defined") - 1.0).abs() > 0.05, "{without:?}");
    let complete = evaluator.completeness(&circuit, 3, Seed::new(1)).expect("completeness");
    assert!(complete.worst < 1e-3 && complete.draws == 4, "{complete:?}");
    let part = Circuit::new(circuit.graph(), circuit.edges().filter(|edge| edge.receiver == Receiver::Logits));
    let incomplete = evaluator.completeness(&part.expect("part"), 3, Seed::new(1)).expect("completeness");
    assert!(incomplete.worst > 0.01, "{incomplete:?}");
}

#[test]
fn a_curve_ends_at_one_and_its_areas_follow() {
    let model = tiny_model(6);
    let pairs = pairs(&model, 6, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let spec = AttributionSpec { sign: MetricSign::Measured, ..AttributionSpec::new(Method::integrated(5)) };
    let scores = edge_scores(&model, &pairs, &spec, &Silent).expect("scores");
    for ranking in [Ranking::Signed, Ranking::Absolute] {
        let curve = faithfulness_curve(&evaluator, &scores, ranking, &FRACTIONS, &bootstrap()).expect("curve");
        let last = curve.points.last().expect("points");
        assert_eq!((last.requested, last.realised), (curve.edges, curve.edges));
        assert!((last.faithfulness.value.expect("defined") - 1.0).abs() < 1e-4);
        let first = &curve.points[0];
        assert!(first.realised <= first.requested && first.faithfulness.value.expect("defined").abs() < 1e-3);
        let by_hand = |x: &dyn Fn(usize) -> f64| {
            let f = |at: usize| curve.points[at].faithfulness.value.expect("defined");
            (1..FRACTIONS.len()).map(|at| (x(at) - x(at - 1)) * (f(at) + f(at - 1)) / 2.0).sum::<f64>()
        };
        let fixed = curve.areas(Axis::Fixed).expect("areas").cpr;
        assert!((fixed - by_hand(&|at| FRACTIONS[at])).abs() < 1e-12);
        let realised = curve.areas(Axis::Realised).expect("areas").cpr;
        assert!((realised - by_hand(&|at| curve.points[at].realised as f64 / curve.edges as f64)).abs() < 1e-12);
        assert!(fixed != realised, "pruning took edges away");
    }
}

#[test]
fn a_screen_is_confirmed_and_its_misses_bounded() {
    let model = tiny_model(7);
    let pairs = pairs(&model, 8, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let spec = AttributionSpec { sign: MetricSign::Measured, ..AttributionSpec::new(Method::Gradient) };
    let scores = edge_scores(&model, &pairs, &spec, &Silent).expect("scores");
    let edges = scores.graph.edge_count();
    let spec = ConfirmSpec { top: 10, strata: 3, sample: 12, limit: Some(0.3), alpha: 0.1, bootstrap: bootstrap() };
    let found = confirm(&evaluator, &scores, &spec).expect("confirmed");
    assert_eq!((found.top.len(), found.strata.len()), (10, 3));
    assert_eq!(found.strata.iter().map(|stratum| stratum.edges).sum::<usize>(), edges - 10);
    // The whole truth, from every edge.
    let all: Vec<Edge> = scores.graph.edges().collect();
    let truth = evaluator.edge_effects(&all, None, &bootstrap()).expect("effects");
    let top: BTreeSet<&str> = found.top.iter().map(|edge| edge.exact.edge.as_str()).collect();
    let matters = |value: Option<f64>| value.is_some_and(|value| value.abs() >= found.limit);
    let missed = truth.iter().filter(|edge| !top.contains(edge.edge.as_str()) && matters(edge.effect.value)).count();
    assert!(missed <= found.missed_at_most && found.missed_at_most < edges - 10, "{missed}: {}", found.statement);
    for edge in &found.top {
        let exact = truth.iter().find(|other| other.edge == edge.exact.edge).expect("an edge");
        assert!((exact.effect.value.expect("value") - edge.exact.effect.value.expect("value")).abs() < 1e-5);
        assert!(edge.exact.adjusted >= edge.exact.p_value);
    }
    // The sample covers a stratum: what is counted needs no bound.
    let full = confirm(&evaluator, &scores, &ConfirmSpec { sample: edges, ..spec }).expect("confirmed");
    assert_eq!(full.missed_at_most, missed, "{}", full.statement);
}

#[test]
fn the_planted_circuit_is_judged_better_than_random_ones() {
    let live = (0, 1);
    let model = planted_model(9, &[live]);
    let pairs = pairs(&model, 10, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let spec = JudgeSpec { permutations: 99, edges: 6, ..JudgeSpec::new(40, Seed::new(2)) };
    let circuit = alive(&model, live);
    let good = judge(&evaluator, &circuit, &spec).expect("judged");
    let passed = |name: &str| good.tests.iter().find(|test| test.name == name).expect("test").passed;
    // Necessity is another matter: cutting random edges may move the model further than cutting all that it uses.
    assert!(passed("sufficiency") && passed("equivalence"), "{:?}", good.tests);
    assert_eq!(good.tests.len(), 4);
    assert_eq!(good.random.p_value, 1.0 / 41.0, "{:?}", good.random);
    assert!(good.random.edges.iter().all(|edges| *edges <= circuit.len()));
    assert_eq!(good.minimality.len(), 6);
    // A random circuit is no better than random circuits.
    let bad = counterpath::mediate::circuit::random_circuit(circuit.graph(), circuit.len(), Seed::new(77));
    let bad = judge(&evaluator, &bad, &spec).expect("judged");
    let sufficient = bad.tests.iter().find(|test| test.name == "sufficiency").expect("test");
    assert!(!sufficient.passed && bad.random.p_value > 0.05, "{sufficient:?} {}", bad.random.p_value);
}

#[test]
fn a_circuit_is_compared_on_two_checkpoints() {
    let (before, after) = (planted_model(4, &[(0, 2)]), planted_model(4, &[(0, 1)]));
    let pairs = pairs(&before, 8, false);
    let runners = [&before, &after].map(|model| PathRunner::new(model).expect("runner"));
    let circuit = alive(&before, (0, 2));
    let evaluators = [&runners[0], &runners[1]].map(|runner| evaluator(runner, &pairs, MetricSign::Plain));
    let found = compare([&evaluators[0], &evaluators[1]], &circuit, &bootstrap()).expect("compared");
    for contrast in &found.contrasts {
        let by_hand = match contrast.quantity.as_str() {
            "whole" => found.after.whole.value.expect("value") - found.before.whole.value.expect("value"),
            "circuit" => found.after.circuit.value.expect("value") - found.before.circuit.value.expect("value"),
            _ => continue,
        };
        assert!((contrast.difference.value.expect("value") - by_hand).abs() < 1e-9, "{contrast:?}");
    }
    let carried = found.contrasts.iter().find(|contrast| contrast.quantity == "carried").expect("carried");
    assert!(carried.difference.value.expect("value").abs() > 0.01 && carried.p_value.is_some());
    let same = compare([&evaluators[0], &evaluators[0]], &circuit, &bootstrap()).expect("compared");
    assert!(same.contrasts.iter().all(|contrast| contrast.difference.value.expect("value").abs() < 1e-6));
    let fewer = evaluator(&runners[1], &pairs[..4], MetricSign::Plain);
    let error = compare([&evaluators[0], &fewer], &circuit, &bootstrap()).expect_err("other pairs").to_string();
    assert!(error.contains("same pairs"), "{error}");
}

#[test]
fn selection_by_gradient_beats_chance_on_a_planted_circuit() {
    let model = planted_model(4, &[(0, 2)]);
    let pairs = pairs(&model, 6, false);
    let runner = PathRunner::new(&model).expect("runner");
    let spec = AttributionSpec { sign: MetricSign::Measured, ..AttributionSpec::new(Method::integrated(8)) };
    let scores = edge_scores(&model, &pairs, &spec, &Silent).expect("scores");
    // Edges out of silent heads have no score at all.
    let silent = |edge: &Edge| matches!(edge.sender, Sender::Head { layer, head } if (layer, head) != (0, 2));
    assert!(scores.iter().filter(|(edge, _)| silent(edge)).all(|(_, score)| score.abs() < 1e-6));
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let selection = select(&scores, Ranking::Absolute, Rule::Greedy { edges: 30 });
    let metrics = evaluator.metrics(&[selection.circuit.mask()]).expect("runs");
    let share = evaluator.share(&metrics[0]).expect("defined");
    assert!((share - 1.0).abs() < 0.3, "{share} of {} edges", selection.realised);
    let mask = EdgeMask::whole(runner.graph());
    let plain =
        runner.outcomes(&pairs, &[mask], Side::Factual, (Ablation::Zero, Outcome::Contrast), &Silent).expect("runs");
    assert_eq!(plain.len(), pairs.len());
}
