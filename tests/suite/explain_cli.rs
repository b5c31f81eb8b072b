//! `explain` as a user meets it.

use serde_json::Value;

use crate::cli::{done, refused};

#[test]
fn a_metric_is_explained_in_words_and_for_programs() {
    let said = done(&["explain", "acc_norm@lm-eval"]);
    for part in
        ["formula", "source", "cluster", "interval", "golden     0.475 on the 40 answers `four`", "acc_norm@lighteval"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json: Value = serde_json::from_str(&done(&["explain", "acc_norm@lm-eval", "--json"])).expect("JSON");
    assert_eq!(json["metric"], "acc_norm@lm-eval");
    assert_eq!(json["variants"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["golden"][0]["value"], 0.475);
    let said = done(&["explain", "accuracy.exact"]);
    assert!(said.contains("lm-eval api/task.py, acc"), "metrics of eval sets too: {said}");
}

#[test]
fn all_metrics_are_listed_and_a_wrong_name_gets_the_nearest() {
    let said = done(&["explain"]);
    assert!(said.lines().count() > 60 && said.contains("\nece@mass10 "), "{said}");
    let json: Value = serde_json::from_str(&done(&["explain", "--json"])).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(said.lines().count()));
    refused(&["explain", "ece@mas10"], "did you mean \"ece@mass10\"?");
}
