//! Claims: refuters, implied independences, and records that run again to the bit.

use counterpath::base::seed::{normal, uniform};
use counterpath::base::{Digest, Seed};
use counterpath::causal::audit::{AuditError, Request, differences};
use counterpath::causal::estimate::{Estimation, EstimationSpec};
use counterpath::causal::refute::{Refutation, implications, implications_refuter};
use counterpath::causal::table::Table;
use counterpath::causal::{Document, Format, Graph};
use counterpath::stats::regression::sigmoid;

/// c → d, c → y, c → w, d → y (effect 1), and w, which d does not move.
fn rows(n: usize, seed: Seed) -> Table {
    let mut rng = seed.rng();
    let mut columns = vec![Vec::new(); 4];
    for _ in 0..n {
        let c = normal(&mut rng);
        let d = f64::from(uniform(&mut rng) < sigmoid(c));
        let y = d + c + normal(&mut rng);
        let w = c + normal(&mut rng);
        for (column, value) in columns.iter_mut().zip([c, d, y, w]) {
            column.push(value);
        }
    }
    let names = ["c", "d", "y", "w"].map(str::to_owned);
    Table::from_numbers(names.into_iter().zip(columns).collect()).expect("table")
}

const GRAPH: &str = "dag { c -> d  c -> y  c -> w  d -> y  d [exposure]  y [outcome] }";

fn graph(text: &str) -> Graph {
    Document::parse(Format::Dagitty, text).expect("graph").graph
}

#[test]
fn a_right_estimate_survives_and_a_confounded_one_is_told_by_its_negative_control() {
    let table = rows(1_500, Seed::new(3));
    let run = |covariates: &[&str]| {
        let estimation = Estimation::new("d", "y", covariates);
        let effect = estimation.run(&table).expect("estimate");
        let attack =
            Refutation { table: &table, estimation: &estimation, effect: &effect, draws: 20, seed: Seed::new(1) };
        let all = attack.all().expect("refuters");
        (effect.value, all, attack.negative_control_outcome("w").expect("control"))
    };
    let (value, all, control) = run(&["c"]);
    assert!((value - 1.0).abs() < 0.2);
    assert!(all.iter().all(|refuter| refuter.passed), "{all:#?}");
    assert!(control.passed, "{control:?}");
    assert_eq!(all.len(), 4);
    // Placebos cannot see confounding; the outcome that shares the confounder can.
    let (value, _, control) = run(&[]);
    assert!(value > 1.5 && !control.passed, "{value} {control:?}");
}

#[test]
fn independences_that_a_wrong_graph_implies_fail_on_data() {
    let table = rows(2_000, Seed::new(4));
    let right = implications(&graph(GRAPH), &table).expect("tested");
    let texts: Vec<&str> = right.iter().map(|implication| implication.text.as_str()).collect();
    assert_eq!(texts, ["d ⊥ w | c", "y ⊥ w | c"]);
    assert!(right.iter().all(|implication| implication.adjusted > 0.01), "{right:?}");
    let wrong = graph("dag { d -> c  y -> c  w }");
    let refuter = implications_refuter(&wrong, &table, 0.01).expect("tested");
    assert!(!refuter.passed && refuter.detail.contains("c ⊥ w"), "{refuter:?}");
}

fn request(table: &Table, graph: &str) -> Request {
    let document = Document::parse(Format::Dagitty, graph).expect("graph");
    Request {
        graph: document.write(Format::Toml).expect("written"),
        data: "rows.csv".into(),
        data_digest: Digest::of(table.write().as_bytes()),
        drop_missing: false,
        estimation: EstimationSpec {
            treatment: "d".into(),
            outcome: "y".into(),
            covariates: Vec::new(),
            method: "irm".into(),
            outcome_learner: "ols".into(),
            treatment_learner: "logistic".into(),
            folds: 5,
            fold_rule: "random".into(),
            repetitions: 2,
            clusters: Vec::new(),
            clip: 0.01,
            neighbours: 1,
            level: 0.95,
            seed: 7,
        },
        covariates_stated: false,
        refuter_draws: 5,
        negative_outcomes: vec!["w".into()],
        negative_treatments: Vec::new(),
        confounder: [0.03, 0.03],
    }
}

#[test]
fn a_record_runs_again_to_the_bit_and_another_graph_is_another_verdict() {
    let table = rows(800, Seed::new(5));
    let asked = request(&table, GRAPH);
    let first = serde_json::to_value(asked.run(&table).expect("record")).expect("json");
    // Through text, as a file would carry it.
    let text = serde_json::to_string(&first).expect("text");
    let stored: serde_json::Value = serde_json::from_str(&text).expect("read");
    let again: Request = serde_json::from_value(stored["request"].clone()).expect("request");
    assert_eq!(again, asked);
    let second = serde_json::to_value(again.run(&table).expect("record")).expect("json");
    assert_eq!(differences(&stored, &second), Vec::<String>::new());
    assert_eq!(stored["adjustment"], serde_json::json!(["c"]));
    // One number changed by hand is found.
    let mut forged = stored.clone();
    forged["effect"]["value"] = serde_json::json!(2.5);
    assert_eq!(differences(&forged, &second).len(), 1);
    // With c unobserved the same request is refused; with w a cause of both, w is adjusted for too.
    let hidden =
        request(&table, "dag { c [latent]  c -> d  c -> y  c -> w  d -> y }").run(&table).expect_err("confounded");
    assert!(matches!(&hidden, AuditError::NotIdentified(why) if why.contains("hedge")), "{hidden}");
    let mut other = request(&table, "dag { c -> d  c -> y  c -> w  d -> y  w -> y  w -> d }");
    other.negative_outcomes.clear();
    let other = other.run(&table).expect("record");
    assert_eq!(other.adjustment, ["c", "w"]);
    assert_ne!(other.graph_digest.as_str(), stored["graph_digest"]);
}

#[test]
fn stated_covariates_must_be_valid() {
    let table = rows(300, Seed::new(6));
    let mut asked = request(&table, "dag { c -> d  c -> y  d -> w  w -> y  d -> y }");
    asked.covariates_stated = true;
    asked.negative_outcomes.clear();
    asked.estimation.covariates = vec!["c".into(), "w".into()];
    let error = asked.run(&table).expect_err("a mediator").to_string();
    assert!(error.contains("{c, w} is no valid adjustment set") && error.contains("valid ones are {c}"), "{error}");
    asked.estimation.covariates = vec!["c".into()];
    assert!(asked.run(&table).is_ok());
    asked.estimation.method = "irmm".into();
    assert!(asked.run(&table).expect_err("typo").to_string().contains("did you mean `irm`?"));
}
