//! Scoring a real model: request files, prompts and texts, against log-softmax written out by hand; resuming, and refusals.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Tensor;
use counterpath::base::{Digest, Progress, Silent, files};
use counterpath::model::{LanguageModel, LoadOptions, NoHooks, Readout, ScoreRequest, Special};
use counterpath::scenario::Prompt;
use counterpath::trust::requests::{journal_of, score_file};
use counterpath::trust::scoring::{answer_table, score_requests, score_texts};
use counterpath::trust::{Checkpoint, Pass, ScoreStore};
use serde_json::{Value, json};

use crate::shared::{largest_difference, shared_dir};

/// Tokens a batch: small enough that every test needs several.
const BATCH: usize = 256;

pub fn stories() -> Option<LanguageModel> {
    let folder = shared_dir()?.join("data/models/stories260K");
    Some(LanguageModel::load(&folder, &LoadOptions::default()).expect("model"))
}

pub fn checkpoint(model: &LanguageModel) -> Checkpoint<'_> {
    Checkpoint { model, adapter: None }
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-trust-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("folder");
    folder
}

/// Σ ln p(continuation | context) and greediness from all logits of one sequence, in f64.
fn by_hand(model: &LanguageModel, context: &[u32], continuation: &[u32]) -> (f64, bool) {
    let whole = [context, continuation].concat();
    let run = whole[..whole.len() - 1].to_vec();
    let ids = Tensor::from_vec(run, (1, whole.len() - 1), model.device()).expect("ids");
    let logits = model.forward(&ids, Readout::All, &mut NoHooks).expect("logits");
    let logits: Vec<Vec<f32>> = logits.squeeze(0).expect("row").to_vec2().expect("logits");
    let mut sum = 0.0;
    let mut greedy = true;
    for position in context.len()..whole.len() {
        let row = &logits[position - 1];
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = row.iter().map(|logit| f64::from(logit - highest).exp()).sum();
        let target = row[whole[position] as usize];
        sum += f64::from(target - highest) - total.ln();
        greedy &= target == highest;
    }
    (sum, greedy)
}

fn encode(model: &LanguageModel, text: &str, special: Special) -> Vec<u32> {
    model.tokenizer().expect("tokenizer").encode(text, special).expect("tokens").ids
}

fn write_requests(folder: &std::path::Path, requests: &[Value]) -> PathBuf {
    let path = folder.join("requests.jsonl");
    files::write_jsonl(&path, requests).expect("write");
    path
}

#[test]
fn request_files_are_answered_as_lm_eval_defines_it() {
    let Some(model) = stories() else { return };
    let long = "Tim had a red ball. ".repeat(90);
    let long_ids = encode(&model, &long, Special::Default);
    assert!(long_ids.len() > 600, "longer than the model's 512 positions: {}", long_ids.len());
    let tail = encode(&model, "The end.", Special::None);
    let context = "Once upon a time, there was a little girl named";
    let requests = [
        json!({"id": "text", "context": context, "continuation": " Lily"}),
        json!({"id": "space in the context", "context": format!("{context} "), "continuation": "Lily"}),
        json!({"id": 3, "context_ids": encode(&model, context, Special::Default), "continuation_ids": encode(&model, "Sam", Special::None)}),
        json!({"id": "no context", "context": "", "continuation": "Once upon a time"}),
        json!({"id": "no context ids", "context_ids": [], "continuation_ids": [1, 403, 407]}),
        json!({"id": "truncated", "context_ids": long_ids, "continuation_ids": tail}),
        json!({"id": "text", "context": "She", "continuation": " was happy."}),
    ];
    let folder = scratch("requests");
    let refused =
        score_file(checkpoint(&model), &write_requests(&folder, &requests), &folder.join("o.jsonl"), BATCH, &Silent);
    assert!(refused.expect_err("an id twice").to_string().contains("line 7: field \"id\""));

    let mut requests = requests.to_vec();
    requests[6]["id"] = json!("last");
    let output = folder.join("answers.jsonl");
    let count =
        score_file(checkpoint(&model), &write_requests(&folder, &requests), &output, BATCH, &Silent).expect("answers");
    assert_eq!(count, 7);
    assert!(!files::exists(&journal_of(&output)), "the journal goes once the answers are written");
    let answers: Vec<Value> = files::read_jsonl(&output).expect("answers");
    let whole = encode(&model, &format!("{context} Lily"), Special::Default);
    let start = encode(&model, context, Special::Default).len();
    let kept = &long_ids[long_ids.len() + tail.len() - 513..];
    let she = encode(&model, "She was happy.", Special::Default);
    let she_context = encode(&model, "She", Special::Default).len();
    let expected = [
        by_hand(&model, &whole[..start], &whole[start..]),
        by_hand(&model, &whole[..start], &whole[start..]),
        by_hand(&model, &whole[..start], &encode(&model, "Sam", Special::None)),
        by_hand(&model, &[1], &encode(&model, "Once upon a time", Special::None)),
        by_hand(&model, &[1], &[403, 407]),
        by_hand(&model, kept, &tail),
        by_hand(&model, &she[..she_context], &she[she_context..]),
    ];
    for ((answer, request), (sum, greedy)) in answers.iter().zip(&requests).zip(expected) {
        assert_eq!(answer["id"], request["id"]);
        let keys: Vec<&String> = answer.as_object().expect("object").keys().collect();
        assert_eq!(keys, ["id", "loglikelihood", "is_greedy", "num_tokens"]);
        let found = answer["loglikelihood"].as_f64().expect("number");
        let tokens = answer["num_tokens"].as_u64().expect("count") as f64;
        assert!((found - sum).abs() <= 1e-5 * tokens, "{}: {found} against {sum}", answer["id"]);
        assert_eq!(answer["is_greedy"], json!(greedy), "{}", answer["id"]);
    }
    assert_eq!(answers[0]["is_greedy"], json!(true), "the model's own story");
    assert_eq!(answers[4]["num_tokens"], json!(2), "the leading BOS became the context");
}

/// Counts batches and stops after some.
struct StopAfter {
    batches: u64,
    seen: AtomicU64,
}

impl Progress for StopAfter {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }
    fn note(&self, _: &str) {}
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= self.batches
    }
}

fn story_requests() -> Vec<Value> {
    let names = ["Lily", "Tim", "Sam", "Mia", "Ben", "Tom", "Anna", "Max"];
    let starts = ["was very happy", "saw a big dog and ran", "had a red ball in the park", "went home"];
    let pairs = names.iter().flat_map(|name| starts.iter().map(move |start| (name, start)));
    let request = |(name, start): (&&str, &&str)| json!({"id": format!("{name}/{start}"), "context": format!("One day, {name}"), "continuation": format!(" {start}.")});
    pairs.map(request).collect()
}

#[test]
fn a_stopped_request_file_goes_on_and_gives_the_same_bytes() {
    /// Tokens of a pass, far fewer than the requests have.
    const SMALL: usize = 30;
    let Some(model) = stories() else { return };
    let folder = scratch("resume");
    let requests = write_requests(&folder, &story_requests());
    let (whole, resumed) = (folder.join("whole.jsonl"), folder.join("resumed.jsonl"));
    score_file(checkpoint(&model), &requests, &whole, SMALL, &Silent).expect("whole run");
    let stop = StopAfter { batches: 2, seen: AtomicU64::new(0) };
    let error = score_file(checkpoint(&model), &requests, &resumed, SMALL, &stop).expect_err("stopped");
    assert!(error.to_string().contains("interrupted"), "{error}");
    assert!(!files::exists(&resumed), "no half answer file");
    let kept = ScoreStore::open(&journal_of(&resumed)).expect("journal").len();
    assert!(kept > 0 && kept < 32, "{kept} of 32 kept");
    let rest = StopAfter { batches: u64::MAX, seen: AtomicU64::new(0) };
    score_file(checkpoint(&model), &requests, &resumed, SMALL, &rest).expect("rest");
    assert_eq!(std::fs::read(&whole).expect("whole"), std::fs::read(&resumed).expect("resumed"));
}

#[test]
fn what_one_task_has_scored_no_other_runs_again() {
    let Some(model) = stories() else { return };
    let path = scratch("shared").join("scores.jsonl");
    let request = |name: &str, start: &str| {
        let context = encode(&model, &format!("One day, {name}"), Special::Default);
        (format!("{name}/{start}"), ScoreRequest { context, continuation: encode(&model, start, Special::None) })
    };
    let first: Vec<_> = ["Lily", "Tim", "Sam"].iter().map(|name| request(name, "was very happy.")).collect();
    let mut both = first.clone();
    both.extend(["Lily", "Mia", "Tim"].iter().map(|name| request(name, "went home.")));
    let ask = |requests: &[(String, ScoreRequest)], progress: &StopAfter| {
        let mut store = ScoreStore::open(&path).expect("journal");
        let mut pass = Pass { store: &mut store, batch_tokens: 30, progress };
        score_requests(checkpoint(&model), requests, &mut pass)
    };
    let (go, stop) = (
        || StopAfter { batches: u64::MAX, seen: AtomicU64::new(0) },
        || StopAfter { batches: 0, seen: AtomicU64::new(0) },
    );
    let scored = ask(&first, &go()).expect("scores");
    // A progress that stops before the first pass: nothing of it runs, and all is answered, to the bit and ln p by token.
    assert_eq!(ask(&first, &stop()).expect("kept"), scored);
    assert!(scored.iter().all(|score| score.logprobs.len() == score.num_tokens && score.num_tokens > 1));
    assert!(ask(&both, &stop()).is_err(), "three requests are new");
    let more = ask(&both, &go()).expect("scores");
    assert_eq!(more[..3], scored);
    assert_eq!(ScoreStore::open(&path).expect("journal").len(), 6);
    let lines = std::fs::read_to_string(&path).expect("journal").lines().count();
    ask(&both, &go()).expect("kept");
    assert_eq!(std::fs::read_to_string(&path).expect("journal").lines().count(), lines, "nothing is written twice");
}

#[test]
fn refusals_come_before_the_first_forward() {
    let Some(model) = stories() else { return };
    let folder = scratch("refusals");
    let ask = |request: Value, output: PathBuf| {
        let stop = StopAfter { batches: 0, seen: AtomicU64::new(0) };
        let requests = write_requests(&folder, &[request]);
        score_file(checkpoint(&model), &requests, &output, BATCH, &stop).expect_err("refused").to_string()
    };
    let output = folder.join("o.jsonl");
    let error = ask(json!({"id": 1, "context_ids": [1], "continuation_ids": [512]}), output.clone());
    assert!(
        error.contains("requests.jsonl line 1: field \"continuation_ids\": token id 512, but the vocabulary has 512"),
        "{error}"
    );
    let error = ask(json!({"id": 1, "context_ids": [1], "continuation_ids": vec![5; 513]}), output.clone());
    assert!(error.contains("line 1: the continuation has 513 tokens, the model 512 positions"), "{error}");
    let error = ask(json!({"id": 1, "context_ids": [], "continuation_ids": [1]}), output);
    assert!(error.contains("nothing to score"), "{error}");
    // A file stands where the output's folder should be: the error is the folder's, not "interrupted".
    files::write_atomic(&folder.join("file"), b"").expect("file");
    let error = ask(json!({"id": 1, "context": "a", "continuation": " b"}), folder.join("file/o.jsonl"));
    assert!(error.contains("file") && !error.contains("interrupted"), "{error}");
}

fn prompt(text: &str, answers: &[&str]) -> Prompt {
    let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
    Prompt { text: text.into(), slots: vec![], values: BTreeMap::new(), answers, label: None }
}

#[test]
fn an_answer_table_holds_whole_continuations() {
    let Some(model) = stories() else { return };
    // The answers differ in their number of tokens, and " she" and " he" are words of several tokens here.
    let answers = [" she went to the park.", " he", " the little girl named Lily was sad."];
    let texts = ["Lily was happy. One day,", "Tim was happy. One day,", "Lily was happy. One day,"];
    let prompts: Vec<Prompt> = texts.iter().map(|text| prompt(text, &answers)).collect();
    let named: Vec<(String, &Prompt)> =
        prompts.iter().enumerate().map(|(i, prompt)| (format!("p{i}"), prompt)).collect();
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: BATCH, progress: &Silent };
    let table = answer_table(checkpoint(&model), &named, &mut pass).expect("table");
    assert_eq!((table.len(), store.len()), (2, 6), "equal prompts are scored once, each answer by itself");
    for prompt in &prompts {
        let context = encode(&model, &prompt.text, Special::Default);
        let expected: Vec<f64> = answers
            .iter()
            .map(|answer| {
                let whole = encode(&model, &format!("{}{answer}", prompt.text), Special::Default);
                by_hand(&model, &context, &whole[context.len()..]).0
            })
            .collect();
        let found = table.of("p", prompt).expect("scored");
        assert!(largest_difference(found.loglikelihoods(), &expected) < 2e-4, "{found:?} {expected:?}");
    }
}

#[test]
fn adapters_do_not_share_scores() {
    let Some(model) = stories() else { return };
    let requests = [("r".to_owned(), ScoreRequest { context: vec![1], continuation: vec![403] })];
    let mut store = ScoreStore::in_memory();
    for adapter in [None, Some(Digest::of(b"one")), Some(Digest::of(b"two"))] {
        let checkpoint = Checkpoint { model: &model, adapter: adapter.as_ref() };
        let mut pass = Pass { store: &mut store, batch_tokens: BATCH, progress: &Silent };
        score_requests(checkpoint, &requests, &mut pass).expect("score");
    }
    assert_eq!(store.len(), 3);
}

#[test]
fn texts_beyond_the_positions_roll_over_every_token_once() {
    let Some(model) = stories() else { return };
    let text = "Tim had a red ball. He was happy. ".repeat(90);
    let tokens = encode(&model, &text, Special::None);
    assert!(tokens.len() > 1024, "more than two windows: {}", tokens.len());
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: 4096, progress: &Silent };
    let texts = [("long".to_owned(), text.as_str()), ("short".to_owned(), "Tim was happy.")];
    let scores = score_texts(checkpoint(&model), &texts, &mut pass).expect("scores");
    let mut sum = by_hand(&model, &[1], &tokens[..512]).0;
    for start in (512..tokens.len()).step_by(512) {
        let end = tokens.len().min(start + 512);
        sum += by_hand(&model, &tokens[end - 513..start], &tokens[start..end]).0;
    }
    assert_eq!(scores[0].1, tokens.len());
    assert!((scores[0].0 - sum).abs() < 1e-5 * tokens.len() as f64, "{} against {sum}", scores[0].0);
    let short = encode(&model, "Tim was happy.", Special::None);
    assert!((scores[1].0 - by_hand(&model, &[1], &short).0).abs() < 1e-4);
}

#[test]
fn a_weight_that_is_not_a_number_names_the_item() {
    let Some(folder) = shared_dir().map(|shared| shared.join("data/models/stories260K")) else { return };
    let whole = stories().expect("model");
    let mut tensors = whole.tensors().clone();
    let norm = tensors.get_mut("model.norm.weight").expect("norm");
    *norm = (&*norm * f64::NAN).expect("NaN");
    let config: Value = files::read_json(&folder.join("config.json")).expect("config");
    let tokenizer = whole.tokenizer().expect("tokenizer").clone();
    let model = LanguageModel::from_parts(&config, tensors, Some(tokenizer), whole.device()).expect("model");
    let asked = prompt("One day,", &[" she", " he"]);
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: BATCH, progress: &Silent };
    let error = answer_table(checkpoint(&model), &[("item 4".into(), &asked)], &mut pass).expect_err("NaN").to_string();
    assert!(error.contains("item 4") && error.contains("\" she\"") && error.contains("NaN"), "{error}");
    let error = score_texts(checkpoint(&model), &[("text 9".into(), "Tim")], &mut pass).expect_err("NaN").to_string();
    assert!(error.contains("text 9") && error.contains("NaN"), "{error}");
}

#[test]
fn a_prompt_that_does_not_fit_is_named_and_never_cut() {
    let Some(model) = stories() else { return };
    let asked = prompt(&"Tim had a red ball. ".repeat(90), &[" she", " he"]);
    let mut store = ScoreStore::in_memory();
    let mut pass = Pass { store: &mut store, batch_tokens: BATCH, progress: &Silent };
    let error =
        answer_table(checkpoint(&model), &[("item 5".into(), &asked)], &mut pass).expect_err("too long").to_string();
    assert!(error.contains("item 5") && error.contains("512 positions"), "{error}");
}
