//! Graph files, separation through tables, adjustment facts, and questions to discrete models.

use counterpath::base::Seed;
use counterpath::causal::network::Network;
use counterpath::causal::queries::{Event, Setting};
use counterpath::causal::table::{Missing, Table};
use counterpath::causal::{Adjustment, Asked, Document, Format, Graph, NodeSet, Verdict};

use crate::causal::random_graph;
use crate::shared::shared_dir;

fn dag(text: &str) -> Document {
    Document::parse(Format::Dagitty, text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn network(name: &str) -> Option<Document> {
    let path = shared_dir()?.join("data/causal/bayes-nets").join(format!("{name}.bif.gz"));
    let text = counterpath::base::files::read_text_or_gzip(&path).expect("readable");
    Some(Document::parse(Format::Bif, &text).expect(name))
}

#[test]
fn one_graph_in_four_formats() {
    let document = dag(
        "dag G {\n bb=\"0,0,1,1\"\n X [exposure,pos=\"0.1,-0.2\"]\n Y [outcome]\n U [latent] // unseen\n \"a b\" [selected]\n U -> { X Y }\n X -> M -> Y <- \"a b\"\n M <-> Y }",
    );
    let graph = &document.graph;
    assert_eq!(graph.names(document.exposures), ["X"]);
    assert_eq!(graph.names(graph.all() - graph.observed()), ["U"]);
    assert_eq!(graph.edges().len(), 5);
    assert_eq!(graph.bidirected().len(), 1);
    for format in [Format::Toml, Format::Dagitty, Format::Dot] {
        let text = document.write(format).expect("written");
        let again = Document::parse(format, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let edges = |document: &Document| {
            let graph = &document.graph;
            let mut edges: Vec<String> =
                graph.edges().into_iter().map(|(a, b)| format!("{}>{}", graph.name(a), graph.name(b))).collect();
            edges.extend(graph.bidirected().into_iter().map(|(a, b)| {
                let (a, b) = (graph.name(a), graph.name(b));
                if a < b { format!("{a}-{b}") } else { format!("{b}-{a}") }
            }));
            edges.sort();
            edges
        };
        assert_eq!(edges(&again), edges(&document), "{text}");
        for (mine, theirs) in [
            (again.graph.names(again.selected), graph.names(document.selected)),
            (again.graph.names(again.outcomes), graph.names(document.outcomes)),
            (again.graph.names(again.graph.observed()), graph.names(graph.observed())),
        ] {
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            assert_eq!(sorted(mine), sorted(theirs), "{text}");
        }
    }
    let svg = document.svg();
    assert_eq!(svg.matches("<ellipse").count(), graph.len());
    assert_eq!(svg.matches("marker-end").count(), 6, "every edge has a head");
}

#[test]
fn a_scenario_file_is_a_graph_file() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/eval_sets/hiring/scenario.toml"));
    let document = Document::parse(Format::Toml, &text.expect("shipped")).expect("graph");
    let Ok(Verdict::Identified(found)) = document.graph.identify(&["answer"], &["gender"]) else {
        panic!("identified")
    };
    let formula =
        "Σ_{name, pronoun, years} P(name | gender) P(pronoun | gender) P(years) P(answer | name, pronoun, years)";
    assert_eq!(found.text(), formula);
    assert!(matches!(document.graph.identify(&["decision"], &["years"]), Ok(Verdict::NotIdentified(_))));
}

#[test]
fn malformed_graphs_are_refused_with_their_place() {
    let refused = |format, text: &str, wanted: &str| {
        let error = Document::parse(format, text).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    };
    refused(Format::Dagitty, "dag { a -> b\n b -> a }", "cycle a → b → a");
    refused(Format::Dagitty, "dag { a -> a }", "from a node to itself");
    refused(Format::Dagitty, "dag { a ->\n }", "line 2: found `}` where a name should stand");
    refused(Format::Dagitty, "dag { a -- b }", "no causal graph");
    refused(Format::Dot, "graph { a -- b }", "`digraph`");
    refused(Format::Dagitty, "dag { \"a }", "the quote is never closed");
    refused(Format::Toml, "[variables.a]\nparent = []", "variables.a: unknown key `parent`: did you mean `parents`?");
    refused(Format::Toml, "[variables.a]\nparents = [\"bb\"]\n[variables.ba]", "there is no node `bb`");
    refused(
        Format::Toml,
        "[variables.a]\ntier = 1\n[variables.b]\ntier = 0\nparents = [\"a\"]",
        "(tier 0) has the parent `a` (tier 1)",
    );
    refused(Format::Toml, "a = ", "line 1:");
    let bif = |rows: &str| format!("network n {{ }} variable a {{ type discrete [ 2 ] {{ x, y }}; }} {rows}");
    refused(Format::Bif, &bif("probability ( a ) { table 0.5, 0.6; }"), "row 1 of the table of `a` is no distribution");
    refused(Format::Bif, &bif("probability ( a ) { table 0.5; }"), "2 numbers instead of 1");
    refused(Format::Bif, &bif(""), "no `probability` block");
    refused(Format::Bif, &bif("probability ( b ) { table 1; }"), "no node `b`");
}

#[test]
fn networks_with_tables_are_read_written_and_asked() {
    let Some(asia) = network("asia") else { return };
    let written = asia.write(Format::Bif).expect("written");
    assert_eq!(Document::parse(Format::Bif, &written).expect("again"), asia);
    let tables = asia.network.as_ref().expect("tables");
    let at = |name: &str, value: &str| {
        let node = asia.graph.id(name).expect("node");
        (node, tables.value(node, value).expect("value"))
    };
    // Lauritzen and Spiegelhalter 1988: P(lung | smoke) and the marginals that their tables give.
    let p = |event: &[(usize, usize)], given: &[(usize, usize)], set: &[(usize, usize)]| {
        tables.probability(event, given, set).expect("possible")
    };
    assert!((p(&[at("lung", "yes")], &[], &[]) - 0.055).abs() < 1e-12);
    assert!((p(&[at("either", "yes")], &[], &[]) - (1.0 - 0.945 * 0.9896)).abs() < 1e-12);
    // do() cuts what seeing does not: smoking is no evidence of bronchitis once it is set.
    assert_eq!(p(&[at("smoke", "yes")], &[], &[at("bronc", "yes")]), 0.5);
    assert!(p(&[at("smoke", "yes")], &[at("bronc", "yes")], &[]) > 0.6);
    // Sampling agrees with enumeration: binomial sd at 20,000 draws is below 0.0036.
    let rows = tables.sample(20_000, &[at("smoke", "yes")], Seed::new(5));
    let (lung, yes) = at("lung", "yes");
    let share = rows.iter().filter(|row| row[lung] == yes).count() as f64 / 20_000.0;
    assert!((share - 0.1).abs() < 0.01, "{share}");
    for name in ["cancer", "earthquake", "survey", "sachs"] {
        let document = network(name).expect("there");
        assert!(document.network.is_some());
        let again = Document::parse(Format::Bif, &document.write(Format::Bif).expect("written")).expect("again");
        assert_eq!(again, document, "{name}");
    }
}

/// A → M → Y ← A, binary, P(M=1|a) = 0.2 + 0.5 a, P(Y=1|a,m) = 0.1 + 0.2 a + 0.4 m.
fn small() -> Network {
    let graph = Graph::from_edges(&["A", "M", "Y"], &[("A", "M"), ("A", "Y"), ("M", "Y")], &[]).expect("graph");
    let values = vec![vec!["0".to_owned(), "1".to_owned()]; 3];
    let row = |p: f64| vec![1.0 - p, p];
    let tables = vec![vec![row(0.5)], vec![row(0.2), row(0.7)], vec![row(0.1), row(0.5), row(0.3), row(0.7)]];
    Network::new(graph, values, vec![vec![], vec![0], vec![0, 1]], tables).expect("network")
}

#[test]
fn counterfactuals_by_abduction_action_and_prediction() {
    let model = small();
    let (a, m, y) = (0, 1, 2);
    let seen = |node, value| Event { world: 0, node, value };
    let in_world = |world, node, value| Event { world, node, value };
    let worlds = [vec![], vec![(a, Setting::To(1))]];
    // By hand: a unit with A=0, M=1, Y=0 has u_M in [0.8, 1) and u_Y in [0, 0.5). Values are read from 0 up, so that M
    // stays 1 under A=1 (its 1 begins at 0.3), and Y is 1 there where u_Y ≥ 0.3: (0.5 − 0.3) / 0.5.
    let evidence = [seen(a, 0), seen(m, 1), seen(y, 0)];
    let p = model.counterfactual(&worlds, &[in_world(1, y, 1)], &evidence).expect("possible");
    assert!((p - 0.4).abs() < 1e-12, "{p}");
    // Consistency: doing what was seen changes nothing.
    let same = [vec![], vec![(a, Setting::To(0))]];
    let p = model.counterfactual(&same, &[in_world(1, y, 0)], &evidence).expect("possible");
    assert_eq!(p, 1.0);
    // Nested: E[Y_{1,M_0}] − E[Y_0] is the natural direct effect, here 0.2 whatever M is.
    let nested = [vec![(a, Setting::To(0))], vec![(a, Setting::To(1)), (m, Setting::AsIn(0))]];
    let mean = |world| model.counterfactual(&nested, &[in_world(world, y, 1)], &[]).expect("possible");
    assert!((mean(1) - mean(0) - 0.2).abs() < 1e-12);
    // Evidence that cannot be, and a world that reads the future.
    let never = model.with_latent(0);
    assert!(never.counterfactual(&[vec![(a, Setting::To(1))]], &[], &[seen(a, 0)]).is_err());
    assert!(never.counterfactual(&[vec![(a, Setting::AsIn(0))]], &[], &[]).is_err());
}

#[test]
fn adjustment_facts_of_the_reference() {
    // reference/causal.md 3.2, after dagitty's own tests.
    let valid = |text: &str, set: &[&str]| {
        let document = dag(text);
        let id = |name| document.graph.id(name).expect("node");
        document.graph.is_adjustment_set(id("X"), id("Y"), document.graph.ids(set.iter().copied()).expect("nodes"))
    };
    assert!(valid("dag { X <- Z -> Y  X -> Y }", &["Z"]));
    assert!(!valid("dag { X <-> M <-> Y  X -> Y }", &["M"]));
    assert!(!valid("dag { X -> M -> Y }", &["M"]) && !valid("dag { X -> Y -> D }", &["D"]));
    let m_bias = dag("dag { X -> Y  A -> X  A -> Z <- B  B -> Y }");
    let graph = &m_bias.graph;
    let id = |name| graph.id(name).expect("node");
    assert_eq!(graph.adjustment(id("X"), id("Y")), Adjustment::Sets(vec![NodeSet::EMPTY]));
    let Adjustment::Sets(sets) = graph.adjustment_with(id("X"), id("Y"), NodeSet::one(id("Z"))) else { panic!("sets") };
    let mut names: Vec<Vec<String>> = sets.into_iter().map(|set| graph.names(set)).collect();
    names.sort();
    assert_eq!(names, [["A", "Z"], ["Z", "B"]]);
    let selection = dag("dag { X -> Y -> S  X <- Z -> Y  S [selected] }");
    let (graph, id) = (&selection.graph, |name| selection.graph.id(name).expect("node"));
    let z = NodeSet::one(id("Z"));
    assert!(!graph.is_adjustment_set_under_selection(id("X"), id("Y"), z, selection.selected));
    assert!(graph.is_odds_ratio_set_under_selection(id("X"), id("Y"), z, selection.selected));
    assert!(graph.is_adjustment_set_under_selection(id("X"), id("Y"), z, NodeSet::EMPTY));
}

/// Every minimal set is valid and stops being so without any node; every valid set holds a minimal one.
#[test]
fn minimal_adjustment_sets_on_random_graphs() {
    let mut sets_seen = 0;
    for number in 0..200 {
        let n = 3 + number % 4;
        let graph = random_graph(n, Seed::new(71).fork(&number.to_string()));
        let (x, y) = (0, n - 1);
        let valid = |z: NodeSet| graph.is_adjustment_set(x, y, z);
        let brute: Vec<NodeSet> = graph.all().without(x).without(y).subsets().filter(|&z| valid(z)).collect();
        let minimal = brute.iter().copied().filter(|z| !brute.iter().any(|other| other != z && other.is_subset(*z)));
        match graph.adjustment(x, y) {
            Adjustment::Sets(mut sets) => {
                let mut minimal: Vec<NodeSet> = minimal.collect();
                minimal.sort();
                sets.sort();
                assert_eq!(sets, minimal, "{number}: {graph:?}");
                sets_seen += sets.len();
            }
            Adjustment::NoEffect => assert!(!graph.descendants(NodeSet::one(x)).contains(y)),
            Adjustment::Refused { .. } => assert!(brute.is_empty(), "{number}: {graph:?} {brute:?}"),
        }
    }
    assert!(sets_seen > 30, "{sets_seen}");
}

#[test]
fn an_estimand_is_evaluated_on_data() {
    // Rows drawn from a network with confounding: the estimand recovers do(), the contrast as seen does not.
    let text = "network n { } variable Z { type discrete [ 2 ] { 0, 1 }; } variable X { type discrete [ 2 ] { 0, 1 }; } variable Y { type discrete [ 2 ] { 0, 1 }; } \
        probability ( Z ) { table 0.5, 0.5; } probability ( X | Z ) { (0) 0.8, 0.2; (1) 0.2, 0.8; } \
        probability ( Y | X, Z ) { (0, 0) 0.9, 0.1; (0, 1) 0.5, 0.5; (1, 0) 0.8, 0.2; (1, 1) 0.4, 0.6; }";
    let document = Document::parse(Format::Bif, text).expect("network");
    let network = document.network.as_ref().expect("tables");
    let rows = network.sample(40_000, &[], Seed::new(9));
    let column = |node: usize| rows.iter().map(|row| row[node] as f64).collect::<Vec<_>>();
    let table = Table::from_numbers(vec![("Z".into(), column(0)), ("X".into(), column(1)), ("Y".into(), column(2))]);
    let table = Table::parse(&table.expect("table").write(), Missing::Refuse).expect("read back");
    let asked = Asked::parse("P(Y | do(X))").expect("query");
    let (answer, verdict) = document.graph.ask(&asked).expect("answered");
    assert_eq!(answer.adjustment_sets, [["Z"]]);
    assert_eq!(answer.optimal_set, Some(vec!["Z".to_owned()]));
    let Verdict::Identified(found) = verdict else { panic!("identified") };
    let values = found.on_table(&table, None).expect("positive");
    let p = |y: &str, x: &str| {
        let at = |v: &&counterpath::causal::ask::ValueAt| v.at[0].1 == y && v.at[1].1 == x;
        values.iter().find(at).expect("row").probability
    };
    // Truth 0.4 and 0.3; sampling sd is about 0.004.
    assert!((p("1", "1") - 0.4).abs() < 0.02 && (p("1", "0") - 0.3).abs() < 0.02, "{values:?}");
    assert!((p("1", "1") + p("0", "1") - 1.0).abs() < 1e-12);
}
