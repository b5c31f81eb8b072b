//! What is said of a circuit, worked out by hand from runs of masks.

use std::collections::BTreeSet;

use counterpath::base::{Seed, Silent};
use counterpath::intervene::path::{Ablation, Edge, PathRunner, Sender};
use counterpath::intervene::{Outcome, TokenPair};
use counterpath::mediate::attribution::{AttributionSpec, Method, MetricSign, edge_scores};
use counterpath::mediate::circuit::{
    Circuit, ConfirmSpec, Evaluator, JudgeSpec, KeptRuns, circuit_request, compare, confirm, hold_out, independence,
    judge, random_circuit, sensitivity,
};
use counterpath::model::LanguageModel;
use counterpath::stats::{Bootstrap, benjamini_hochberg, clopper_pearson_upper};

use crate::circuits::{alive, bootstrap, evaluator};
use crate::paths::pairs;
use crate::tiny::{planted_model, tiny_model};

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn attributed(model: &LanguageModel, pairs: &[TokenPair]) -> counterpath::mediate::attribution::EdgeScores {
    let spec = AttributionSpec { sign: MetricSign::Measured, ..AttributionSpec::new(Method::Gradient) };
    edge_scores(model, pairs, &spec, &Silent).expect("scores")
}

/// A random circuit without what a planted one has: neither faithful nor complete.
fn poor(runner: &PathRunner<'_>) -> Circuit {
    random_circuit(runner.graph(), 20, Seed::new(12))
}

#[test]
fn a_share_of_nothing_is_undefined() {
    let model = tiny_model(6);
    // Each pair with its sides exchanged: under the plain sign their effects cancel.
    let mut both = pairs(&model, 6, false);
    let turned = both.iter().map(|pair| {
        let id = format!("{}/back", pair.id);
        TokenPair::new(id, &pair.cluster, pair.counterfactual.clone(), pair.factual.clone()).expect("pair")
    });
    both.extend(turned.collect::<Vec<_>>());
    let runner = PathRunner::new(&model).expect("runner");
    let circuit = poor(&runner);
    let plain = evaluator(&runner, &both, MetricSign::Plain).evaluate(&circuit, &bootstrap()).expect("evaluated");
    assert!(plain.total.value.expect("a mean").abs() < 1e-4, "{plain:?}");
    assert!(plain.faithfulness.value.is_none() && plain.complement_faithfulness.value.is_none(), "{plain:?}");
    assert!(plain.faithfulness.undefined.expect("a reason").contains("may be 0"));
    // Turned pair by pair there is something to have a share of.
    let measured = evaluator(&runner, &both, MetricSign::Measured);
    assert!(measured.whole.iter().zip(&measured.empty).all(|(whole, empty)| whole > empty), "every total is positive");
    let found = measured.evaluate(&circuit, &bootstrap()).expect("evaluated");
    let kept = measured.metrics(&[circuit.mask()]).expect("runs").remove(0);
    let by_hand = (mean(&kept) - mean(&measured.empty)) / (mean(&measured.whole) - mean(&measured.empty));
    assert!((found.faithfulness.value.expect("defined") - by_hand).abs() < 1e-5);
    assert!((measured.share(&kept).expect("defined") - by_hand).abs() < 1e-5);
}

#[test]
fn halves_of_a_circuit_are_cut_for_completeness() {
    let model = tiny_model(6);
    let pairs = pairs(&model, 6, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let circuit = poor(&runner);
    let found = evaluator.completeness(&circuit, 3, Seed::new(1)).expect("completeness");
    let total = (mean(&evaluator.whole) - mean(&evaluator.empty)).abs();
    let runs = evaluator.metrics(&[circuit.mask(), circuit.knockout()]).expect("runs");
    // Nothing cut, and everything: the empty circuit is what is left of it.
    let nothing = (mean(&evaluator.whole) - mean(&runs[0])).abs() / total;
    let everything = (mean(&runs[1]) - mean(&evaluator.empty)).abs() / total;
    assert_eq!(found.gaps.len(), 4);
    assert!((found.gaps[3] - everything).abs() < 1e-6, "{found:?}: {everything}");
    assert!(found.gaps[..3].iter().all(|gap| (gap - nothing).abs() > 1e-6), "half of it was cut: {found:?}");
    assert!(found.gaps[0] != found.gaps[1] && found.gaps[1] != found.gaps[2], "halves are drawn: {found:?}");
    assert!((found.mean - mean(&found.gaps)).abs() < 1e-12);
}

#[test]
fn an_edge_s_effect_is_with_it_less_without_it() {
    let model = tiny_model(6);
    let pairs = pairs(&model, 8, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let circuit = random_circuit(runner.graph(), 30, Seed::new(3));
    let edges: Vec<Edge> = circuit.edges().step_by(4).collect();
    let kept = evaluator.metrics(&[circuit.mask()]).expect("runs").remove(0);
    let inside = evaluator.edge_effects(&edges, Some(&circuit), &bootstrap()).expect("effects");
    let outside = evaluator.edge_effects(&edges, None, &bootstrap()).expect("effects");
    let mut largest = 0.0f64;
    for (edge, (inside, outside)) in edges.iter().zip(inside.iter().zip(&outside)) {
        let without = circuit.without(&BTreeSet::from([*edge])).mask();
        let cut = Circuit::new(runner.graph(), [*edge]).expect("an edge").knockout();
        let runs = evaluator.metrics(&[without, cut]).expect("runs");
        for (found, expected) in [
            (inside.effect.value.expect("value"), mean(&kept) - mean(&runs[0])),
            (outside.effect.value.expect("value"), mean(&evaluator.whole) - mean(&runs[1])),
        ] {
            assert!((found - expected).abs() < 1e-5, "{}: {found} for {expected}", inside.edge);
            largest = largest.max(expected.abs());
        }
    }
    assert!(largest > 1e-3, "{largest}");
    let raw: Vec<f64> = outside.iter().map(|effect| effect.p_value.expect("p")).collect();
    let adjusted: Vec<f64> = outside.iter().map(|effect| effect.adjusted.expect("adjusted")).collect();
    assert_eq!(adjusted, benjamini_hochberg(&raw));
    assert!(raw.iter().zip(&adjusted).any(|(raw, adjusted)| adjusted > raw), "{raw:?} {adjusted:?}");
}

#[test]
fn a_confirmation_follows_its_own_rules() {
    let model = tiny_model(7);
    let pairs = pairs(&model, 8, false);
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let scores = attributed(&model, &pairs);
    let spec = ConfirmSpec { top: 12, strata: 3, sample: 6, limit: None, alpha: 0.1, bootstrap: bootstrap() };
    let first = confirm(&evaluator, &scores, &spec).expect("confirmed");
    // The largest scores in size, whatever their sign.
    let sizes: Vec<f64> = first.top.iter().map(|edge| edge.score.abs()).collect();
    assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]) && sizes[11] >= first.strata[0].scores[1], "{sizes:?}");
    assert!(first.top.iter().any(|edge| edge.score < 0.0) && first.top.iter().any(|edge| edge.score > 0.0));
    // A level between a raw p-value and its adjusted one: what is discovered goes by the second.
    let between = first.top.iter().find(|edge| edge.exact.adjusted > edge.exact.p_value).expect("adjusted above raw");
    let alpha = between.exact.p_value.expect("p");
    let strict = confirm(&evaluator, &scores, &ConfirmSpec { alpha, ..spec }).expect("confirmed");
    for edge in &strict.top {
        assert_eq!(edge.discovered, edge.exact.adjusted.is_some_and(|adjusted| adjusted <= alpha), "{edge:?}");
    }
    assert!(strict.top.iter().any(|edge| edge.exact.p_value.is_some_and(|p| p <= alpha) && !edge.discovered));
    // At a level that all reach, the limit is the smallest effect among them.
    let all = confirm(&evaluator, &scores, &ConfirmSpec { alpha: 0.999, ..spec }).expect("confirmed");
    let effects: Vec<f64> = all
        .top
        .iter()
        .filter(|edge| edge.discovered)
        .map(|edge| edge.exact.effect.value.expect("value").abs())
        .collect();
    assert!(effects.len() > 1 && effects.iter().all(|effect| *effect >= all.limit), "{effects:?} {}", all.limit);
    assert!(effects.contains(&all.limit));
    // Three bounds hold at once.
    for stratum in &first.strata {
        assert!(stratum.sampled == 6 && stratum.edges > 6);
        let upper = clopper_pearson_upper(stratum.missed, 6, 1.0 - 0.1 / 3.0);
        assert!((stratum.upper - upper).abs() < 1e-12, "{stratum:?}: {upper}");
    }
}

/// Mean |a − b|.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
}

#[test]
fn a_judgement_counts_what_it_says() {
    let live = (0, 1);
    let model = planted_model(9, &[live]);
    let mut pairs = pairs(&model, 10, false);
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.cluster = format!("c{}", number / 2);
    }
    let runner = PathRunner::new(&model).expect("runner");
    let evaluator = evaluator(&runner, &pairs, MetricSign::Measured);
    let graph = runner.graph();
    // The planted circuit, and an edge out of a head that writes nothing.
    let idle = graph.edge("a1.h3->logits").expect("edge");
    let circuit = alive(&model, live).with(idle);
    let spec = JudgeSpec { permutations: 99, edges: 500, ..JudgeSpec::new(30, Seed::new(2)) };
    let found = judge(&evaluator, &circuit, &spec).expect("judged");
    let test = |name: &str| found.tests.iter().find(|test| test.name == name).expect("test");
    let own = evaluator.metrics(&[circuit.mask(), circuit.knockout()]).expect("runs");
    let drawn: Vec<Circuit> = (0..30)
        .map(|number| random_circuit(graph, circuit.len(), Seed::new(2).fork(&format!("random circuit {number}"))))
        .collect();
    // Circuits that break the model alike differ by rounding alone, which may fall to either side.
    const ROUNDING: f64 = 1e-5;
    let (mut farther, mut milder) = ([0, 0], [0, 0]);
    for circuit in &drawn {
        let runs = evaluator.metrics(&[circuit.mask(), circuit.knockout()]).expect("runs");
        let beyond = |side: usize| distance(&runs[side], &evaluator.whole) - distance(&own[side], &evaluator.whole);
        for (index, least) in [ROUNDING, -ROUNDING].into_iter().enumerate() {
            farther[index] += usize::from(beyond(0) > least);
            milder[index] += usize::from(-beyond(1) > least);
        }
    }
    for (name, [surely, perhaps]) in [("sufficiency", farther), ("partial_necessity", milder)] {
        let share = test(name).statistic;
        let within = surely as f64 / 30.0 <= share && share <= perhaps as f64 / 30.0;
        assert!(within, "{name}: {share}, by hand {surely} to {perhaps} of 30");
    }
    assert!(milder[0] > 15, "a share that is not its own complement: {milder:?} of 30");
    // Clusters are the items, and the complement's scores are held against the model's.
    assert_eq!((test("equivalence").n, test("independence").n), (5, 5));
    let [cut, whole] = [&own[1], &evaluator.whole].map(|metrics| evaluator.by_cluster(metrics));
    let by_hand = independence(&cut, &whole, 99, 0.05, Seed::new(2).fork("independence"));
    assert_eq!((test("independence").statistic, test("independence").p_value), (by_hand.statistic, by_hand.p_value));
    // What does nothing is superfluous, and what everything passes through is not.
    let name = graph.name(idle);
    let statistic = |edge: &str| &found.minimality.iter().find(|(name, _)| name == edge).expect("tested").1;
    assert!(found.superfluous.contains(&name) && statistic(&name).statistic == 0.0, "{:?}", found.superfluous);
    let effect = |edge: Edge| {
        let runs = evaluator.metrics(&[circuit.without(&BTreeSet::from([edge])).mask()]).expect("runs");
        distance(&runs[0], &own[0])
    };
    let strongest = circuit.edges().max_by(|a, b| effect(*a).total_cmp(&effect(*b))).expect("edges");
    let strongest = graph.name(strongest);
    assert!(!found.superfluous.contains(&strongest) && statistic(&strongest).passed, "{strongest}");
    assert!(matches!(idle.sender, Sender::Head { layer: 1, head: 3 }));
}

#[test]
fn two_checkpoints_differ_by_what_each_quantity_is() {
    let (before, after) = (planted_model(4, &[(0, 2)]), planted_model(4, &[(0, 1)]));
    let pairs = pairs(&before, 8, false);
    let runners = [&before, &after].map(|model| PathRunner::new(model).expect("runner"));
    let circuit = alive(&before, (0, 2));
    let evaluators = [&runners[0], &runners[1]].map(|runner| evaluator(runner, &pairs, MetricSign::Plain));
    let found = compare([&evaluators[0], &evaluators[1]], &circuit, &bootstrap()).expect("compared");
    let [first, second] = evaluators.each_ref().map(|evaluator| {
        let runs = evaluator.metrics(&[circuit.mask(), circuit.knockout()]).expect("runs");
        let (whole, empty) = (mean(&evaluator.whole), mean(&evaluator.empty));
        let (kept, cut) = (mean(&runs[0]), mean(&runs[1]));
        [whole, empty, kept, cut, whole - empty, kept - empty, cut - empty]
    });
    let names = ["whole", "empty", "circuit", "complement", "total", "carried", "left"];
    assert_eq!(found.contrasts.iter().map(|contrast| contrast.quantity.as_str()).collect::<Vec<_>>(), names);
    for (contrast, (before, after)) in found.contrasts.iter().zip(first.iter().zip(second)) {
        let value = contrast.difference.value.expect("value");
        assert!((value - (after - before)).abs() < 1e-6, "{contrast:?}: {}", after - before);
    }
}

#[test]
fn clusters_are_held_out_whole() {
    let model = tiny_model(6);
    let mut all = pairs(&model, 20, false);
    for (number, pair) in all.iter_mut().enumerate() {
        pair.cluster = format!("c{}", number % 5);
    }
    let [discovery, held] = hold_out(all, 0.2, Seed::new(3));
    assert_eq!((discovery.len(), held.len()), (16, 4));
    let clusters = |pairs: &[TokenPair]| pairs.iter().map(|pair| pair.cluster.clone()).collect::<BTreeSet<_>>();
    assert!(clusters(&discovery).is_disjoint(&clusters(&held)));
}

#[test]
fn a_circuit_is_measured_under_every_ablation() {
    let model = tiny_model(6);
    let pairs: Vec<TokenPair> = pairs(&model, 8, false).into_iter().step_by(2).collect();
    let runner = PathRunner::new(&model).expect("runner");
    let circuit = poor(&runner);
    let spec = AttributionSpec { sign: MetricSign::Measured, ..AttributionSpec::new(Method::Gradient) };
    let bootstrap: Bootstrap = bootstrap();
    let journal = std::env::temp_dir().join(format!("counterpath-sensitivity-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&journal);
    let request = circuit_request(&[(&model, None)], &[&pairs], "sensitivity");
    let kept = KeptRuns::open(&journal, &request).expect("journal");
    let keep = (&kept, None);
    let rows = sensitivity(&runner, (&circuit, &pairs), &spec, &bootstrap, &Silent, keep).expect("rows");
    let names: Vec<&str> = rows.iter().map(|row| row.ablation.as_str()).collect();
    assert_eq!(names, ["counterfactual", "zero", "mean", "mean_positional"]);
    let how = (Ablation::Zero, spec.outcome, spec.sign);
    let zero = Evaluator::new(&runner, &pairs, how, &Silent).expect("evaluator");
    assert!((rows[1].empty.value.expect("mean") - mean(&zero.empty)).abs() < 1e-6);
    let empty: BTreeSet<String> = rows.iter().map(|row| format!("{:.6}", row.empty.value.expect("mean"))).collect();
    assert_eq!(empty.len(), 4, "{empty:?}");
}

/// Flipping the signs of four clusters gives no p-value below 1/8, however large the effect.
#[test]
fn few_clusters_do_not_hide_a_large_effect() {
    let model = tiny_model(6);
    let mut pairs = pairs(&model, 16, false);
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.cluster = format!("c{}", number % 4);
    }
    let runner = PathRunner::new(&model).expect("runner");
    let how = (Ablation::Counterfactual, Outcome::Contrast, MetricSign::Measured);
    let evaluator = Evaluator::new(&runner, &pairs, how, &Silent).expect("evaluator");
    let all: Vec<Edge> = runner.graph().edges().collect();
    let effects = evaluator.edge_effects(&all, None, &bootstrap()).expect("effects");
    let smallest = effects.iter().filter_map(|effect| effect.p_value).fold(1.0, f64::min);
    assert!(smallest < 0.125, "{smallest}");
}
