//! Filters beside lm-eval's own, whose answers `scripts/lm_eval_golden.py` wrote.

use super::*;

#[test]
fn filters_answer_as_those_of_lm_eval() {
    let cases: Vec<Map<String, Value>> =
        serde_json::from_str(include_str!("../../tests/fixtures/harness/filters.json")).expect("cases");
    assert!(cases.len() >= 15);
    for case in cases {
        let entries = case["filters"].as_array().expect("filters");
        let filters =
            entries.iter().map(|entry| Filter::parse(entry.as_object().expect("an entry")).expect("a filter"));
        let pipeline = Pipeline { name: "f".into(), filters: filters.collect() };
        let responses: Vec<String> = serde_json::from_value(case["responses"].clone()).expect("responses");
        let doc = case["doc"].as_object().expect("a document");
        assert_eq!(pipeline.apply(&responses, doc).as_ref(), Ok(&case["filtered"]), "{entries:?} on {responses:?}");
    }
}

#[test]
fn what_is_unknown_or_code_is_named() {
    let parse = |entry: Value| Filter::parse(entry.as_object().expect("an entry")).expect_err("refused");
    assert!(parse(serde_json::json!({"function": "regexp"})).contains("regexp"));
    assert!(parse(serde_json::json!({"function": {"!function": "utils.F"}})).contains("utils.F"));
    assert!(parse(serde_json::json!({"function": "take_first_k"})).contains("`k`"));
    assert!(parse(serde_json::json!({"function": "regex", "regex_pattern": "("})).contains("pattern"));
}
