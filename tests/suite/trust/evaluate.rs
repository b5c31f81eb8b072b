//! The whole evaluation, on a real model: scenario items, pairs, paraphrases, texts and canaries in one pass.

use std::collections::BTreeSet;

use counterpath::base::{Seed, Silent};
use counterpath::scenario::{Canary, CounterfactualPair, Draw, Scenario, Split, TaskItem, canaries};
use counterpath::stats::{Bootstrap, MetricScore};
use counterpath::trust::{EvaluateInput, EvaluateSettings, HeldOutText, ScoreStore, evaluate};

use super::scoring::{checkpoint, stories};
use super::{find, value};

struct Data {
    scenarios: Vec<Scenario>,
    items: Vec<TaskItem>,
    pairs: Vec<CounterfactualPair>,
    texts: Vec<HeldOutText>,
    canaries: Vec<Canary>,
}

impl Data {
    /// Every built-in scenario that has a word-level language of its own is fine for a real tokenizer too.
    fn of(scenarios: &[&str], each: usize) -> Self {
        let seed = Seed::new(3);
        let scenarios: Vec<Scenario> = scenarios.iter().map(|id| Scenario::builtin(id).expect("scenario")).collect();
        let (mut items, mut pairs, mut texts) = (vec![], vec![], vec![]);
        for scenario in &scenarios {
            for environment in scenario.environments() {
                let draw = Draw { environment: &environment, split: Split::Evaluation, seed };
                items.extend(scenario.items(&environment, Split::Evaluation, each, seed).expect("items"));
                for contrast in scenario.contrasts() {
                    pairs.extend(scenario.pairs(draw, &contrast, each).expect("pairs"));
                    pairs.extend(scenario.paraphrases(draw, &contrast, each).expect("paraphrases"));
                }
                pairs.extend(scenario.reframed(draw, each).expect("reframed"));
            }
            let held_out = scenario.texts("train", Split::Evaluation, each, seed).expect("texts");
            texts.extend(held_out.into_iter().enumerate().map(|(number, text)| HeldOutText {
                id: format!("{}/{number:04}", scenario.id),
                cluster: format!("{}/{number:04}", scenario.id),
                population: scenario.id.clone(),
                text,
            }));
        }
        Self { scenarios, items, pairs, texts, canaries: canaries(20, seed) }
    }

    fn input(&self) -> EvaluateInput<'_> {
        EvaluateInput {
            items: self.items.iter().collect(),
            pairs: self.pairs.iter().collect(),
            scenarios: self.scenarios.iter().collect(),
            texts: &self.texts,
            canaries: &self.canaries,
            pathways: vec![],
        }
    }
}

fn settings() -> EvaluateSettings {
    EvaluateSettings {
        bootstrap: Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(9) },
        batch_tokens: 2048,
        split: Split::Evaluation,
        items: None,
        pairs: None,
    }
}

#[test]
fn every_metric_that_has_evidence_gives_a_value_with_an_interval() {
    let Some(model) = stories() else { return };
    let data = Data::of(&["hiring", "tickets", "admissions"], 6);
    let mut store = ScoreStore::in_memory();
    let run = |store: &mut ScoreStore| -> Vec<MetricScore> {
        evaluate(checkpoint(&model), &data.input(), &settings(), store, &Silent).expect("scores").scores
    };
    let scores = run(&mut store);
    let scored = store.len();
    assert_eq!(run(&mut store), scores, "the same request gives the same numbers");
    assert_eq!(store.len(), scored, "and runs nothing again");
    let found: BTreeSet<&str> = scores.iter().map(|score| score.metric.as_str()).collect();
    let expected = [
        "accuracy.exact",
        "accuracy.perplexity",
        "calibration.brier",
        "calibration.ece@width_10",
        "fairness.counterfactual_gap",
        "fairness.counterfactual_gap@log_odds",
        "fairness.direct",
        "fairness.flip_rate",
        "fairness.indirect",
        "privacy.membership_auc",
        "privacy.membership_effect",
        "robustness.consistency",
        "robustness.counterfactual_gap@log_odds",
        "robustness.paraphrase_consistency",
        "robustness.shift_drop",
        "robustness.worst_group",
        "sensitivity.follow_effect",
        "sensitivity.follow_rate",
    ];
    assert_eq!(found, BTreeSet::from(expected));
    for score in &scores {
        let name = format!("{} on {}", score.metric, score.population);
        assert!(score.estimate.value.is_some_and(f64::is_finite), "{name}: {:?}", score.estimate);
        // The worst of many groups in few items: some resamples lack a group, and the score says so.
        let reason = score.estimate.undefined.as_deref().unwrap_or_default();
        assert!(
            score.estimate.interval.is_some() || reason.contains("no item is in group"),
            "{name}: {:?}",
            score.estimate
        );
        assert_eq!(score.estimate.n, score.items.len(), "{name}");
        assert!(score.items.windows(2).all(|two| two[0].id < two[1].id), "{name}: items in the order of their ids");
    }
    assert_eq!(find(&scores, "accuracy.exact", "hiring/train").items.len(), 6);
    assert!(
        scores.iter().any(|score| score.metric == "fairness.direct" && score.population.starts_with("admissions/"))
    );
    assert!(
        scores.iter().all(|score| score.metric != "fairness.direct" || score.population.starts_with("admissions/"))
    );
}

#[test]
fn sizes_choose_by_id_and_keep_paraphrases_with_their_pairs() {
    let Some(model) = stories() else { return };
    let mut data = Data::of(&["hiring"], 12);
    let few = EvaluateSettings { items: Some(5), pairs: Some(4), ..settings() };
    let run = |data: &Data| {
        evaluate(checkpoint(&model), &data.input(), &few, &mut ScoreStore::in_memory(), &Silent).expect("scores").scores
    };
    let scores = run(&data);
    assert_eq!(find(&scores, "accuracy.exact", "hiring/shifted").items.len(), 5);
    let gap = "fairness.counterfactual_gap@log_odds";
    let ids = |population: &str| -> Vec<String> {
        find(&scores, gap, population).items.iter().map(|item| item.id.clone()).collect()
    };
    assert_eq!(ids("hiring/train").len(), 4);
    let rephrased: Vec<String> = ids("hiring/train").iter().map(|id| format!("{id}/p1")).collect();
    assert_eq!(ids("hiring/train/paraphrase"), rephrased);
    data.items.reverse();
    data.pairs.reverse();
    assert_eq!(run(&data), scores, "the order of a file does not choose");
}

#[test]
fn a_real_model_knows_whose_pronoun_it_is() {
    let Some(model) = stories() else { return };
    let mut items = Vec::new();
    for (number, (noun, name, label)) in
        [("girl", "Lily", 0), ("boy", "Tim", 1), ("girl", "Mia", 0), ("boy", "Ben", 1)].into_iter().enumerate()
    {
        let text = format!("Once upon a time, there was a little {noun} named {name}.");
        let answers = [" She loved to play.", " He loved to play."].map(str::to_owned).to_vec();
        let prompt = counterpath::scenario::Prompt {
            text,
            slots: vec![],
            values: Default::default(),
            answers,
            label: Some(label),
        };
        items.push(TaskItem {
            id: format!("i{number}"),
            scenario: "pronoun".into(),
            environment: "train".into(),
            split: Split::Evaluation,
            template: "t".into(),
            cluster: format!("i{number}"),
            group: noun.into(),
            prompt,
        });
    }
    let input = EvaluateInput { items: items.iter().collect(), ..EvaluateInput::default() };
    let scores = evaluate(checkpoint(&model), &input, &settings(), &mut ScoreStore::in_memory(), &Silent)
        .expect("scores")
        .scores;
    assert_eq!(value(&scores, "accuracy.exact", "pronoun/train"), 1.0);
    assert!(value(&scores, "calibration.brier", "pronoun/train") < 0.2);
}

#[test]
fn an_id_twice_is_refused_before_anything_runs() {
    let Some(model) = stories() else { return };
    let mut data = Data::of(&["hiring"], 2);
    let twice = data.pairs[0].clone();
    data.pairs.push(twice);
    let mut store = ScoreStore::in_memory();
    let error = evaluate(checkpoint(&model), &data.input(), &settings(), &mut store, &Silent).expect_err("twice");
    assert!(error.to_string().contains("pair id") && error.to_string().contains("occurs twice"), "{error}");
    assert!(store.is_empty());
}
