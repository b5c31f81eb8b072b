//! What lm-evaluation-harness itself said to awkward texts (`scripts/lm_eval_golden.py`, lm-eval 0.4.13): log-likelihoods,
//! rolling log-likelihoods, generated texts.

use std::path::Path;

use counterpath::base::{Seed, Silent};
use counterpath::model::generate::Choice;
use counterpath::model::score::score;
use counterpath::model::{
    LanguageModel, LoadOptions, ModelError, Special, UntilRequest, generate_until, split_text,
};
use counterpath::trust::scoring::score_texts;
use counterpath::trust::{Checkpoint, Pass, ScoreStore};
use serde_json::Value;

use crate::shared::{json, shared_dir};

fn golden() -> Option<(LanguageModel, Value)> {
    let folder = shared_dir()?.join("data/models/stories260K");
    let model = LanguageModel::load(&folder, &LoadOptions::default()).expect("model");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm_eval/stories260K.json");
    Some((model, json(&golden)))
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().expect("text")
}

#[test]
fn loglikelihoods_are_those_of_lm_eval() {
    let Some((model, golden)) = golden() else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let rows = golden["loglikelihood"].as_array().expect("rows");
    assert_eq!(rows.len(), 300);
    let (mut requests, mut asked, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match (split_text(tokenizer, text(row, "context"), text(row, "continuation")), row.get("refused")) {
            (Ok(request), None) => {
                if request.continuation.len() as u64 != row["tokens"].as_u64().expect("tokens") {
                    apart.push(format!("{row}: {} tokens", request.continuation.len()));
                }
                requests.push(request);
                asked.push(row);
            }
            (Err(_), Some(_)) => {}
            (found, refused) => apart.push(format!("{row}: {found:?}, there {refused:?}")),
        }
    }
    assert!(apart.is_empty(), "{apart:#?}");
    let scores = score(&model, &requests, 2048, &Silent).expect("scores");
    for (row, score) in asked.into_iter().zip(scores) {
        let expected = row["loglikelihood"].as_f64().expect("number");
        let difference = (score.loglikelihood - expected).abs();
        assert!(difference <= 1e-5 * expected.abs().max(1.0), "{row}: {} ({difference:e})", score.loglikelihood);
        assert_eq!(score.is_greedy, row["is_greedy"].as_bool().expect("greedy"), "{row}");
    }
}

#[test]
fn rolling_loglikelihoods_are_those_of_lm_eval() {
    let Some((model, golden)) = golden() else { return };
    let rows = golden["rolling"].as_array().expect("rows");
    let texts: Vec<(String, &str)> =
        rows.iter().enumerate().map(|(number, row)| (format!("text {number}"), text(row, "text"))).collect();
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: 2048, progress: &Silent };
    let checkpoint = Checkpoint { model: &model, adapter: None };
    let found = score_texts(checkpoint, &texts, &mut pass).expect("scores");
    for (row, (loglikelihood, tokens)) in rows.iter().zip(found) {
        let expected = row["loglikelihood"].as_f64().expect("number");
        assert_eq!(tokens as u64, row["tokens"].as_u64().expect("tokens"), "{row}");
        assert!((loglikelihood - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{row}: {loglikelihood}");
    }
}

#[test]
fn generated_texts_are_those_of_lm_eval() {
    let Some((model, golden)) = golden() else { return };
    let tokenizer = model.tokenizer().expect("tokenizer");
    let rows = golden["generate_until"].as_array().expect("rows");
    let request = |(number, row): (usize, &Value)| UntilRequest {
        id: number.to_string(),
        prompt: tokenizer.encode(text(row, "prompt"), Special::Default).expect("tokens").ids,
        until: row["until"].as_array().expect("list").iter().map(|stop| stop.as_str().expect("text").into()).collect(),
        max_tokens: row["max_gen_toks"].as_u64().expect("number") as usize,
        choice: Choice::Greedy,
    };
    let requests: Vec<UntilRequest> = rows.iter().enumerate().map(request).collect();
    for batch in [1, 3, 64] {
        let mut kept = vec![String::new(); rows.len()];
        let found = generate_until(&model, &requests, Seed::new(0), batch, &Silent, |number, generated| {
            kept[number] = generated.text.clone();
            Ok::<(), ModelError>(())
        });
        for ((row, generated), kept) in rows.iter().zip(found.expect("texts")).zip(kept) {
            assert_eq!(generated.text, text(row, "text"), "{row}");
            assert_eq!(kept, generated.text);
        }
    }
}
