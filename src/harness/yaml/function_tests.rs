//! The functions beside lm-eval's own, whose answers `scripts/task_files_golden.py` wrote.

use super::*;
use crate::harness::python;

/// Whether an answer is lm-eval's: numbers to 1e-12, tuples as lists, masks of its own as 0 and 1, NaN as `nan`.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| same(a, b))
        }
        (Value::Number(a), Value::Bool(b)) => a.as_f64() == Some(f64::from(u8::from(*b))),
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            (a - b).abs() <= 1e-12 * b.abs().max(1.0)
        }
        (Value::Null, Value::String(nan)) => nan == "nan",
        (a, b) => a == b,
    }
}

fn of(value: &DocValue) -> Value {
    match value {
        DocValue::Number(number) => (*number).into(),
        DocValue::Tuple(numbers) => numbers.iter().map(|number| Value::from(*number)).collect(),
    }
}

fn doc_value(value: &Value) -> DocValue {
    let number = |value: &Value| match value {
        Value::Bool(flag) => f64::from(u8::from(*flag)),
        Value::String(_) => f64::NAN,
        number => number.as_f64().expect("a number"),
    };
    match value {
        Value::Array(items) => DocValue::Tuple(items.iter().map(number).collect()),
        one => DocValue::Number(number(one)),
    }
}

fn answer(function: &Function, given: &Value) -> Value {
    let doc = |value: &Value| value.as_object().expect("a document").clone();
    match function.code {
        Code::Documents(of) => {
            let docs = given.as_array().expect("documents").iter().map(doc).collect();
            of(docs).expect("documents").into_iter().map(Value::Object).collect()
        }
        Code::Value(of) => of(&doc(given)).expect("a value"),
        Code::Aggregation(of) => {
            let values: Vec<DocValue> = given.as_array().expect("values").iter().map(doc_value).collect();
            of(&values).into()
        }
        Code::Results(results, _) => {
            let answers = given[1].as_array().expect("answers");
            let pairs: Vec<(f64, bool)> =
                answers.iter().filter_map(|pair| Some((pair.get(0)?.as_f64()?, pair.get(1)?.as_bool()?))).collect();
            let outcome = match answers.first() {
                Some(Value::Number(number)) => Outcome::Rolling(number.as_f64().expect("a number")),
                Some(_) if pairs.len() == answers.len() => Outcome::Loglikelihoods(&pairs),
                Some(kept) => Outcome::Filtered(kept),
                None => panic!("no answer"),
            };
            let values = results(&doc(&given[0]), outcome).expect("results");
            values.iter().map(|(metric, value)| (metric.clone(), of(value))).collect::<Map<_, _>>().into()
        }
    }
}

#[test]
fn functions_answer_as_those_of_lm_eval() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/harness/functions.json")).expect("cases");
    let mut seen = std::collections::BTreeSet::new();
    for case in &cases {
        let (folder, name) = (case["folder"].as_str().expect("folder"), case["function"].as_str().expect("function"));
        let value = serde_json::json!({FUNCTION: name, FOLDER: format!("/anywhere/{folder}")});
        let function = resolve("a task", &value).expect("a known function");
        let (mut ours, mut theirs) = (answer(function, &case["given"]), case["answer"].clone());
        if case["kind"] == "results" {
            // The order of metrics is theirs to choose: keys are compared as a set.
            for answer in [&mut ours, &mut theirs] {
                let sorted: std::collections::BTreeMap<_, _> =
                    answer.as_object().expect("metrics").clone().into_iter().collect();
                *answer = sorted.into_iter().collect::<Map<_, _>>().into();
            }
        }
        assert!(same(&ours, &theirs), "{folder}/{name} on {}:\n{ours}\n{theirs}", python::dumps(&case["given"]));
        seen.insert((folder, name));
    }
    let known = FUNCTIONS.iter().copied().flatten().filter(|known| !seen.contains(&(known.folder, known.name)));
    let untested: Vec<String> = known.map(|known| format!("{}/{}", known.folder, known.name)).collect();
    assert!(untested.is_empty(), "functions without a case: {untested:?}");
}

#[test]
fn python_that_is_not_known_is_named() {
    let value = serde_json::json!({FUNCTION: "utils.process_docs", FOLDER: "/tasks/unheard_of"});
    let error = resolve("my_task", &value).expect_err("refused").to_string();
    for part in ["my_task", "process_docs", "/tasks/unheard_of/utils.py"] {
        assert!(error.contains(part), "{error}");
    }
}
