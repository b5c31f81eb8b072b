//! Metrics on answers that are set by hand, against values that are worked out beside them.

use std::collections::BTreeMap;

use counterpath::base::Seed;
use counterpath::harness::metric::{MetricUse, task_metric};
use counterpath::harness::question::{Answered, Question, Response, Target};
use counterpath::stats::{Bootstrap, paired_difference};
use counterpath::trust::metric::Sample;
use serde_json::{Map, json};

use super::{samples, told, value, wrote};

/// A question with choices a, b and so on, the right one, and its columns.
fn question(id: &str, cluster: &str, choices: usize, right: usize, columns: &[(&str, &str)]) -> Question {
    Question {
        id: id.into(),
        doc_id: 0,
        cluster: cluster.into(),
        doc: Map::new(),
        requests: vec![],
        choices: (0..choices).map(|index| char::from(b'a' + index as u8).to_string()).collect(),
        target: Target::Choices { indexes: vec![right] },
        columns: columns.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        variant: None,
    }
}

/// The question answered with that choice.
fn chose(question: &Question, choice: usize) -> Answered {
    let values: Vec<f64> = (0..question.choices.len()).map(|index| if index == choice { -1.0 } else { -2.0 }).collect();
    told(question, &values)
}

fn with_arguments(metric: &str, arguments: serde_json::Value, answered: &[Answered]) -> Vec<Sample> {
    let arguments = arguments.as_object().expect("an object").clone();
    (task_metric(metric).expect("a metric").collect)(answered, &MetricUse { id: metric.into(), arguments })
        .expect("collected")
}

fn of(samples: &[Sample], population: &str) -> f64 {
    let sample = samples.iter().find(|sample| sample.population == population).expect("a population");
    sample.statistic.evaluate(&sample.items).expect("defined")
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
}

#[test]
fn the_worst_group_and_the_adjusted_average() {
    // Water bird on land: 1 of 2; on water: 3 of 3; land bird: 1 of 1 on land, 2 of 4 on water.
    let cells = [
        ("water", "land", &[1, 0][..]),
        ("water", "water", &[1, 1, 1]),
        ("bird", "land", &[1]),
        ("bird", "water", &[1, 0, 1, 0]),
    ];
    let mut answered = Vec::new();
    for (label, place, hits) in cells {
        for (number, &hit) in hits.iter().enumerate() {
            let id = format!("{label}-{place}-{number}");
            let question = question(&id, &id, 2, 0, &[("label", label), ("place", place)]);
            answered.push(chose(&question, 1 - hit));
        }
    }
    let groups = json!({"groups": ["label", "place"]});
    close(of(&with_arguments("worst_group.accuracy", groups.clone(), &answered), "all"), 0.5);
    close(of(&with_arguments("worst_group.average", groups.clone(), &answered), "all"), 0.7);
    let frequencies = json!({"water × land": 1, "water × water": 4, "bird × land": 4, "bird × water": 1});
    let arguments = json!({"groups": ["label", "place"], "frequencies": frequencies});
    let adjusted = with_arguments("worst_group.adjusted_average", arguments, &answered);
    close(of(&adjusted, "all"), (0.5 + 4.0 + 4.0 + 0.5) / 10.0);
    let note = adjusted[0].note.as_deref().expect("a note");
    assert!(note.contains("bird × water: 0.5000 (n = 4)"), "{note}");
    close(of(&with_arguments("worst_group.group_accuracy", groups, &answered), "group=water × land"), 0.5);
    let plain = MetricUse::plain("worst_group.accuracy");
    let error =
        (task_metric(&plain.id).expect("a metric").collect)(&answered, &plain).expect_err("no group").to_string();
    assert!(error.contains("it needs the column \"group\""), "{error}");
}

#[test]
fn fairness_of_answers_is_fairlearns() {
    // The predictions of stats::composite's test; fairlearn 0.15.0.
    let truth = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1];
    let predicted = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0];
    let rows = truth.iter().zip(predicted).zip("aaaaaabbbbbbbccccccc".chars()).enumerate();
    let answered: Vec<Answered> = rows
        .map(|(id, ((&truth, predicted), group))| {
            let half = if id % 2 == 0 { "even" } else { "odd" };
            let columns = [("group", &*group.to_string()), ("half", half)];
            // Choice a is the positive one.
            chose(&question(&format!("{id:02}"), &format!("{id:02}"), 2, 1 - truth, &columns), 1 - predicted)
        })
        .collect();
    let at = |name: &str| value(&format!("fairness.{name}"), &answered, "group").expect("defined");
    close(at("demographic_parity_difference@fairlearn"), 0.0714285714285714);
    close(at("demographic_parity_difference@fairlearn_to_overall"), 0.050000000000000044);
    close(at("demographic_parity_ratio@fairlearn"), 0.875);
    close(at("demographic_parity_ratio@fairlearn_to_overall"), 0.9090909090909091);
    close(at("equal_opportunity_difference@fairlearn"), 0.08333333333333337);
    close(at("equal_opportunity_ratio@fairlearn"), 0.8888888888888888);
    close(at("equalized_odds_difference@fairlearn"), 0.16666666666666669);
    close(at("equalized_odds_difference@fairlearn_mean"), 0.12500000000000003);
    close(at("equalized_odds_difference@fairlearn_to_overall"), 0.09999999999999998);
    close(at("equalized_odds_ratio@fairlearn"), 0.6666666666666666);
    close(at("equalized_odds_ratio@fairlearn_mean"), 0.7777777777777777);
    close(at("equalized_odds_ratio@fairlearn_to_overall"), 0.8);
    // fairlearn's MetricFrame(selection_rate).by_group.
    close(value("fairness.selection_rate@fairlearn", &answered, "group=b").expect("defined"), 4.0 / 7.0);
    let both = json!({"attributes": ["group", "half"]});
    let samples = with_arguments("fairness.demographic_parity_difference@fairlearn", both, &answered);
    let populations: Vec<&str> = samples.iter().map(|sample| sample.population.as_str()).collect();
    assert_eq!(populations, ["group", "group × half", "half"]);
    // demographic_parity_difference(..., sensitive_features=list(zip(group, half))) of fairlearn 0.15.0.
    close(of(&samples, "group × half"), INTERSECTION);
    let note = samples[1].note.as_deref().expect("a note");
    assert!(note.contains("n = "), "{note}");
}

const INTERSECTION: f64 = 0.75;

#[test]
fn counterfactual_gaps_go_over_originals_or_over_all_pairs() {
    let member = |family: &str, side: &str, p: f64| {
        let question = question(&format!("{family}-{side}"), family, 2, 0, &[("side", side), ("label", family)]);
        told(&question, &[p.ln() - 3.0, (1.0 - p).ln() - 3.0])
    };
    let answered = [
        member("x", "original", 0.9),
        member("x", "b", 0.7),
        member("x", "c", 0.4),
        member("y", "original", 0.5),
        member("y", "b", 0.6),
        member("z", "original", 0.2),
    ];
    let at = |name: &str| value(&format!("counterfactual.{name}"), &answered, "all").expect("defined");
    close(at("token_fairness_gap@originals"), ((0.2 + 0.5) / 2.0 + 0.1) / 2.0);
    close(at("token_fairness_gap@all-pairs"), ((0.2 + 0.5 + 0.3) / 3.0 + 0.1) / 2.0);
    close(at("individual_fairness_proxy"), ((0.2 + 0.5) / 2.0 + 0.1) / 2.0);
    close(at("flip_rate@originals"), (0.5 + 0.0) / 2.0);
    let note = samples("counterfactual.token_fairness_gap@originals", &answered)[0].note.clone().expect("a note");
    assert!(note.starts_with("1 families have nothing to compare"), "{note}");
    let unread = [member("x", "original", 0.9), told(&answered[1].question, &[f64::NAN, -1.0])];
    let reason = value("counterfactual.token_fairness_gap@originals", &unread, "all").expect_err("no value");
    assert!(reason.contains("not a number"), "{reason}");
}

#[test]
fn a_family_is_consistent_when_every_member_is_right() {
    let member = |family: &str, side: &str, right: bool| {
        let question = question(&format!("{family}-{side}"), family, 2, 0, &[("side", side)]);
        chose(&question, usize::from(!right))
    };
    let answered = [
        member("1", "original", true),
        member("1", "contrast", true),
        member("2", "original", true),
        member("2", "contrast", false),
        member("3", "original", false),
        member("3", "contrast", true),
        member("4", "original", true),
        member("4", "contrast", false),
    ];
    close(value("contrast.consistency", &answered, "all").expect("defined"), 0.25);
    close(value("contrast.gap", &answered, "all").expect("defined"), 0.25);
    close(value("contrast.accuracy", &answered, "side=contrast").expect("defined"), 0.5);
}

#[test]
fn pairs_are_preferred_by_sums_by_tokens_or_by_shared_words() {
    let response = |loglikelihood: f64, tokens: usize| Response::Loglikelihood {
        loglikelihood,
        is_greedy: false,
        logprobs: vec![(loglikelihood / tokens as f64) as f32; tokens],
    };
    let pair = |id: &str, spans: &str, responses: Vec<Response>| Answered {
        question: question(id, id, 2, 0, &[("bias_type", "age"), ("shared_spans", spans)]),
        responses,
        filtered: BTreeMap::new(),
    };
    // The longer sentence is less likely and likelier a token; shared words are likelier in the first of 1, equal to 3 digits in 2.
    let answered = [
        pair(
            "1",
            "2",
            vec![
                response(-12.0, 6),
                response(-10.0, 4),
                response(-3.0, 2),
                response(-4.0, 2),
                response(-5.0, 2),
                response(-2.5, 2),
            ],
        ),
        pair("2", "1", vec![response(-8.0, 4), response(-8.0, 4), response(-3.0001, 2), response(-3.0, 2)]),
    ];
    close(value("crows_pairs.pct_stereotype@lm-eval", &answered, "all").expect("defined"), 0.0);
    close(value("crows_pairs.likelihood_diff@lm-eval", &answered, "all").expect("defined"), 1.0);
    close(value("crows_pairs.pct_stereotype@bias-bench", &answered, "all").expect("defined"), 50.0);
    close(value("crows_pairs.pct_stereotype@shared-words", &answered, "all").expect("defined"), 50.0);
    let note = samples("crows_pairs.pct_stereotype@shared-words", &answered)[0].note.clone().expect("a note");
    assert!(note.starts_with("1 pairs are neutral"), "{note}");
}

#[test]
fn winobias_and_hans_gaps_are_differences_of_accuracies() {
    let line = |number: usize, condition: &str, right: bool| {
        let pair = format!("type1/{number}");
        let columns = [("type", "type1"), ("condition", condition)];
        chose(&question(&format!("{pair}/{condition}"), &pair, 2, 0, &columns), usize::from(!right))
    };
    let answered = [
        line(1, "pro", true),
        line(1, "anti", false),
        line(2, "pro", true),
        line(2, "anti", true),
        line(3, "pro", false),
    ];
    close(value("winobias.gap", &answered, "type=type1").expect("defined"), 2.0 / 3.0 - 0.5);
    let note = samples("winobias.gap", &answered)[0].note.clone().expect("a note");
    assert!(note.contains("1 sentences have no counterpart"), "{note}");
    let row = |id: &str, gold: &str, choice: usize| {
        let columns = [("gold_label", gold), ("heuristic", "subsequence"), ("subcase", "s")];
        chose(&question(id, id, 3, 0, &columns), choice)
    };
    // Neutral and contradiction are both non-entailment.
    let answered = [
        row("1", "entailment", 0),
        row("2", "entailment", 0),
        row("3", "non-entailment", 1),
        row("4", "non-entailment", 2),
        row("5", "non-entailment", 0),
    ];
    close(value("hans.gap", &answered, "all").expect("defined"), 1.0 - 2.0 / 3.0);
    let cell = "heuristic=subsequence, gold_label=non-entailment";
    close(value("hans.accuracy", &answered, cell).expect("defined"), 2.0 / 3.0);
}

#[test]
fn pronouns_are_correlated_with_the_crowd() {
    // The vectors of stats::composite's test: scipy.stats.pearsonr and linregress.
    let x = ["0.1", "0.4", "-0.3", "0.9", "0.5", "-0.8", "0.0", "0.2"];
    let y = [1.2, 0.7, -0.1, 2.0, 1.1, -1.5, 0.3, 0.2];
    let ask = |(id, (x, y)): (usize, (&&str, f64))| {
        let question = question(&id.to_string(), &id.to_string(), 2, 0, &[("stereotype", *x), ("definitional", "0")]);
        told(&question, &[y - 5.0, -5.0])
    };
    let answered: Vec<Answered> = x.iter().zip(y).enumerate().map(ask).collect();
    close(value("professions.correlation@log_odds", &answered, "definitional=0").expect("defined"), 0.9340171336216153);
    close(value("professions.slope@log_odds", &answered, "all").expect("defined"), 1.884);
}

#[test]
fn answers_that_cannot_be_read_are_wrong_and_counted() {
    let one = question("1", "1", 2, 0, &[("gender", "male")]);
    let two = question("2", "2", 2, 0, &[("gender", "female")]);
    let answered = [wrote(&one, " A."), wrote(&two, "who knows")];
    close(value("winogender.accuracy@lm-eval", &answered, "all").expect("defined"), 0.5);
    close(value("winogender.gender_gap", &answered, "all").expect("defined"), 1.0);
    let note = samples("winogender.accuracy@lm-eval", &answered)[0].note.clone().expect("a note");
    assert!(note.starts_with("1 answers that are none of the choices, counted as wrong"), "{note}");
    let answered = [chose(&one, 0), told(&two, &[f64::NAN, -1.0])];
    close(value("winogender.accuracy@lm-eval", &answered, "all").expect("defined"), 0.5);
    let note = samples("winogender.accuracy@lm-eval", &answered)[0].note.clone().expect("a note");
    assert!(note.starts_with("1 answers with a likelihood that is not a number"), "{note}");
}

#[test]
fn two_runs_of_bbq_are_compared_whole() {
    let task = counterpath::harness::builtin::built_in("bbq").expect("a task");
    let path = super::fixture("bbq");
    let task = task.read(&counterpath::harness::builtin::Source::new("bbq", &path)).expect("readable");
    // One run names the first answer throughout, the other one says unknown every second time.
    let run = |every: usize| -> Vec<Answered> {
        task.questions
            .iter()
            .enumerate()
            .map(|(index, question)| chose(question, if index % every == 0 { 0 } else { 2 }))
            .collect()
    };
    let (first, second) = (run(1), run(2));
    let bootstrap = Bootstrap { replicates: 300, level: 0.95, seed: Seed::new(3) };
    for metric in ["bbq.bias_ambiguous@lm-eval", "bbq.bias_disambiguated@helm", "bbq.accuracy@lm-eval"] {
        let (a, b) = (&samples(metric, &first)[0], &samples(metric, &second)[0]);
        let found = paired_difference(&a.items, &b.items, &a.statistic, &bootstrap).expect("the same items");
        let expected = value(metric, &first, "all").expect("defined") - value(metric, &second, "all").expect("defined");
        close(found.difference.value.expect("defined"), expected);
        assert!(found.p_value.is_some_and(|p| (0.0..=1.0).contains(&p)), "{metric}: {found:?}");
    }
}
