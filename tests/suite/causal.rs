//! Identification against exact truth.

use counterpath::base::Seed;
use counterpath::base::seed::{index, uniform};
use counterpath::causal::check::{assignment, equals_truth};
use counterpath::causal::evaluate::evaluate;
use counterpath::causal::identify::answer;
use counterpath::causal::oracle::{Extreme, Model, Truth};
use counterpath::causal::{Graph, NodeSet, Query, Verdict};

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

pub fn query(graph: &Graph, y: &str, x: &str) -> Query {
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
pub fn random_graph(n: usize, seed: Seed) -> Graph {
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
pub fn random_query(n: usize, seed: Seed) -> Query {
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
