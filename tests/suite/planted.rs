//! Models with known pathways: what is planted is what is measured.

use counterpath::base::{Seed, Silent, files};
use counterpath::intervene::{Job, NaiveEngine, Outcome, Plan, ReuseEngine, Side, SweepEngine, TokenPair};
use counterpath::model::LanguageModel;
use counterpath::planted::compiled::{CompiledModel, CompiledSpec, PlantedPair};
use counterpath::planted::methods::dormant_effects;
use counterpath::planted::trained::{ACCURACY, OUTSIDE, SiitSpec, Variable, measure, shipped, train_strictly};
use counterpath::planted::{
    CalibrationSpec, DEVELOPMENT, Grain, Method, Node, SuiteSpec, Table, Tier, calibrate, judge, markdown, model_seed,
    read_scores, run_benchmark, score_tasks, tasks, write_models,
};

use crate::cli;

fn compiled(seed: u64, spec: CompiledSpec) -> (CompiledModel, Vec<PlantedPair>) {
    let planted = CompiledModel::new(&spec, &Seed::new(seed)).expect("a compiled model");
    let pairs = planted.pairs("test", 12).expect("pairs");
    (planted, pairs)
}

/// Plain runs of both sides, then each node patched into the factual and into the counterfactual run.
fn measured(model: &LanguageModel, pairs: &[TokenPair], nodes: &[Node], engine: &dyn SweepEngine) -> Vec<Vec<f64>> {
    let mut plans = vec![Plan::nothing(Side::Factual), Plan::nothing(Side::Counterfactual)];
    for node in nodes {
        plans.extend([Side::Factual, Side::Counterfactual].map(|side| Plan::interchange(side, &[node.site()])));
    }
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: &plans }).collect();
    engine.outcomes(model, &jobs, Outcome::LogitDifference, &Silent).expect("outcomes")
}

#[test]
fn effects_of_every_node_equal_their_closed_forms_on_both_engines() {
    let mut largest = 0.0f64;
    for (seed, hum) in [(0, 0.0), (1, 0.3), (2, 0.3)] {
        let (planted, pairs) = compiled(seed, CompiledSpec { hum, ..CompiledSpec::default() });
        let tokens: Vec<TokenPair> = pairs.iter().map(|pair| pair.tokens.clone()).collect();
        let nodes = Node::all(planted.model.architecture());
        assert_eq!(nodes.len(), 15);
        for engine in [&NaiveEngine::default() as &dyn SweepEngine, &ReuseEngine::default()] {
            for (pair, values) in pairs.iter().zip(measured(&planted.model, &tokens, &nodes, engine)) {
                let (from, to) = (values[0], values[1]);
                assert!((from - planted.wiring.outcome(&pair.factual)).abs() < 1e-4);
                for (node, patched) in nodes.iter().zip(values[2..].chunks(2)) {
                    let closed = planted.wiring.effects(&pair.factual, &pair.counterfactual, *node);
                    let (moved, held) = (patched[0], patched[1]);
                    for (name, found, expected) in [
                        ("TE", to - from, closed.total),
                        ("NDE", held - from, closed.direct),
                        ("NIE", moved - from, closed.indirect),
                        ("reversed NIE", held - to, closed.reversed),
                    ] {
                        assert!((found - expected).abs() < 1e-4, "seed {seed}, {node}: {name} {found}, not {expected}");
                        largest = largest.max(expected.abs());
                    }
                }
            }
        }
    }
    assert!(largest > 1.0, "there were effects to be equal to: {largest}");
}

#[test]
fn a_subspace_patch_wakes_the_dormant_direction() {
    let spec = SuiteSpec { models: 3, pairs: 8, tiers: vec![Tier::Compiled], ..SuiteSpec::default() };
    for task in tasks(&spec).expect("tasks") {
        let found = dormant_effects(&task).expect("measured").expect("compiled models have one");
        assert!((found.subspace - found.closed_form).abs() < 1e-4 && found.closed_form < -0.4, "{found:?}");
        // The component that holds the direction has no effect as a whole.
        assert!(found.component.abs() < 1e-5, "{found:?}");
    }
}

/// What a seed gives may change only with the generator's version: published tables are of its models.
#[test]
fn the_generator_is_frozen() {
    let planted = CompiledModel::new(&CompiledSpec::default(), &model_seed(DEVELOPMENT, 0)).expect("a compiled model");
    let heads: Vec<String> = planted.wiring.heads().iter().map(|(_, node)| node.to_string()).collect();
    let ids = &planted.pairs("benchmark", 1).expect("a pair")[0].tokens.factual.ids;
    let relay = planted.wiring.strengths.relay;
    let embedding = &planted.model.tensors()["model.embed_tokens.weight"];
    let first = embedding.flatten_all().and_then(|all| all.to_vec1::<f32>()).expect("values")[0];
    let found = format!("{} {:?} {ids:?} {relay:.9} {first:.6}", heads.join(" "), planted.wiring.gates);
    assert_eq!(found, FROZEN);
}

const FROZEN: &str = "a1.h3 a2.h0 a1.h0 a0.h3 a0.h0 a1.h1 a2.h3 a2.h2 a1.h2 a0.h2 a0.h1 a2.h1 [2, 1, 1] [0, 13, 5, 18, 16, 1, 1, 2] 0.400080706 0.248073";

fn small() -> SuiteSpec {
    SuiteSpec { models: 6, pairs: 16, tiers: vec![Tier::Compiled], ..SuiteSpec::default() }
}

fn auroc(table: &Table, grain: Grain, method: Method) -> f64 {
    let section = table.sections.iter().find(|section| section.grain == grain).expect("section");
    let row = section.rows.iter().find(|row| row.method == method.name()).expect("row");
    row.auroc.value.expect("an area")
}

#[test]
fn each_method_falls_into_its_traps() {
    let spec = small();
    let tasks = tasks(&spec).expect("tasks");
    let methods = score_tasks(&tasks, &Seed::new(0), &Silent).expect("scores");
    let table = judge(&tasks, &methods, &Seed::new(0));
    for grain in [Grain::NodesStructural, Grain::NodesFunctional, Grain::Positions] {
        assert_eq!(auroc(&table, grain, Method::Both), 1.0, "exact effects in both directions find all: {grain:?}");
        for worse in [Method::Random, Method::Noising, Method::Attribution, Method::GradientNorm] {
            assert!(auroc(&table, grain, worse) < 0.95, "{worse:?} at {grain:?}");
        }
    }
    let fallen = |label: &str, method: Method| {
        let row = table.traps.iter().find(|trap| trap.label == label).expect("trap");
        row.fallen.iter().find(|(name, _)| name == method.name()).expect("method").1
    };
    assert_eq!(fallen("OR back-up", Method::Noising), 1.0);
    assert_eq!(fallen("OR back-up", Method::Denoising), 0.0);
    assert_eq!(fallen("OR back-up", Method::Attribution), 1.0);
    assert_eq!(fallen("saturated gate", Method::Attribution), 1.0);
    assert_eq!(fallen("saturated gate", Method::EapIg), 0.0);
    assert!(fallen("decoy and dormant direction", Method::ActivationDistance) > 0.9);
    assert!(fallen("decoy and dormant direction", Method::AttentionMass) > 0.9);
    assert_eq!(fallen("decoy and dormant direction", Method::Both), 0.0);
    // Whole blocks cannot see paths that cancel inside them: the reason that nodes are heads.
    let edges = table.sections.iter().find(|section| section.grain == Grain::Edges).expect("edges");
    assert!(edges.prevalence < 0.2 && edges.rows.iter().any(|row| row.method == Method::EapIg.name()));
}

#[test]
fn the_benchmark_gives_the_same_bytes_at_any_number_of_threads() {
    let spec = SuiteSpec { models: 2, pairs: 4, tiers: vec![Tier::Compiled], ..SuiteSpec::default() };
    let curve = CalibrationSpec { strengths: vec![0.5], models: 2, pairs: 6, ..CalibrationSpec::default() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let tasks = tasks(&spec).expect("tasks");
            let found = run_benchmark(&spec, &tasks, Vec::new(), Some(&curve), &Silent).expect("benchmark");
            let page = counterpath::pipeline::benchmark_page(&found, "a command").html();
            serde_json::to_string(&found).expect("JSON") + &markdown(&found) + &page
        })
    };
    let one = run(1);
    assert_eq!(one, run(3));
    assert!(one.contains("exact, both directions") && one.contains("saturated gate"));
    // The calibration curve is a figure: a panel a direction, a line a strength, a point a claimed rate.
    assert_eq!(one.matches("<svg class=\"curves chart\" ").count(), 2);
    assert_eq!(one.matches("strength 0.5 at ").count(), 2 * 3);
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    let spec = CalibrationSpec { strengths: vec![0.0, 1.0], models: 40, pairs: 16, ..CalibrationSpec::default() };
    let rows = calibrate(&spec, DEVELOPMENT, &Silent).expect("curve");
    for row in &rows {
        let actual = row.actual.value.expect("a rate");
        // A rate of q over 40 models is exceeded by three standard errors of a share once in a thousand.
        let slack = 3.0 * (row.claimed * (1.0 - row.claimed) / 40.0).sqrt();
        assert!(actual <= row.claimed + slack, "strength {}: {actual} for {}", row.strength, row.claimed);
        assert_eq!(row.power.is_none(), row.strength == 0.0);
        if let Some(power) = row.power {
            assert!(power > 0.8, "what is planted at full strength is found: {power}");
        }
    }
    // A tenth of the strength is as small as the hum: most of what is there is not claimed.
    let weak = CalibrationSpec { strengths: vec![0.1], models: 12, pairs: 8, ..spec };
    for row in calibrate(&weak, DEVELOPMENT, &Silent).expect("curve") {
        assert!(row.power.is_some_and(|power| power < 0.5), "{row:?}");
    }
}

#[test]
fn scores_from_elsewhere_are_held_against_the_tasks() {
    let folder = std::env::temp_dir().join(format!("counterpath-planted-{}", std::process::id()));
    let spec = SuiteSpec { models: 2, pairs: 3, tiers: vec![Tier::Compiled], ..SuiteSpec::default() };
    let tasks = tasks(&spec).expect("tasks");
    write_models(&folder, &spec, &tasks).expect("written");
    // What is written is what others load: the same model, and pairs in the format that is read everywhere.
    let place = folder.join("compiled-001");
    let loaded = LanguageModel::load(&place, &Default::default()).expect("a checkpoint");
    assert_eq!(loaded.digest(), tasks[1].model.digest());
    let pairs = counterpath::mediate::read_pairs(&place.join("pairs.jsonl"), None).expect("pairs");
    assert_eq!(pairs[2].counterfactual.ids, tasks[1].pairs[2].counterfactual.ids);
    assert_eq!(pairs[2].landmarks(), tasks[1].pairs[2].landmarks());

    let mut mine = score_tasks(&tasks, &Seed::new(0), &Silent).expect("scores").pop().expect("the last method");
    mine.method = "mine".into();
    let path = folder.join("mine.json");
    let write = |value: &serde_json::Value| files::write_json(&path, value).expect("written");
    let good = serde_json::to_value(&mine).expect("JSON");
    write(&good);
    assert_eq!(read_scores(&path, &tasks).expect("scores"), mine);
    let nodes = |value: &mut serde_json::Value| {
        value["scores"]["compiled-000"]["nodes"].as_object_mut().expect("nodes").clone()
    };
    for (change, reason) in
        [("a0.h0", "\"a0.h0\" has no score"), ("a9.h9", "no node \"a9.h9\""), ("task", "\"compiled-001\" has no score")]
    {
        let mut bad = good.clone();
        let mut changed = nodes(&mut bad);
        match change {
            "a0.h0" => drop(changed.remove("a0.h0")),
            "a9.h9" => drop(changed.insert("a9.h9".into(), 1.0.into())),
            _ => drop(bad["scores"].as_object_mut().expect("tasks").remove("compiled-001")),
        }
        bad["scores"]["compiled-000"]["nodes"] = changed.into();
        write(&bad);
        let error = read_scores(&path, &tasks).expect_err(change).to_string();
        assert!(error.contains(reason) && error.contains("mine.json"), "{error}");
    }
    std::fs::remove_dir_all(&folder).expect("clean up");
}

#[test]
fn shipped_models_still_meet_their_acceptance() {
    let models = shipped().expect("shipped models");
    assert_eq!(models.len(), 2);
    for trained in models {
        let record = &trained.record;
        let found = measure(&trained.model, &record.spec, 500, &Silent).expect("measured");
        assert!(found.accepted && record.acceptance.accepted, "{}: {:?}", record.name, found.lines());
        let accuracies = found.interchange_accuracy.iter().map(|(_, share)| *share);
        assert!(accuracies.chain([found.accuracy, found.strict_accuracy]).all(|share| share >= ACCURACY));
        assert!(found.largest_outside_effect < OUTSIDE && record.acceptance.pairs >= 1000);
        let bytes = trained.model.parameter_count() * 4;
        assert!(bytes < 500_000, "{}: {bytes} bytes", record.name);
        for variable in [Variable::Attribute, Variable::Majority] {
            let truth = trained.truth(variable);
            assert_eq!(truth.prevalence().0, 2, "a head and the MLP carry each variable");
            assert!(truth.nodes[&record.spec.pathway.node(variable)].structural);
        }
    }
}

/// A model that was not trained is not accepted, and one step of training moves every parameter of the pathway.
#[test]
fn an_untrained_model_is_refused() {
    let spec = SiitSpec { steps: 2, batch: 4, ..shipped().expect("shipped models")[0].record.spec.clone() };
    let (model, log) = train_strictly(&spec, &Silent).expect("two steps");
    assert_eq!(log.len(), 2);
    let weighted = log[0].weighted(&spec.weights);
    assert_eq!(weighted.strict, 0.4 * log[0].strict);
    let found = measure(&model, &spec, 200, &Silent).expect("measured");
    assert!(!found.accepted && found.accuracy < 0.9, "{:?}", found.lines());
    let (again, _) = train_strictly(&spec, &Silent).expect("two steps");
    assert_eq!(again.digest(), model.digest());
}

#[test]
fn the_verb_writes_the_table_and_refuses_scores_that_do_not_fit() {
    let folder = std::env::temp_dir().join(format!("counterpath-planted-verb-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("scratch folder");
    let path = |name: &str| folder.join(name).display().to_string();
    let base = ["benchmark", "pathways", "--quiet", "--models", "2", "--pairs", "3", "--tier", "compiled"];
    let with = |more: &[&str]| base.iter().chain(more).map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let run = |more: &[&str]| cli::done(&with(more).iter().map(String::as_str).collect::<Vec<_>>());
    let table = run(&["--output", &path("out")]);
    assert!(table.contains("| exact noising |") && table.contains("Who falls into which trap"), "{table}");
    assert_eq!(table, std::fs::read_to_string(folder.join("out/pathways.md")).expect("the table"));
    let record: serde_json::Value = files::read_json(&folder.join("out/pathways.json")).expect("JSON");
    assert_eq!(record["table"]["sections"].as_array().map(Vec::len), Some(4));
    // The page has the same numbers: methods with their intervals, and each trap's share of wrong nodes by method.
    let page = std::fs::read_to_string(folder.join("out/pathways.html")).expect("the page");
    assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("http://") && !page.contains("https://"));
    for trap in record["table"]["traps"].as_array().expect("traps") {
        let (label, nodes) = (trap["label"].as_str().expect("label"), &trap["nodes"]);
        assert!(page.contains(&format!("scope=\"col\" class=\"number\">{label} ({nodes})</th>")), "{label} ({nodes})");
    }
    let wrong = |on: bool| {
        let traps = record["table"]["traps"].as_array().expect("traps").iter();
        let own = traps.filter(move |trap| trap["on_pathway"] == on);
        let shares = own.flat_map(|trap| trap["fallen"].as_array().expect("methods").clone());
        shares.filter(|share| share[1].as_f64().expect("share") >= 0.5).count()
    };
    assert_eq!(page.matches("<span class=\"badge bad\">").count(), wrong(true) + wrong(false));
    assert!(page.contains("On a pathway: share missed") && page.contains("On no pathway: share taken for one"));
    run(&["--write-models", &path("models")]);
    assert!(folder.join("models/compiled-001/model.safetensors").exists() && folder.join("models/truth.json").exists());
    std::fs::write(folder.join("bad.json"), r#"{"method": "mine", "scores": {"compiled-000": {"nodes": {}}}}"#)
        .expect("write");
    let arguments = with(&["--scores", &path("bad.json")]);
    cli::refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), "compiled-001");
    std::fs::remove_dir_all(&folder).expect("clean up");
}
