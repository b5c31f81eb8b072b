//! The verbs on graphs and tables, as a shell calls them.

use std::path::{Path, PathBuf};
use std::process::Command;

use counterpath::base::Seed;
use counterpath::base::seed::index;
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("causal-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("folder");
    folder
}

fn call(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_counterpath")).args(arguments).current_dir(folder).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let (code, out, error) = call(folder, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{error}");
    serde_json::from_str(&out).expect("json")
}

fn refused(folder: &Path, arguments: &[&str], wanted: &str) {
    let (code, _, error) = call(folder, arguments);
    assert!(code == 2 && error.contains(wanted), "{code}: {error}");
}

/// c → d → y ← c, the effect of d being 2; rows that are the same everywhere.
fn table() -> String {
    let mut rng = Seed::new(3).rng();
    let mut text = String::from("c,d,y\n");
    for _ in 0..240 {
        let c = index(&mut rng, 5);
        let d = usize::from(index(&mut rng, 10) < 3 + c);
        text.push_str(&format!("{c},{d},{}\n", 2 * d + c + index(&mut rng, 4)));
    }
    text
}

#[test]
fn identify_answers_in_words_and_for_programs() {
    let folder = folder("identify");
    std::fs::write(folder.join("g.txt"), "dag { x -> z -> y  x <-> y }").expect("written");
    let answer = json(&folder, &["identify", "--graph", "g.txt", "--query", "P(y | do(x))"]);
    assert_eq!(answer["estimand"], "Σ_{z} P(z | x) [Σ_{x'} P(x') P(y | x', z)]");
    assert_eq!(answer["front_door_sets"], serde_json::json!([["z"]]));
    let (code, out, _) =
        call(&folder, &["identify", "--graph", "g.txt", "--treatment", "x", "--outcome", "y", "--svg", "g.svg"]);
    assert!(code == 0 && out.contains("assuming") && out.contains("LaTeX"), "{out}");
    assert!(std::fs::read_to_string(folder.join("g.svg")).expect("drawn").starts_with("<svg"));
    std::fs::write(folder.join("bow.txt"), "dag { x -> y  x <-> y }").expect("written");
    let answer = json(&folder, &["identify", "--graph", "bow.txt", "--query", "P(y | do(x))"]);
    assert_eq!(answer["identified"], false);
    assert_eq!(answer["hedge"]["experiments"], serde_json::json!(["x"]));
    std::fs::write(folder.join("kite.txt"), "dag { a -> z  z -> w  z -> y  w -> y  a -> y }").expect("written");
    let along = json(&folder, &["identify", "--graph", "kite.txt", "--path", "a -> z -> y"]);
    assert!(
        along["identified"] == false && along["reason"].as_str().is_some_and(|why| why.contains("recanting witness"))
    );
    refused(&folder, &["identify", "--graph", "g.txt", "--query", "P(q | do(x))"], "there is no node `q`");
    refused(&folder, &["identify", "--graph", "g.txt", "--query", "y | x"], "write it as P(y | do(x), z)");
    refused(&folder, &["identify", "--graph", "missing.txt", "--query", "P(y)"], "missing.txt");
}

#[test]
fn estimates_are_identified_recorded_audited_and_attacked() {
    let folder = folder("estimate");
    std::fs::write(folder.join("g.txt"), "dag { c -> d  c -> y  d -> y  d [exposure]  y [outcome] }").expect("written");
    std::fs::write(folder.join("t.csv"), table()).expect("written");
    let arguments = ["estimate", "--graph", "g.txt", "--data", "t.csv", "--method", "irm", "--output", "r.json"];
    let record = json(&folder, &arguments);
    let effect = record["effect"]["value"].as_f64().expect("a number");
    assert!((effect - 2.0).abs() < 0.5, "{effect}");
    assert_eq!(record["regime"], "observational");
    let audited = json(&folder, &["audit", "r.json"]);
    assert_eq!(audited["reproduced"], true);
    let text = std::fs::read_to_string(folder.join("r.json")).expect("record");
    std::fs::write(folder.join("forged.json"), text.replacen("\"n\": 240", "\"n\": 2400", 1)).expect("written");
    refused(&folder, &["audit", "forged.json"], "unadjusted.n: 2400 ≠ 240");
    let (code, out, error) = call(&folder, &["refute", "--graph", "g.txt", "--data", "t.csv", "--refuters", "5"]);
    assert!(code == 0 && out.contains("placebo treatment") && out.contains("graph implications"), "{out}{error}");
    refused(&folder, &["estimate", "--graph", "g.txt", "--data", "t.csv", "--adjust"], "no valid adjustment set");
    std::fs::write(folder.join("hidden.txt"), "dag { c [latent]  c -> d  c -> y  d -> y }").expect("written");
    let hidden = ["estimate", "--graph", "hidden.txt", "--data", "t.csv", "--treatment", "d", "--outcome", "y"];
    refused(&folder, &hidden, "no estimate without identification");
    std::fs::write(folder.join("t.csv"), table() + "1,1,9\n").expect("written");
    refused(&folder, &["audit", "r.json"], "is not the table of the record");
}

#[test]
fn discovery_proposes_and_transport_answers() {
    let folder = folder("discover");
    std::fs::write(folder.join("t.csv"), table()).expect("written");
    let found = json(
        &folder,
        &["discover", "--data", "t.csv", "--tier", "c", "--tier", "d", "--tier", "y", "--resamples", "10"],
    );
    let edges: Vec<&str> = found["edges"].as_array().expect("list").iter().filter_map(Value::as_str).collect();
    assert!(edges.contains(&"c → y") && edges.contains(&"d → y"), "{edges:?}");
    refused(&folder, &["discover", "--data", "t.csv", "--tier", "c", "--tier", "c"], "stands in two tiers");
    refused(&folder, &["discover", "--data", "t.csv", "--forbid", "c -> q"], "`q`, which is no variable");
    refused(&folder, &["discover", "--data", "t.csv", "--method", "pcc"], "there is no method `pcc`");
    std::fs::write(folder.join("g.txt"), "dag { z -> y  x -> y  x <-> y }").expect("written");
    let ask = |sources: &[&str]| {
        let given = sources.iter().flat_map(|source| ["--source", source]);
        json(
            &folder,
            &["transport", "--graph", "g.txt", "--query", "P(y | do(x))"].into_iter().chain(given).collect::<Vec<_>>(),
        )
    };
    assert_eq!(ask(&["domain=0", "domain=1 do=x differs=z"])["estimand"], "Σ_{z} P(z) P^1(y | do(x), z)");
    let no = ask(&["domain=0", "domain=1 do=x differs=y"]);
    assert!(no["transportable"] == false && no["missing"] == serde_json::json!(["y"]), "{no}");
}

#[test]
fn a_scenario_becomes_a_table_and_its_file_the_graph() {
    let folder = folder("table");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/eval_sets/hiring/scenario.toml");
    let made =
        json(&folder, &["table", "--model", "embedded", "--eval-set", "hiring", "--items", "400", "--output", "t.csv"]);
    assert_eq!(made["rows"], 400);
    let arguments =
        ["estimate", "--graph", scenario, "--data", "t.csv", "--treatment", "gender", "--outcome", "answer"];
    let record = json(&folder, &[&arguments[..], &["--method", "irm", "--output", "r.json"]].concat());
    assert_eq!(record["adjustment"], serde_json::json!(["years"]));
    assert!(record["effect"]["target"].as_str().is_some_and(|target| target.ends_with("of gender=male")), "{record}");
    assert_eq!(json(&folder, &["audit", "r.json"])["reproduced"], true);
    // One edge more, and the same table gives no number.
    let text = std::fs::read_to_string(scenario).expect("shipped");
    let altered = text.replace("[answer]\nparents = { ", "[answer]\nparents = { pool = \"spurious\", ");
    assert_ne!(altered, text);
    std::fs::write(folder.join("altered.toml"), altered).expect("written");
    let arguments =
        ["estimate", "--graph", "altered.toml", "--data", "t.csv", "--treatment", "gender", "--outcome", "answer"];
    refused(&folder, &arguments, "no estimate without identification");
}
