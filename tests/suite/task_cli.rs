//! Tasks at the command line: `evaluate --tasks`, `ls`, `validate`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{done, refused};
use crate::shared::shared_dir;
use crate::task_files::task_folder;

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-task-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("folder");
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A task of four documents, for the embedded model.
fn small(folder: &Path) -> String {
    let rows: String = ["red", "blue", "green", "black"]
        .iter()
        .enumerate()
        .map(|(index, colour)| {
            format!("{{\"q\": \"Name {index}\", \"options\": [\"{colour}\", \"stone\"], \"right\": {}}}\n", index % 2)
        })
        .collect();
    std::fs::write(folder.join("rows.jsonl"), rows + "{\"q\": broken\n").expect("rows");
    let file = "task: small\ntag: [tiny]\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n\
                output_type: multiple_choice\ndoc_to_text: '{{q}}:'\ndoc_to_target: right\ndoc_to_choice: options\nmetadata: {version: 7}\n";
    std::fs::write(folder.join("small.yaml"), file).expect("task file");
    text(&folder.join("small.yaml"))
}

#[test]
fn a_task_file_is_evaluated_by_path_into_a_folder() {
    let folder = scratch("path");
    let file = small(&folder);
    let output = text(&folder.join("out"));
    let base = ["evaluate", "--model", "embedded", "--tasks", &file, "--output", &output, "--quiet"];
    refused(&base, "rows.jsonl");
    let mut arguments = base.to_vec();
    arguments.extend(["--max-bad-rows", "1", "--output-format", "lm-eval", "--log-samples", "--json"]);
    let said = json(&done(&arguments));
    assert_eq!(said["results"].as_array().map(Vec::len), Some(2), "{said}");
    assert_eq!((&said["results"][0]["n"], &said["results"][0]["bad_rows"]), (&4.into(), &1.into()));
    let record = json(&std::fs::read_to_string(folder.join("out/record.json")).expect("record"));
    assert_eq!(record["eval_sets"][0]["id"], "small");
    assert_eq!(record["scores"][0]["metric"], "acc@lm-eval");
    assert_eq!(record["scores"][0]["items"].as_array().map(Vec::len), Some(4));
    let written = said["written"].as_array().expect("files");
    assert_eq!(written.len(), 2);
    let results = json(&std::fs::read_to_string(written[0].as_str().expect("path")).expect("results"));
    assert_eq!(results["results"]["small"]["acc,none"], said["results"][0]["value"]);
    assert_eq!(results["versions"]["small"], 7);
    assert_eq!(results["n-samples"]["small"]["effective"], 4);
    // The same request gives the same record.
    let first = std::fs::read(folder.join("out/record.json")).expect("record");
    done(&arguments);
    assert_eq!(first, std::fs::read(folder.join("out/record.json")).expect("record"));
    let table = done(&[&base[..], &["--max-bad-rows", "1", "--limit", "2"]].concat());
    assert!(
        table.contains("value ± stderr") && table.contains("acc_norm") && table.contains("could not be read"),
        "{table}"
    );
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_anything_runs() {
    let folder = scratch("writable");
    let file = small(&folder);
    std::fs::write(folder.join("blocked"), "a file").expect("file");
    let output = text(&folder.join("blocked/out"));
    refused(&["evaluate", "--model", "no/such/model", "--tasks", &file, "--output", &output], "--output");
}

#[test]
fn tasks_of_a_folder_answer_with_built_in_ones_and_samples() {
    let Some(shared) = shared_dir() else { return };
    let folder = task_folder(&shared, "cli");
    let model = text(&shared.join("data/models/stories260K"));
    let (include, output) = (text(&folder), text(&scratch("mixed").join("record.json")));
    let said = json(&done(&[
        "evaluate",
        "--model",
        &model,
        "--include-path",
        &include,
        "--tasks",
        "pairs,pairs_island,crows_local",
        "--samples",
        "{\"pairs_island\": [3, 1], \"pairs_gender\": [0], \"crows_local\": [0, 1, 2]}",
        "--output",
        &output,
        "--json",
        "--bootstrap-iters",
        "0",
    ]));
    let rows = said["results"].as_array().expect("rows");
    let n = |task: &str| rows.iter().find(|row| row["task"] == task).expect("a row")["n"].as_u64();
    assert_eq!((n("pairs_island"), n("pairs_gender"), n("crows_local")), (Some(2), Some(1), Some(3)));
    assert!(rows.iter().any(|row| row["metric"] == "pct_stereotype"), "{said}");
    let base = ["evaluate", "--model", &model, "--include-path", &include, "--output", &output, "--tasks"];
    refused(&[&base[..], &["pairs_islnd"]].concat(), "did you mean \"pairs_island\"");
    refused(&[&base[..], &["pairs_island", "--data", "pairs_isle=x"]].concat(), "did you mean \"pairs_island\"");
    refused(&[&base[..], &["pairs_island", "--limit", "0"]].concat(), "--limit 0");
    refused(&["evaluate", "--model", &model, "--output", &output], "--eval-set");
}

#[test]
fn names_are_listed_at_once() {
    let started = Instant::now();
    let tasks = done(&["ls"]);
    let took = started.elapsed();
    assert!(tasks.lines().any(|line| line.starts_with("hellaswag ")), "{tasks}");
    // Under a tenth of a second in a release build on a quiet machine; no promise about a busy one.
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(done(&["ls", "metrics"]).contains("acc@lm-eval"));
    assert!(done(&["ls", "tags"]).lines().any(|line| line.starts_with("mmlu ")));
    let folder = scratch("ls");
    small(&folder);
    let listed = json(&done(&["ls", "tags", "--include-path", &text(&folder), "--json"]));
    let tag = listed.as_array().expect("names").iter().find(|row| row["name"] == "tiny").expect("the tag");
    assert_eq!(tag["tasks"][0], "small");
}

#[test]
fn validate_renders_the_first_documents_or_says_what_is_wrong() {
    let folder = scratch("validate");
    let file = small(&folder);
    let said = json(&done(&["validate", &file, "--max-bad-rows", "1", "--json"]));
    assert_eq!((&said[0]["valid"], &said[0]["rendered"], &said[0]["documents"]), (&true.into(), &3.into(), &4.into()));
    assert_eq!(said[0]["first"][0]["context"], "Name 0:");
    let shown = done(&["validate", &file, "--max-bad-rows", "1"]);
    assert!(shown.contains("  | Name 0:") && shown.contains("> \" red\""), "{shown}");
    refused(&["validate", &file], "1 of 1 tasks cannot be run");
    refused(&["validate", "nothing_of_this_name"], "no task, group or tag is called");
}
