//! Direct, indirect and spurious effects, paths and transport, against exact truth.

use counterpath::base::Seed;
use counterpath::base::seed::uniform;
use counterpath::causal::check::{assignment, equals_truth};
use counterpath::causal::decompose::{DecomposeError, decompose};
use counterpath::causal::evaluate::evaluate;
use counterpath::causal::identify::answer;
use counterpath::causal::oracle::{Extreme, Model, Truth};
use counterpath::causal::path_specific::{nested_equals, path_specific};
use counterpath::causal::transport::{family, transport};
use counterpath::causal::{Among, Graph, NodeSet, PathQuery, PathVerdict, Source, Transport, Verdict};

use crate::causal::{query, random_graph, random_query};

/// The binary model of reference/causal.md 3.5, in tenths: C → A, C → M, C → Y, A → M, A → Y, M → Y.
pub fn mediation_model() -> (Graph, Truth) {
    let edges = [("C", "A"), ("C", "M"), ("C", "Y"), ("A", "M"), ("A", "Y"), ("M", "Y")];
    let graph = Graph::from_edges(&["C", "A", "M", "Y"], &edges, &[]).expect("graph");
    // Codes read the parents in node order, first bit most significant.
    let table = |node: usize, code: usize| -> u32 {
        let bit = |k: usize| (code >> k & 1) as u32;
        match node {
            0 => 4,
            1 => 3 + 4 * bit(0),
            2 => 2 + 3 * bit(0) + 2 * bit(1),
            _ => 1 + 2 * bit(1) + bit(0) + 3 * bit(1) * bit(0) + bit(2),
        }
    };
    let model = Model::new(&graph, graph.all(), &[], 10, |_| 5, table);
    (graph, Truth::new(vec![model]))
}

#[test]
fn the_parts_of_an_effect_are_those_of_the_reference_to_the_fraction() {
    let (graph, truth) = mediation_model();
    let parts = decompose(&graph, 1, 3, &truth).expect("identified");
    let text = |number: &num_rational::BigRational| number.to_string();
    assert_eq!(text(&parts.total), "101/250");
    assert_eq!(text(&parts.pure_direct), "71/250");
    assert_eq!(text(&parts.total_indirect), "3/25");
    assert_eq!(text(&parts.total_direct), "187/500");
    assert_eq!(text(&parts.pure_indirect), "3/100");
    assert_eq!(text(&parts.total_variation), "1597/3450");
    assert_eq!(parts.spurious.each_ref().map(text), ["-8/375", "108/2875"]);
    assert_eq!(text(&parts.ctf_direct), "41/150");
    assert_eq!(text(&parts.ctf_indirect), "-3/25");
    assert_eq!(text(&parts.ctf_spurious), "-8/115");
    let [baseline, treated] = parts.spurious.clone();
    assert_eq!(parts.total_variation, parts.total.clone() + treated - baseline);
    assert_eq!(parts.total_variation, parts.ctf_direct - parts.ctf_indirect - parts.ctf_spurious);
    assert_eq!(parts.total, parts.pure_direct + parts.total_indirect);
}

#[test]
fn a_confounded_mediator_forbids_direct_effects_and_says_so() {
    let edges = [("A", "M"), ("A", "Y"), ("M", "Y")];
    let graph = Graph::from_edges(&["A", "M", "Y"], &edges, &[("M", "Y")]).expect("graph");
    let truth = Truth::new(vec![Model::random(&graph, graph.all(), Seed::new(1), Extreme::No)]);
    let error = decompose(&graph, 0, 2, &truth).expect_err("M ↔ Y");
    assert!(matches!(&error, DecomposeError::NotIdentified { part: "the natural direct effect", .. }), "{error}");
    assert!(error.to_string().contains("M, Y share latent causes"), "{error}");
}

#[test]
fn recanting_witnesses_are_refused_and_edge_consistent_paths_are_not() {
    // reference/causal.md 3.5.
    let edges = [("A", "Z"), ("Z", "W"), ("Z", "Y"), ("W", "Y"), ("A", "Y")];
    let graph = Graph::from_edges(&["A", "Z", "W", "Y"], &edges, &[]).expect("kite");
    let verdict = |paths: &[&[&str]]| graph.path_specific(paths, Among::Everybody).expect("paths").1;
    assert_eq!(verdict(&[&["A", "Z", "Y"]]), PathVerdict::RecantingWitness(1));
    let PathVerdict::Identified(estimand) = verdict(&[&["A", "Z", "Y"], &["A", "Z", "W", "Y"]]) else {
        panic!("identified")
    };
    assert_eq!(estimand.text(&graph), "Σ_{Z, W} P(Z | A₁) P(W | Z) P(Y | A₀, Z, W)");
    assert!(graph.path_specific(&[&["A", "W", "Y"]], Among::Everybody).is_err(), "there is no such path");
}

/// Every path-specific effect that is declared identified equals the nested counterfactual, among everybody and among
/// those at a natural value, on models that its own check did not see.
#[test]
fn path_specific_effects_on_random_graphs() {
    let (mut identified, mut refused) = (0, 0);
    for number in 0..120 {
        let seed = Seed::new(47).fork(&number.to_string());
        let n = 3 + number % 3;
        let graph = random_graph(n, seed);
        let among = if number % 2 == 0 { Among::Everybody } else { Among::NaturalValue };
        let children = graph.children(0);
        let active = children.iter().filter(|node| node % 2 == number % 2).collect();
        let query = PathQuery { outcome: n - 1, treatment: 0, active, among };
        match path_specific(&graph, query).unwrap_or_else(|error| panic!("{number}: {error}")) {
            PathVerdict::Identified(estimand) => {
                identified += 1;
                for model in 0..6 {
                    let extreme = if model % 2 == 0 { Extreme::No } else { Extreme::Yes };
                    let seed = seed.fork("model").fork(&model.to_string());
                    let truth = Truth::new(vec![Model::random(&graph, graph.all(), seed, extreme)]);
                    nested_equals(&truth, query, &estimand)
                        .unwrap_or_else(|error| panic!("{number}: {} {error}", estimand.text(&graph)));
                }
            }
            _ => refused += 1,
        }
    }
    assert!(identified > 40 && refused > 20, "{identified} {refused}");
}

#[test]
fn transport_of_the_reference() {
    // reference/causal.md 3.6: Z moves y; X is randomised in the source; S points at Z.
    let graph = Graph::from_edges(&["Z", "X", "Y"], &[("Z", "Y"), ("X", "Y")], &[("X", "Y")]).expect("graph");
    let set = |names: &[&str]| graph.ids(names.iter().copied()).expect("nodes");
    let asked = query(&graph, "Y", "X");
    let target = Source { domain: 0, experiment: NodeSet::EMPTY, differs: NodeSet::EMPTY };
    let trial = |differs: &[&str]| Source { domain: 1, experiment: set(&["X"]), differs: set(differs) };
    let Ok(Transport::Transportable { estimand, .. }) = transport(&graph, asked, &[target, trial(&["Z"])]) else {
        panic!("transportable")
    };
    assert_eq!(estimand.text(&graph), "Σ_{Z} P(Z) P^1(Y | do(X), Z)");
    // P(Y | x, z) = 0.1 + 0.2 x + 0.1 z + 0.4 x z; P(Z = 1) is 0.7 here and 0.3 there.
    let domain = |z: u32| {
        let table = move |node: usize, code: usize| match (node, code >> 2 & 1, code >> 1 & 1) {
            (0, ..) => z,
            (1, ..) => 5,
            (_, z, x) => (1 + 2 * x + z + 4 * x * z) as u32,
        };
        Model::new(&graph, graph.all(), &graph.bidirected(), 10, |_| 5, table)
    };
    let ate = |truth: &Truth, estimand: &counterpath::causal::Estimand| {
        let at = |ones: NodeSet| {
            let mut values = assignment(graph.all(), ones | asked.outcomes);
            evaluate(estimand, truth, &mut values, &[]).expect("positive")
        };
        at(asked.treatments) - at(NodeSet::EMPTY)
    };
    let truth = Truth::new(vec![domain(7), domain(3)]);
    assert_eq!(ate(&truth, &estimand).to_string(), "12/25");
    let swapped = Truth::new(vec![domain(3), domain(7)]);
    assert_eq!(ate(&swapped, &estimand).to_string(), "8/25", "the source's own effect");
    // S → Y: what y does there says nothing of here.
    let Ok(Transport::Refused { district, reasons }) = transport(&graph, asked, &[target, trial(&["Y"])]) else {
        panic!("refused")
    };
    assert_eq!(district, asked.outcomes);
    let told: Vec<String> = reasons.iter().map(|reason| reason.text(&graph)).collect();
    assert!(
        told[0].contains("latent causes tie Y to X") && told[1].contains("Y may respond otherwise there"),
        "{told:?}"
    );
    // S → X only: the experiment carries over as it is.
    let Ok(Transport::Transportable { estimand, .. }) = transport(&graph, asked, &[trial(&["X"])]) else {
        panic!("direct transport")
    };
    assert_eq!(estimand.text(&graph), "P^1(Y | do(X))");
}

/// Whatever is declared transportable equals the truth of the domain asked about, from two domains and an experiment.
#[test]
fn transport_on_random_diagrams() {
    let (mut carried, mut refused, mut beyond) = (0, 0, 0);
    for number in 0..300 {
        let seed = Seed::new(53).fork(&number.to_string());
        let n = 3 + number % 3;
        let (graph, asked) = (random_graph(n, seed), random_query(n, seed));
        if !asked.outcomes.is_subset(graph.all()) {
            continue;
        }
        let mut rng = seed.fork("sources").rng();
        let mut some = |p: f64| (0..n).filter(|_| uniform(&mut rng) < p).collect::<NodeSet>();
        let (differs, experiment) = (some(0.2), if number % 2 == 0 { asked.treatments } else { some(0.4) });
        let sources = [
            Source { domain: 0, experiment: NodeSet::EMPTY, differs: NodeSet::EMPTY },
            Source { domain: 1, experiment: NodeSet::EMPTY, differs },
            Source { domain: 1, experiment, differs },
        ];
        match transport(&graph, asked, &sources).unwrap_or_else(|error| panic!("{number}: {error}")) {
            Transport::Transportable { estimand, .. } => {
                carried += 1;
                beyond += usize::from(matches!(answer(&graph, asked), Ok(Verdict::NotIdentified(_))));
                let within = graph.all();
                for model in 0..6 {
                    let seed = seed.fork("model").fork(&model.to_string());
                    let extreme = if model % 2 == 0 { Extreme::No } else { Extreme::Yes };
                    equals_truth(&family(&graph, within, &sources, seed, extreme), asked, &estimand)
                        .unwrap_or_else(|error| panic!("{number}: {} {error}", estimand.text(&graph)));
                }
            }
            Transport::Refused { .. } => refused += 1,
        }
    }
    assert!(carried > 40 && refused > 15 && beyond > 5, "{carried} {refused} {beyond}");
}
