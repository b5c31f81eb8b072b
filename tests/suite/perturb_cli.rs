//! `perturb`, as a shell calls it, on real questions and on a person's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::shared::shared_dir;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("perturb-{name}"));
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

fn question(id: &str, text: &str, choices: [&str; 2]) -> Value {
    let request = |choice: &str| json!({"kind": "loglikelihood", "context": format!("{text}\nAnswer:"), "continuation": format!(" {choice}")});
    json!({
        "id": id, "doc_id": 0, "cluster": id, "doc": {"text": text}, "choices": choices,
        "requests": choices.map(request), "target": {"kind": "choices", "indexes": [0]}, "columns": {},
    })
}

fn write(folder: &Path, name: &str, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    std::fs::write(folder.join(name), lines.join("\n")).expect("written");
}

fn rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("read");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn variants_are_written_and_shown_beside_their_originals() {
    let folder = folder("shown");
    write(
        &folder,
        "q.jsonl",
        &[question("a", "Is Emily not here?", ["yes", "no"]), question("b", "It is so.", ["yes", "no"])],
    );
    let asked = ["perturb", "--data", "q.jsonl", "--suite", "upper_case,first_names,negation", "--output", "v.jsonl"];
    let (code, out, error) = call(&folder, &asked);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("upper_case: 2 of 2 variants changed, coverage 100.0 %"), "{out}");
    assert!(out.contains("[-Is Emily not here?-]{+IS EMILY NOT HERE?+}") || out.contains("[-Is-]{+IS+}"), "{out}");
    assert!(
        out.contains("do(input, references := first_names(input, references; from, to, how, p, noise(id)))"),
        "{out}"
    );
    let written = rows(&folder.join("v.jsonl"));
    assert!(written[..2].iter().all(|row| row.get("variant").is_none()));
    assert_eq!(written[2]["variant"], json!({"of": "a", "perturbation": "upper_case", "changed": true}));
    assert_eq!(written[2]["doc"], written[0]["doc"]);
    let unchanged = written.iter().find(|row| row["id"] == "b#first_names").expect("kept");
    assert_eq!(unchanged["variant"]["changed"], false);
    let flipped = written.iter().find(|row| row["id"] == "b#negation").expect("negated");
    assert_eq!(flipped["target"]["indexes"], json!([1]));
    // The same request, the same bytes; and the file is read back as questions.
    let before = std::fs::read(folder.join("v.jsonl")).expect("read");
    call(&folder, &asked);
    assert_eq!(std::fs::read(folder.join("v.jsonl")).expect("read"), before);
    let again = ["perturb", "--data", "v.jsonl", "--suite", "case", "--output", "w.jsonl", "--json"];
    let (code, out, error) = call(&folder, &again);
    assert_eq!(code, 0, "{error}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["coverage"][0]["questions"], 2, "variants are not perturbed again");
    assert_eq!(told["coverage"][0]["coverage"], 1.0);
}

#[test]
fn paraphrases_and_lists_come_from_files() {
    let folder = folder("files");
    write(
        &folder,
        "q.jsonl",
        &[question("a", "Emily waits.", ["yes", "no"]), question("b", "It is so.", ["yes", "no"])],
    );
    write(
        &folder,
        "p.jsonl",
        &[json!({"id": "a", "paraphrases": ["Waiting is what Emily does.", "Emily is waiting."]})],
    );
    std::fs::create_dir_all(folder.join("lists")).expect("folder");
    std::fs::write(
        folder.join("lists/person_names.txt"),
        "emily,first_name,race,x,gender,female\nora,first_name,race,y,gender,female\n",
    )
    .expect("written");
    let asked = [
        "perturb",
        "--data",
        "q.jsonl",
        "--suite",
        "paraphrase,first_names@helm:from=x:to=y",
        "--paraphrases",
        "p.jsonl",
        "--lists",
        "lists",
        "--output",
        "v.jsonl",
    ];
    let (code, out, error) = call(&folder, &asked);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("1 questions have no variant: no paraphrase of it is given"), "{out}");
    let written = rows(&folder.join("v.jsonl"));
    let context =
        |id: &str| written.iter().find(|row| row["id"] == id).expect("a variant")["requests"][0]["context"].clone();
    assert_eq!(context("a#paraphrase.2"), "Emily is waiting.\nAnswer:");
    assert_eq!(context("a#first_names@helm"), "Ora waits.\nAnswer:");
}

#[test]
fn behavioural_tests_are_read_and_bad_ones_refused() {
    let folder = folder("checklist");
    let case = json!({"test": "names", "kind": "inv", "choices": ["yes", "no"], "examples": [{"context": "Ann is here."}, {"context": "Bo is here."}]});
    write(&folder, "c.jsonl", &[case]);
    let (code, _, error) =
        call(&folder, &["perturb", "--data", "c.jsonl", "--checklist", "--suite", "case", "--output", "v.jsonl"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(rows(&folder.join("v.jsonl"))[1]["variant"]["of"], "1/1");
    let refused = |case: Value, wanted: &str| {
        write(&folder, "bad.jsonl", &[case]);
        let (code, _, error) = call(&folder, &["perturb", "--data", "bad.jsonl", "--checklist", "--output", "v.jsonl"]);
        assert!(code == 2 && error.contains(wanted), "{code}: {error}");
    };
    let examples = json!([{"context": "a"}, {"context": "b"}]);
    refused(json!({"test": "t", "kind": "mft", "choices": ["a", "b"], "examples": examples}), "needs a `target`");
    refused(json!({"test": "t", "kind": "dir", "choices": ["a", "b"], "examples": examples}), "needs `expect`");
    refused(
        json!({"test": "t", "kind": "inv", "choices": ["a", "b"], "examples": [{"context": "a"}]}),
        "at least one other",
    );
    refused(
        json!({"test": "t", "kind": "inv", "choices": ["a", "b"], "label": 2, "examples": examples}),
        "case 1: `target` and `label`",
    );
    refused(json!({"test": "t", "kind": "other", "choices": ["a", "b"], "examples": examples}), "unknown variant");
    let (code, _, error) =
        call(&folder, &["perturb", "--data", "c.jsonl", "--suite", "misspelings", "--output", "v.jsonl"]);
    assert!(code == 2 && error.contains("did you mean \"misspellings\""), "{error}");
}

#[test]
fn the_catalogue_is_listed() {
    let (code, out, error) = call(&folder("list"), &["perturb", "--list", "--json"]);
    assert_eq!(code, 0, "{error}");
    let listed: Vec<Value> = serde_json::from_str(&out).expect("JSON");
    assert!(listed.len() > 25 && listed.iter().all(|row| row["version"] == 1));
}

/// Real passages of the shared data: every perturbation runs on them, and coverage is what reading them says it must be.
#[test]
fn every_perturbation_runs_on_real_reviews() {
    let Some(shared) = shared_dir() else { return };
    let folder = folder("reviews");
    let path = shared.join("data/text/tinystories");
    let file = std::fs::read_dir(&path)
        .expect("stories")
        .filter_map(Result::ok)
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "jsonl"));
    let stories = rows(&file.expect("a file of stories").path());
    let asked: Vec<Value> = stories
        .iter()
        .take(60)
        .enumerate()
        .map(|(number, story)| {
            question(&format!("s{number}"), story["text"].as_str().expect("text").trim(), ["happy", "sad"])
        })
        .collect();
    write(&folder, "q.jsonl", &asked);
    let suite = "all,helm-robustness,helm-fairness";
    let (code, out, error) =
        call(&folder, &["perturb", "--data", "q.jsonl", "--suite", suite, "--output", "v.jsonl", "--json"]);
    assert_eq!(code, 0, "{error}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let share = |name: &str| {
        let rows = told["coverage"].as_array().expect("rows");
        let row = rows
            .iter()
            .find(|row| row["perturbation"].as_str().is_some_and(|text| text.split(':').next() == Some(name)));
        row.expect("a row")["coverage"].as_f64().expect("a share")
    };
    for certain in [
        "lower_case",
        "upper_case",
        "title_case",
        "punctuation_drop",
        "mild_mix",
        "mild_mix@helm",
        "dialect",
        "typos_swap",
    ] {
        assert_eq!(share(certain), 1.0, "{certain}");
    }
    // Words at the ends and neighbours: ours finds at least what HELM's finds.
    assert!(share("pronouns") >= share("pronouns@helm") && share("pronouns") > 0.5);
    assert_eq!(share("option_order"), 0.0, "nothing is listed");
}
