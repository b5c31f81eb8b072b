//! Identification against exact truth.

use counterpath::base::Seed;
use counterpath::base::seed::{index, uniform};
use counterpath::causal::check::{assignment, equals_truth};
use counterpath::causal::decompose::{DecomposeError, decompose};
use counterpath::causal::evaluate::evaluate;
use counterpath::causal::identify::answer;
use counterpath::causal::oracle::{Extreme, Model, Truth};
use counterpath::causal::path_specific::{nested_equals, path_specific};
use counterpath::causal::transport::{family, transport};
use counterpath::causal::{Among, Graph, NodeSet, PathQuery, PathVerdict, Query, Source, Transport, Verdict};

type Edges<'a> = &'a [(&'a str, &'a str)];

/// A graph of the reference with its latents in the order in which they are listed.
struct Case<'a> {
    name: &'a str,
    nodes: &'a [&'a str],
    directed: Edges<'a>,
    bidirected: Edges<'a>,
    /// P(Y=1 | do X=1), P(Y=1 | do X=0), P(Y=1 | X=1), as printed; the second is absent for hedges.
    numbers: (&'a str, Option<&'a str>, &'a str),
    identified: bool,
    /// The formula as we print it.
    text: &'a str,
}

/// reference/causal.md 3.1.
const CASES: [Case<'static>; 10] = [
    Case {
        name: "back-door",
        nodes: &["Z", "X", "Y"],
        directed: &[("Z", "X"), ("Z", "Y"), ("X", "Y")],
        bidirected: &[],
        numbers: ("0.48", Some("0.55"), "0.4822784810"),
        identified: true,
        text: "Σ_{Z} P(Z) P(Y | Z, X)",
    },
    Case {
        name: "front-door",
        nodes: &["X", "Z", "Y"],
        directed: &[("X", "Z"), ("Z", "Y")],
        bidirected: &[("X", "Y")],
        numbers: ("0.294", Some("0.256"), "0.3442857143"),
        identified: true,
        text: "Σ_{Z} P(Z | X) [Σ_{X'} P(X') P(Y | X', Z)]",
    },
    Case {
        name: "napkin",
        nodes: &["Z2", "Z1", "X", "Y"],
        directed: &[("Z2", "Z1"), ("Z1", "X"), ("X", "Y")],
        bidirected: &[("Z2", "X"), ("Z2", "Y")],
        numbers: ("0.45", Some("0.35"), "0.4337563452"),
        identified: true,
        text: "[Σ_{Z2} P(Z2) P(X | Z2, Z1) P(Y | Z2, Z1, X)] / [Σ_{Z2} P(Z2) P(X | Z2, Z1)]",
    },
    Case {
        name: "W→X→Z→Y",
        nodes: &["W", "X", "Z", "Y"],
        directed: &[("W", "X"), ("X", "Z"), ("Z", "Y")],
        bidirected: &[("X", "Y")],
        numbers: ("0.44", Some("0.456"), "0.4493074792"),
        identified: true,
        text: "Σ_{Z} P(Z | X) [Σ_{X'} P(X' | W) P(Y | W, X', Z)]",
    },
    Case {
        name: "Fig 2b",
        nodes: &["X", "Z", "Y"],
        directed: &[("X", "Y"), ("X", "Z"), ("Z", "Y")],
        bidirected: &[("Y", "Z")],
        numbers: ("0.546", Some("0.264"), "0.546"),
        identified: true,
        text: "P(Y | X)",
    },
    Case {
        name: "Fig 2c",
        nodes: &["Z", "X", "Y"],
        directed: &[("X", "Y"), ("Z", "X"), ("Z", "Y")],
        bidirected: &[("Y", "Z")],
        numbers: ("0.408", Some("0.608"), "0.3854881266"),
        identified: true,
        text: "Σ_{Z} P(Z) P(Y | Z, X)",
    },
    Case {
        name: "Fig 2g",
        nodes: &["Z2", "X", "Z1", "Z3", "Y"],
        directed: &[("Z2", "Z1"), ("Z2", "X"), ("Z2", "Z3"), ("X", "Z1"), ("Z1", "Y"), ("Z3", "Y")],
        bidirected: &[("Z2", "X"), ("Z2", "Y"), ("X", "Z3"), ("X", "Y")],
        numbers: ("0.4629676", Some("0.4788686"), "0.4484406504"),
        identified: true,
        text: "Σ_{Z2, Z1} P(Z2) [Σ_{X', Z3} P(X' | Z2) P(Z3 | Z2, X') P(Y | Z2, X', Z1, Z3)] P(Z1 | Z2, X)",
    },
    Case {
        name: "M-bias",
        nodes: &["Z", "X", "Y"],
        directed: &[("X", "Y")],
        bidirected: &[("X", "Z"), ("Y", "Z")],
        numbers: ("0.20", Some("0.55"), "0.20"),
        identified: true,
        text: "P(Y | X)",
    },
    Case {
        name: "Fig 1e",
        nodes: &["Z", "X", "Y"],
        directed: &[("Z", "X"), ("X", "Y")],
        bidirected: &[("X", "Z"), ("Z", "Y")],
        numbers: ("0.200", None, "0.1772241993"),
        identified: false,
        text: "",
    },
    Case {
        name: "Fig 1f",
        nodes: &["X", "Z", "Y"],
        directed: &[("X", "Z"), ("Z", "Y")],
        bidirected: &[("X", "Y"), ("Z", "Y")],
        numbers: ("0.502", None, "0.4585714286"),
        identified: false,
        text: "",
    },
];

/// A decimal rendering of an exact number, to ten places.
fn decimal(number: &num_rational::BigRational) -> f64 {
    let text = number.to_string();
    let mut parts = text.split('/').map(|part| part.parse::<f64>().expect("a number"));
    parts.next().expect("numerator") / parts.next().unwrap_or(1.0)
}

impl Case<'_> {
    fn graph(&self) -> Graph {
        Graph::from_edges(self.nodes, self.directed, self.bidirected).expect(self.name)
    }

    fn truth(&self, graph: &Graph) -> Truth {
        let id = |name: &str| graph.id(name).expect("listed");
        let edges: Vec<(usize, usize)> = self.bidirected.iter().map(|(a, b)| (id(a), id(b))).collect();
        Truth::new(vec![Model::reference(graph, &edges)])
    }
}

fn query(graph: &Graph, y: &str, x: &str) -> Query {
    let one = |name: &str| graph.ids([name]).expect("listed");
    Query { outcomes: one(y), treatments: one(x), given: NodeSet::EMPTY }
}

#[test]
fn the_reference_graphs_have_the_right_verdicts_formulas_and_numbers() {
    for case in CASES {
        let graph = case.graph();
        let (asked, truth) = (query(&graph, "Y", "X"), case.truth(&graph));
        let values = |x: bool| {
            let ones = if x { asked.outcomes | asked.treatments } else { asked.outcomes };
            assignment(asked.outcomes | asked.treatments, ones)
        };
        let close = |found: f64, printed: &str| {
            let digits = printed.split('.').nth(1).map_or(0, str::len) as i32;
            let expected: f64 = printed.parse().expect("a number");
            assert!((found - expected).abs() <= 0.5 * 10f64.powi(-digits.max(10)), "{}: {found} {printed}", case.name);
        };
        let effect =
            |x| decimal(&truth.effect(asked.outcomes, asked.treatments, NodeSet::EMPTY, &values(x)).expect("x"));
        close(effect(true), case.numbers.0);
        case.numbers.1.into_iter().for_each(|printed| close(effect(false), printed));
        let seen = truth.effect(asked.outcomes, NodeSet::EMPTY, asked.treatments, &values(true)).expect("P(X) > 0");
        close(decimal(&seen), case.numbers.2);
        match graph.identify(&["Y"], &["X"]).unwrap_or_else(|error| panic!("{}: {error}", case.name)) {
            Verdict::Identified(found) => {
                assert!(case.identified, "{}: {}", case.name, found.text());
                equals_truth(&truth, asked, &found.estimand).unwrap_or_else(|e| panic!("{}: {e}", case.name));
                if !case.text.is_empty() {
                    assert_eq!(found.text(), case.text, "{}", case.name);
                }
                println!("{}: {}", case.name, found.text());
            }
            Verdict::NotIdentified(hedge) => {
                assert!(!case.identified, "{}: {}", case.name, hedge.text());
                assert!(hedge.holds());
                println!("{}: {}", case.name, hedge.text());
            }
        }
    }
}

#[test]
fn a_conditional_effect_may_be_identified_where_the_joint_is_not() {
    // reference/causal.md 3.1: X → Z → Y, X ↔ Z.
    let graph = Graph::from_edges(&["X", "Z", "Y"], &[("X", "Z"), ("Z", "Y")], &[("X", "Z")]).expect("graph");
    assert!(matches!(graph.identify(&["Z"], &["X"]), Ok(Verdict::NotIdentified(_))));
    let Ok(Verdict::Identified(found)) = graph.identify_given(&["Y"], &["X"], &["Z"]) else { panic!("identified") };
    assert_eq!(found.text(), "P(Y | Z)");
    let truth = Truth::new(vec![Model::reference(&graph, &[(0, 1)])]);
    let all = graph.all();
    let exact = evaluate(&found.estimand, &truth, &mut assignment(all, all), &[]).expect("positive");
    assert_eq!(decimal(&exact), 0.5);
}

/// A random graph on `n` nodes in index order.
fn random_graph(n: usize, seed: Seed) -> Graph {
    let names: Vec<String> = (0..n).map(|i| format!("V{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rng = seed.rng();
    let (arrows, latents) = (0.2 + 0.5 * uniform(&mut rng), 0.2 + 0.5 * uniform(&mut rng));
    let (mut directed, mut bidirected) = (Vec::new(), Vec::new());
    for a in 0..n {
        for b in a + 1..n {
            if uniform(&mut rng) < arrows {
                directed.push((names[a], names[b]));
            }
            if uniform(&mut rng) < latents && bidirected.len() < 6 {
                bidirected.push((names[a], names[b]));
            }
        }
    }
    Graph::from_edges(&names, &directed, &bidirected).expect("acyclic by construction")
}

/// Disjoint random sets of outcomes, treatments and, half the time, conditions.
fn random_query(n: usize, seed: Seed) -> Query {
    let mut rng = seed.fork("query").rng();
    let mut parts = [NodeSet::EMPTY; 4];
    for node in 0..n {
        parts[[0, 1, 2, 3, 3][index(&mut rng, 5)]].insert(node);
    }
    let [mut outcomes, treatments, mut given, rest] = parts;
    if uniform(&mut rng) < 0.5 {
        given = NodeSet::EMPTY;
    }
    if outcomes.is_empty() {
        outcomes = (rest - given).min().or(rest.min()).map_or(NodeSet::one(n), NodeSet::one);
        given = given - outcomes;
    }
    Query { outcomes, treatments, given }
}

/// Success ⇒ equal to the truth on 20 models, ten of them with probabilities next to 0 and 1; failure ⇒ a hedge that
/// holds up. [`answer`] itself refuses to return anything else; here the models are others than it checks with.
#[test]
fn random_graphs_in_both_directions() {
    let (mut identified, mut refused, mut conditional) = (0, 0, 0);
    for number in 0..160 {
        let seed = Seed::new(31).fork(&number.to_string());
        let n = 3 + number % 4;
        let (graph, asked) = (random_graph(n, seed), random_query(n, seed));
        if !asked.outcomes.is_subset(graph.all()) {
            continue;
        }
        match answer(&graph, asked).unwrap_or_else(|error| panic!("{number}: {error}\n{graph:?}\n{asked:?}")) {
            Verdict::Identified(found) => {
                identified += 1;
                conditional += usize::from(!asked.given.is_empty());
                let within = graph.ancestors(asked.outcomes | asked.treatments | asked.given | found.estimand.free());
                for model in 0..20 {
                    let extreme = if model % 2 == 0 { Extreme::No } else { Extreme::Yes };
                    let model = Model::random(&graph, within, seed.fork("model").fork(&model.to_string()), extreme);
                    equals_truth(&Truth::new(vec![model]), asked, &found.estimand)
                        .unwrap_or_else(|error| panic!("{number}: {} {error}", found.text()));
                }
            }
            Verdict::NotIdentified(hedge) => {
                refused += 1;
                assert!(hedge.holds(), "{number}: {hedge:?}");
            }
        }
    }
    println!("{identified} identified ({conditional} conditional), {refused} refused");
    assert!(identified > 40 && refused > 10 && conditional > 10, "{identified} {refused} {conditional}");
}

#[test]
fn a_false_formula_does_not_pass_the_check() {
    // Conditioning on the confounded treatment alone, in the back-door graph and in the front-door graph.
    for case in CASES.iter().take(2) {
        let graph = case.graph();
        let asked = query(&graph, "Y", "X");
        let naive = counterpath::causal::Estimand::probability(asked.outcomes, asked.treatments, Default::default());
        assert!(counterpath::causal::check::check(&graph, asked, &naive).is_err(), "{}", case.name);
    }
}

/// The binary model of reference/causal.md 3.5, in tenths: C → A, C → M, C → Y, A → M, A → Y, M → Y.
fn mediation_model() -> (Graph, Truth) {
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
