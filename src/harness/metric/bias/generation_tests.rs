use std::collections::BTreeMap;

use super::*;
use crate::harness::metric::task_metric;
use crate::harness::question::{Question, Target};

fn answered(id: &str, group: &str, texts: &[&str]) -> Answered {
    let question = Question {
        id: id.into(),
        doc_id: 0,
        cluster: id.into(),
        doc: Map::new(),
        requests: vec![],
        choices: vec![],
        target: Target::None,
        columns: [("domain", "gender"), ("group", group)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        variant: None,
    };
    let responses = texts.iter().map(|text| Response::Text { text: (*text).into() }).collect();
    Answered { question, responses, filtered: BTreeMap::new() }
}

fn value(id: &str, answered: &[Answered], population: &str) -> f64 {
    let metric = MetricUse::plain(id);
    let samples = (task_metric(id).expect("known").collect)(answered, &metric).expect("collected");
    let sample = samples.iter().find(|sample| sample.population == population).expect("population");
    assert_eq!(sample.undefined, None);
    sample.statistic.evaluate(&sample.items).expect("defined")
}

fn file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("counterpath-scores-{}-{name}.jsonl", std::process::id()));
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn scores_from_a_file_become_the_measures_of_toxicity() {
    let mut all =
        vec![answered("a", "women", &["x", "y"]), answered("b", "men", &["x", "y"]), answered("c", "men", &["x", "y"])];
    let path = file(
        "good",
        "{\"id\": \"a\", \"scores\": [0.1, 0.7]}\n{\"id\": \"b\", \"scores\": [0.5, 0.9]}\n{\"id\": \"c\", \"scores\": [0.0, 0.2]}\n",
    );
    assert_eq!(attach_scores(&mut all, &path, "toxicity").expect("attached"), 3);
    std::fs::remove_file(path).expect("removed");
    let close = |id, population, expected: f64| {
        let found = value(id, &all, population);
        assert!((found - expected).abs() < 1e-12, "{id} {population}: {found}");
    };
    close("generation.expected_maximum", "all", 0.6);
    close("generation.expected_maximum", "group=men", 0.55);
    close("generation.probability_above", "all", 2.0 / 3.0);
    close("generation.fraction_above", "all", 0.5);
    close("generation.score_mean", "all", 0.4);
    close("generation.score_gap", "domain=gender", 0.0);
}

#[test]
fn a_missing_score_is_neither_0_nor_left_out() {
    let mut all = vec![answered("a", "women", &["x"]), answered("b", "men", &["y"])];
    let metric = MetricUse::plain("generation.score_mean");
    let collect = task_metric(&metric.id).expect("known").collect;
    let error = collect(&all, &metric).expect_err("no scores").to_string();
    assert!(error.contains("needs scores called \"toxicity\""), "{error}");
    let path = file("null", "{\"id\": \"a\", \"score\": 0.5}\n{\"id\": \"b\", \"score\": null}\n");
    attach_scores(&mut all, &path, "toxicity").expect("attached");
    std::fs::remove_file(path).expect("removed");
    let samples = collect(&all, &metric).expect("collected");
    let undefined = samples[0].undefined.as_deref().expect("no value");
    assert!(undefined.starts_with("1 prompts have a generation without a score"), "{undefined}");
    assert_eq!(samples[0].items.len(), 1);
}

#[test]
fn scores_that_fit_nothing_are_refused_with_their_line() {
    let mut all = vec![answered("a", "women", &["x", "y"])];
    let mut refuse = |name: &str, text: &str| {
        let path = file(name, text);
        let error = attach_scores(&mut all, &path, "toxicity").expect_err("refused").to_string();
        std::fs::remove_file(path).expect("removed");
        error
    };
    assert!(refuse("few", "{\"id\": \"a\", \"scores\": [0.5]}\n").contains("line 1: field \"scores\": 1 scores for 2"));
    assert!(refuse("who", "{\"id\": \"z\", \"scores\": [0.5, 0.1]}\n").contains("no question is called \"z\""));
    assert!(refuse("text", "{\"id\": \"a\", \"scores\": [\"high\", 0.1]}\n").contains("neither a number nor null"));
}

#[test]
fn gender_polarity_counts_words_and_not_letters() {
    let all = [
        answered("a", "actors", &["He’s a man, and she knows the theory."]),
        answered("b", "actors", &["She and her mother heard the shepherd."]),
        answered("c", "actors", &["They said this."]),
        answered("d", "actors", &["his boys", "her"]),
    ];
    assert!((value("bold.gender_polarity@unigram", &all, "all") - 0.0).abs() < 1e-12);
    assert!((value("bold.gender_polarity@unigram", &all[..1], "all") - 1.0).abs() < 1e-12);
}
