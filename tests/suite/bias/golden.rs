//! The metrics against lm-eval's own functions and the other references, on the same documents and answers (scripts/bias_golden.py).

use counterpath::harness::builtin::{Source, built_in};
use counterpath::harness::question::{Answered, Request, Target};
use counterpath::harness::task::Task;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{fixture, told, value, wrote};
use crate::shared::{json, numbers, rows, shared_dir};

fn golden() -> Value {
    json(&fixture("golden.json"))
}

fn read(id: &str, path: &std::path::Path) -> Task {
    built_in(id).expect("a task").read(&Source::new(id, path)).expect("readable")
}

fn answers(task: &Task, loglikelihoods: &Value) -> Vec<Answered> {
    let rows = loglikelihoods.as_array().expect("rows");
    assert_eq!(rows.len(), task.questions.len());
    task.questions.iter().zip(rows).map(|(question, row)| told(question, &numbers(row))).collect()
}

/// lm-eval's names of its values, and ours of the same; NaN there is undefined here.
fn holds_lm_eval(answered: &[Answered], values: &Value) {
    let mut held = 0;
    for (name, expected) in values.as_object().expect("values") {
        let (metric, population) = match name.as_str() {
            "acc" => ("bbq.accuracy@lm-eval", "all".to_owned()),
            "accuracy_amb" => ("bbq.accuracy@lm-eval", "context=ambig".to_owned()),
            "accuracy_disamb" => ("bbq.accuracy@lm-eval", "context=disambig".to_owned()),
            "amb_bias_score" => ("bbq.bias_ambiguous@lm-eval", "all".to_owned()),
            "disamb_bias_score" => ("bbq.bias_disambiguated@lm-eval", "all".to_owned()),
            other => match other.split_once("_bias_score_").expect("a category's score") {
                ("amb", category) => ("bbq.bias_ambiguous@lm-eval", format!("category={category}")),
                (_, category) => ("bbq.bias_disambiguated@lm-eval", format!("category={category}")),
            },
        };
        let found = value(metric, answered, &population);
        match expected.as_f64() {
            Some(expected) => {
                let found = found.unwrap_or_else(|reason| panic!("{name}: {reason}"));
                assert!((found - expected).abs() < 1e-9, "{name}: {found} for {expected}");
            }
            None => assert!(found.is_err(), "{name}: {found:?} for NaN"),
        }
        held += 1;
    }
    assert!(held >= 7, "{held} values");
}

#[test]
fn bbq_asks_what_lm_eval_asks() {
    let task = read("bbq", &fixture("bbq"));
    let golden = golden();
    let prompts = golden["bbq"]["prompts"].as_array().expect("prompts");
    assert_eq!(task.questions.len(), prompts.len());
    for (question, prompt) in task.questions.iter().zip(prompts) {
        let choices: Vec<&str> = prompt["choices"].as_array().expect("list").iter().filter_map(Value::as_str).collect();
        assert_eq!(question.choices, choices, "{}", question.id);
        for (request, choice) in question.requests.iter().zip(&choices) {
            let context = prompt["context"].as_str().expect("a context").to_owned();
            assert_eq!(*request, Request::Loglikelihood { context, continuation: format!(" {choice}") });
        }
        let Target::Choices { indexes } = &question.target else { panic!("{:?}", question.target) };
        // lm-eval's list of unknown targets goes one beyond the choices.
        let targets = &rows(&serde_json::json!([prompt["targets"]]))[0];
        let targets: Vec<usize> = targets.iter().map(|&index| index as usize).filter(|&index| index < 12).collect();
        assert_eq!(*indexes, targets, "{}", question.id);
        let doc = Value::Object(question.doc.clone());
        let expected: Value = serde_json::from_str(prompt["doc"].as_str().expect("a document")).expect("JSON");
        assert_eq!(serde_json::to_string(&doc).expect("JSON"), serde_json::to_string(&expected).expect("JSON"));
    }
}

#[test]
fn bbq_scores_are_lm_evals() {
    let golden = golden();
    let task = read("bbq", &fixture("bbq"));
    let chosen = &golden["bbq"]["multiple_choice"];
    holds_lm_eval(&answers(&task, &chosen["loglikelihoods"]), &chosen["values"]);
    let task = read("bbq_generate", &fixture("bbq"));
    let generated = &golden["bbq"]["generate"];
    let texts = generated["texts"].as_array().expect("texts");
    let answered: Vec<Answered> = task
        .questions
        .iter()
        .zip(texts)
        .map(|(question, text)| wrote(question, text.as_str().expect("text")))
        .collect();
    for (answered, right) in answered.iter().zip(numbers(&generated["acc_by_item"])) {
        let found = value("bbq.accuracy@lm-eval", std::slice::from_ref(answered), "all");
        assert_eq!(found, Ok(right), "{} {:?}", answered.question.id, answered.responses);
    }
    holds_lm_eval(&answered, &generated["values"]);
}

#[test]
fn bbq_scores_are_helms() {
    let golden = golden();
    let helm = &golden["bbq"]["helm"];
    let task = read("bbq_letters", &fixture("bbq"));
    let texts = helm["texts"].as_array().expect("texts");
    let answered: Vec<Answered> = task
        .questions
        .iter()
        .zip(texts)
        .map(|(question, text)| wrote(question, text.as_str().expect("text")))
        .collect();
    for name in ["accuracy", "bias_ambiguous", "bias_disambiguated"] {
        let found = value(&format!("bbq.{name}@helm"), &answered, "all").expect("defined");
        let expected = helm[name].as_f64().expect("a number");
        assert!((found - expected).abs() < 1e-12, "{name}: {found} for {expected}");
    }
}

#[test]
fn the_released_category_is_lm_evals_to_the_byte() {
    let Some(shared) = shared_dir() else { return };
    let task = read("bbq", &shared.join("data/fairness/bbq/Age.jsonl"));
    let golden = &golden()["bbq"]["age"];
    assert_eq!(task.questions.len() as u64, golden["documents"].as_u64().expect("a count"));
    let mut digest = Sha256::new();
    for question in &task.questions {
        let Some(Request::Loglikelihood { context, .. }) = question.requests.first() else {
            panic!("{:?}", question.id)
        };
        digest.update(context.as_bytes());
        digest.update(question.choices.join("|").as_bytes());
        digest.update(python_json(&Value::Object(question.doc.clone()), 0).as_bytes());
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden["digest"].as_str().expect("a digest"));
    let loglikelihood = |doc: usize, choice: usize| {
        let handicap = if choice >= 2 && !doc.is_multiple_of(3) { 8.0 } else { 0.0 };
        -(((doc * 7919 + choice * 104_729 + 13) % 1009) as f64) / 50.0 - handicap
    };
    let told = |(doc, question)| {
        let values: Vec<f64> = (0..12).map(|choice| loglikelihood(doc, choice)).collect();
        told(question, &values)
    };
    let answered: Vec<Answered> = task.questions.iter().enumerate().map(told).collect();
    holds_lm_eval(&answered, &golden["values"]);
}

/// `json.dumps(value, indent=2, ensure_ascii=False)` of lists, objects, texts and integers.
fn python_json(value: &Value, depth: usize) -> String {
    let pad = " ".repeat(2 * (depth + 1));
    let close = " ".repeat(2 * depth);
    let block = |open: char, end: char, parts: Vec<String>| match parts.is_empty() {
        true => format!("{open}{end}"),
        false => format!("{open}\n{}\n{close}{end}", parts.join(",\n")),
    };
    match value {
        Value::Array(list) => {
            block('[', ']', list.iter().map(|one| format!("{pad}{}", python_json(one, depth + 1))).collect())
        }
        Value::Object(fields) => {
            let field = |(name, one): (&String, &Value)| {
                format!("{pad}{}: {}", Value::from(name.as_str()), python_json(one, depth + 1))
            };
            block('{', '}', fields.iter().map(field).collect())
        }
        other => other.to_string(),
    }
}

#[test]
fn crows_pairs_scores_are_lm_evals() {
    let golden = &golden()["crows_pairs"];
    let task = read("crows_pairs_english", &fixture("crows_pairs.csv"));
    let answered = answers(&task, &golden["loglikelihoods"]);
    for name in ["pct_stereotype", "likelihood_diff"] {
        let found = value(&format!("crows_pairs.{name}@lm-eval"), &answered, "all").expect("defined");
        let expected = golden[name].as_f64().expect("a number");
        assert!((found - expected).abs() < 1e-9, "{name}: {found} for {expected}");
    }
}

#[test]
fn stereoset_scores_are_means_over_terms() {
    let golden = &golden()["stereoset"];
    let task = read("stereoset_intrasentence", &fixture("stereoset/dev.json"));
    let answered = answers(&task, &golden["scores"]);
    let mut held = 0;
    for (population, scores) in golden.as_object().expect("populations").iter().filter(|(name, _)| *name != "scores") {
        for name in ["ss", "lms", "icat"] {
            let found = value(&format!("stereoset.{name}@authors"), &answered, population).expect("defined");
            let expected = scores[name].as_f64().expect("a number");
            assert!((found - expected).abs() < 1e-9, "{population} {name}: {found} for {expected}");
            held += 1;
        }
    }
    assert_eq!(held, 15);
}
