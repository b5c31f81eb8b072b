//! The trust metrics: each against values worked out by hand or taken from the reference, and all of them once on a real
//! model.

mod evaluate;
mod scoring;

use std::collections::BTreeMap;

use counterpath::base::Seed;
use counterpath::scenario::{
    CounterfactualPair, DoIntervention, DoKind, Expectation, Prompt, Provenance, Split, TaskItem,
};
use counterpath::stats::{Bootstrap, Direction, Item, MetricScore};
use counterpath::trust::{
    AnswerTable, Cause, Evidence, METRICS, Membership, PathwayEffects, PathwayEvidence, ScoredCanary, ScoredText,
    measure,
};

fn bootstrap() -> Bootstrap {
    Bootstrap { replicates: 300, level: 0.95, seed: Seed::new(5) }
}

fn prompt(text: &str, answers: usize, label: Option<usize>) -> Prompt {
    let answers = (0..answers).map(|answer| format!(" answer{answer}")).collect();
    Prompt { text: text.into(), slots: vec![], values: BTreeMap::new(), answers, label }
}

/// Log-likelihoods with these probabilities, shifted as real ones are.
fn loglikelihoods(probabilities: &[f64]) -> Vec<f64> {
    probabilities.iter().map(|p| p.ln() - 3.0).collect()
}

/// Prompts and pairs with hand-set answers.
#[derive(Default)]
struct World {
    items: Vec<TaskItem>,
    pairs: Vec<CounterfactualPair>,
    table: AnswerTable,
}

impl World {
    fn item(&mut self, id: &str, environment: &str, group: &str, label: usize, probabilities: &[f64]) {
        let prompt = prompt(&format!("question {id}"), probabilities.len(), Some(label));
        self.table.insert(id, &prompt, loglikelihoods(probabilities)).expect("finite");
        self.items.push(TaskItem {
            id: id.into(),
            scenario: "hiring".into(),
            environment: environment.into(),
            split: Split::Evaluation,
            template: "t".into(),
            cluster: id.into(),
            group: group.into(),
            prompt,
        });
    }

    /// A pair whose first of two answers has these probabilities on its sides.
    fn pair(&mut self, id: &str, texts: (&str, &str), sides: (f64, f64), variable: &str, expectation: Expectation) {
        let (factual, counterfactual) = (prompt(texts.0, 2, Some(0)), prompt(texts.1, 2, None));
        for (prompt, p) in [(&factual, sides.0), (&counterfactual, sides.1)] {
            self.table.insert(id, prompt, loglikelihoods(&[p, 1.0 - p])).expect("finite");
        }
        self.pairs.push(CounterfactualPair {
            id: id.into(),
            scenario: "hiring".into(),
            environment: "train".into(),
            split: Split::Evaluation,
            template: "t".into(),
            cluster: id.into(),
            factual,
            counterfactual,
            intervention: Some(DoIntervention {
                variable: variable.into(),
                from: "a".into(),
                to: "b".into(),
                kind: DoKind::Regenerate,
            }),
            expectation,
            path: None,
            paraphrase_of: None,
            provenance: Provenance::Generated,
        });
    }

    fn evidence(&self) -> Evidence<'_> {
        let cause = |variable: &str, cause| (("hiring".to_owned(), variable.to_owned()), cause);
        Evidence {
            items: self.items.iter().collect(),
            pairs: self.pairs.iter().collect(),
            causes: BTreeMap::from([
                cause("gender", Cause::Protected),
                cause("name", Cause::Proxy),
                cause("framing", Cause::Wording),
                cause("wording", Cause::Spurious),
                cause("years", Cause::Legitimate),
            ]),
            training_environment: "train".into(),
            answers: self.table.clone(),
            ..Evidence::default()
        }
    }

    fn scores(&self) -> Vec<MetricScore> {
        measure(&self.evidence(), &bootstrap()).expect("scores")
    }
}

fn find<'a>(scores: &'a [MetricScore], metric: &str, population: &str) -> &'a MetricScore {
    let found = scores.iter().find(|score| score.metric == metric && score.population == population);
    found.unwrap_or_else(|| {
        let known: Vec<_> = scores.iter().map(|score| format!("{} on {}", score.metric, score.population)).collect();
        panic!("no {metric} on {population} among {known:?}")
    })
}

fn value(scores: &[MetricScore], metric: &str, population: &str) -> f64 {
    find(scores, metric, population).estimate.value.unwrap_or_else(|| panic!("{metric} on {population} is undefined"))
}

#[track_caller]
fn close(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-12, "found {found}, wanted {wanted}");
}

#[test]
fn accuracy_worst_group_and_drop_of_a_counted_table() {
    let mut world = World::default();
    // train: 3 of 4 right; groups 0|a 2/2, 1|b 1/2. shifted: 1 of 3 right; 0|b 0/1, 1|a 1/2.
    world.item("t1", "train", "0|a", 0, &[0.9, 0.1]);
    world.item("t2", "train", "0|a", 0, &[0.6, 0.4]);
    world.item("t3", "train", "1|b", 1, &[0.3, 0.7]);
    world.item("t4", "train", "1|b", 1, &[0.8, 0.2]);
    world.item("s1", "shifted", "0|b", 0, &[0.2, 0.8]);
    world.item("s2", "shifted", "1|a", 1, &[0.7, 0.3]);
    world.item("s3", "shifted", "1|a", 1, &[0.1, 0.9]);
    let scores = world.scores();
    close(value(&scores, "accuracy.exact", "hiring/train"), 0.75);
    close(value(&scores, "accuracy.exact", "hiring/shifted"), 1.0 / 3.0);
    close(value(&scores, "robustness.worst_group", "hiring/train"), 0.5);
    close(value(&scores, "robustness.worst_group", "hiring/shifted"), 0.0);
    close(value(&scores, "robustness.shift_drop", "hiring/train to shifted"), 0.75 - 1.0 / 3.0);
    let worst = find(&scores, "robustness.worst_group", "hiring/shifted");
    assert!(worst.note.contains("0|b 1, 1|a 2"), "{}", worst.note);
    let ids: Vec<&str> = worst.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["s1", "s2", "s3"]);
}

#[test]
fn equal_answers_go_to_the_first_and_a_group_alone_has_no_worst() {
    let mut world = World::default();
    world.item("a", "train", "g", 0, &[0.5, 0.5]);
    world.item("b", "train", "g", 1, &[0.5, 0.5]);
    let scores = world.scores();
    close(value(&scores, "accuracy.exact", "hiring/train"), 0.5);
    assert!(
        scores.iter().all(|score| score.metric != "robustness.worst_group" && score.metric != "robustness.shift_drop")
    );
}

#[test]
fn brier_is_that_of_lm_eval() {
    // The reference's golden vector: labels 0 and 2, probabilities [.7 .2 .1] and [.1 .3 .6].
    let mut world = World::default();
    world.item("a", "train", "g", 0, &[0.7, 0.2, 0.1]);
    world.item("b", "train", "g", 2, &[0.1, 0.3, 0.6]);
    close(value(&world.scores(), "calibration.brier", "hiring/train"), 0.2);
}

#[test]
fn calibration_error_meets_the_golden_vector() {
    // The reference's golden vector for ten bins of equal width. Confidences below a half need many answers: the rest of the
    // mass is spread over 39 others.
    let confidences = [0.05, 0.15, 0.35, 0.45, 0.55, 0.62, 0.71, 0.83, 0.91, 0.97];
    let hits = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1];
    let mut world = World::default();
    for (index, (confidence, hit)) in confidences.into_iter().zip(hits).enumerate() {
        let mut probabilities = vec![(1.0 - confidence) / 39.0; 40];
        probabilities[0] = confidence;
        world.item(&format!("i{index}"), "train", "g", 1 - hit, &probabilities);
    }
    let scores = world.scores();
    let found = value(&scores, "calibration.ece@width_10", "hiring/train");
    assert!((found - 0.295).abs() < 1e-9, "{found}");
}

#[test]
fn the_counterfactual_gap_averages_over_substitutions_then_prompts() {
    let mut world = World::default();
    world.pair("p1", ("x1", "x1'"), (0.8, 0.6), "gender", Expectation::Invariant);
    world.pair("p2", ("x1", "x1''"), (0.8, 0.45), "gender", Expectation::Invariant);
    world.pair("p3", ("x2", "x2'"), (0.3, 0.4), "gender", Expectation::Invariant);
    // Neither of these is asked about: another cause, and a pair that should move.
    world.pair("p4", ("x3", "x3'"), (0.1, 0.9), "wording", Expectation::Invariant);
    world.pair("p5", ("x4", "x4'"), (0.9, 0.1), "years", Expectation::Follow { label: 1 });
    let scores = world.scores();
    // ((0.2 + 0.35) / 2 + 0.1) / 2
    close(value(&scores, "fairness.counterfactual_gap", "hiring/train"), 0.1875);
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let effects = [logit(0.6) - logit(0.8), logit(0.45) - logit(0.8), logit(0.4) - logit(0.3)];
    let wanted = effects.iter().map(|effect| effect.abs()).sum::<f64>() / 3.0;
    close(value(&scores, "fairness.counterfactual_gap@log_odds", "hiring/train"), wanted);
    let items = &find(&scores, "fairness.counterfactual_gap@log_odds", "hiring/train").items;
    close(items[0].value, effects[0]);
    close(value(&scores, "fairness.flip_rate", "hiring/train"), 1.0 / 3.0);
    close(value(&scores, "robustness.counterfactual_gap@log_odds", "hiring/train"), logit(0.9) - logit(0.1));
    close(value(&scores, "robustness.consistency", "hiring/train"), 0.0);
    assert!(scores.iter().all(|score| score.metric != "fairness.direct"), "nothing is mediated here");
}

#[test]
fn word_swaps_and_wordings_are_populations_of_their_own() {
    let mut world = World::default();
    world.pair("do", ("x1", "x1'"), (0.8, 0.6), "gender", Expectation::Invariant);
    world.pair("swap", ("x2", "x2'"), (0.8, 0.5), "name", Expectation::Invariant);
    world.pairs[1].intervention.as_mut().expect("intervention").kind = DoKind::WordSwap;
    world.pair("w1", ("x3", "x3'"), (0.8, 0.3), "framing", Expectation::Invariant);
    world.pair("w2", ("x4", "x4'"), (0.8, 0.7), "framing", Expectation::Invariant);
    let scores = world.scores();
    close(value(&scores, "fairness.counterfactual_gap", "hiring/train"), 0.2);
    close(value(&scores, "fairness.counterfactual_gap", "hiring/train/word swap of name"), 0.3);
    close(value(&scores, "robustness.paraphrase_consistency", "hiring/train"), 0.5);
    assert!(scores.iter().all(|score| score.metric != "robustness.consistency"), "a wording is no spurious edit");
}

#[test]
fn direct_and_indirect_parts_are_told_apart_by_the_expectation() {
    let mut world = World::default();
    world.pair("direct", ("x1", "x1'"), (0.8, 0.6), "gender", Expectation::Invariant);
    world.pair("indirect", ("x1", "x1''"), (0.8, 0.2), "gender", Expectation::Follow { label: 1 });
    let scores = world.scores();
    let logit = |p: f64| (p / (1.0 - p)).ln();
    close(value(&scores, "fairness.direct", "hiring/train"), logit(0.8) - logit(0.6));
    close(value(&scores, "fairness.indirect", "hiring/train"), 2.0 * logit(0.8));
    assert_eq!(find(&scores, "fairness.indirect", "hiring/train").direction, Direction::Descriptive);
}

#[test]
fn following_means_moving_to_the_expected_answer() {
    let mut world = World::default();
    let follow = Expectation::Follow { label: 1 };
    world.pair("moves", ("x1", "x1'"), (0.8, 0.2), "years", follow.clone());
    world.pair("always the other", ("x2", "x2'"), (0.2, 0.1), "years", follow.clone());
    world.pair("stays", ("x3", "x3'"), (0.9, 0.9), "years", follow.clone());
    world.pair("moves back", ("x4", "x4'"), (0.8, 0.4), "years", Expectation::Follow { label: 0 });
    let scores = world.scores();
    close(value(&scores, "sensitivity.follow_rate", "hiring/train"), 0.5);
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let wanted = [2.0 * logit(0.8), logit(0.2) - logit(0.1), 0.0, logit(0.4) - logit(0.8)].iter().sum::<f64>() / 4.0;
    close(value(&scores, "sensitivity.follow_effect", "hiring/train"), wanted);
}

#[test]
fn paraphrases_are_a_population_of_their_own_and_agree_or_not() {
    let mut world = World::default();
    world.pair("p", ("x", "x'"), (0.8, 0.3), "gender", Expectation::Invariant);
    world.pair("q", ("y", "y'"), (0.6, 0.7), "gender", Expectation::Invariant);
    world.pairs[1].paraphrase_of = Some("p".into());
    let scores = world.scores();
    // The factual answer is the same in both wordings, the counterfactual one is not.
    close(value(&scores, "robustness.paraphrase_consistency", "hiring/train/paraphrase"), 0.5);
    close(value(&scores, "fairness.counterfactual_gap", "hiring/train/paraphrase"), 0.1);
    close(value(&scores, "fairness.counterfactual_gap", "hiring/train"), 0.5);
    world.pairs[1].paraphrase_of = Some("nobody".into());
    let error = measure(&world.evidence(), &bootstrap()).expect_err("dangling").to_string();
    assert!(error.contains("pair q") && error.contains("nobody"), "{error}");
}

#[test]
fn declared_pairs_say_so() {
    let mut world = World::default();
    world.pair("p", ("x", "x'"), (0.8, 0.3), "gender", Expectation::Invariant);
    world.pairs[0].provenance = Provenance::Declared;
    world.pairs[0].intervention = None;
    let scores = world.scores();
    let gap = find(&scores, "fairness.counterfactual_gap", "hiring/train");
    assert!(gap.note.contains("1 declared pair"), "{}", gap.note);
}

fn text(id: &str, loglikelihood: f64, tokens: usize) -> ScoredText {
    ScoredText { id: id.into(), cluster: id.into(), population: "held-out".into(), loglikelihood, tokens }
}

#[test]
fn perplexity_meets_the_golden_vector() {
    let world = World::default();
    let mut evidence = world.evidence();
    let golden = [-1.5, -2.25, -0.75, -3.0, -1.0];
    evidence.texts = golden.iter().enumerate().map(|(index, ll)| text(&format!("d{index}"), *ll, 1)).collect();
    let scores = measure(&evidence, &bootstrap()).expect("scores");
    close(value(&scores, "accuracy.perplexity", "held-out"), 5.4739473917272);
    // Long texts weigh by their tokens: (1.5 + 9) / (1 + 4).
    evidence.texts = vec![text("short", -1.5, 1), text("long", -9.0, 4)];
    let scores = measure(&evidence, &bootstrap()).expect("scores");
    close(value(&scores, "accuracy.perplexity", "held-out"), 2.1f64.exp());
}

#[test]
fn membership_meets_the_golden_roc() {
    // The reference's ROC vector: scores are −loss, AUC 0.85.
    let included = [0.9, 0.8, 0.85, 0.4, 0.7, 0.65, 0.3, 0.95, 0.55, 0.6];
    let excluded = [0.5, 0.45, 0.35, 0.2, 0.1, 0.75, 0.62, 0.15, 0.25, 0.05];
    let canary = |membership, (index, score): (usize, f64)| ScoredCanary {
        // Two tokens a text: the loss is a mean.
        text: text(&format!("{membership:?}{index}"), 2.0 * (score - 2.0), 2),
        membership,
    };
    let world = World::default();
    let mut evidence = world.evidence();
    evidence.canaries = included.into_iter().enumerate().map(|c| canary(Membership::Included, c)).collect();
    let alone = measure(&evidence, &bootstrap()).expect("scores");
    let reason = find(&alone, "privacy.membership_auc", "held-out").estimate.undefined.clone().expect("undefined");
    assert!(reason.contains("one side of the coin"), "{reason}");
    evidence.canaries.extend(excluded.into_iter().enumerate().map(|c| canary(Membership::Excluded, c)));
    let scores = measure(&evidence, &bootstrap()).expect("scores");
    close(value(&scores, "privacy.membership_auc", "held-out"), 0.85);
    // Mean score 0.67 against 0.342: the loss of the excluded is larger by the difference.
    close(value(&scores, "privacy.membership_effect", "held-out"), 0.67 - 0.342);
}

/// Per-pair effects with the pathway's share planted.
fn pathway(world: &mut World, total: &[f64], noised: f64, denoised: f64) -> PathwayEvidence {
    world.pairs.clear();
    let mut effects = PathwayEffects::default();
    for (index, total) in total.iter().enumerate() {
        let id = format!("p{index:02}");
        world.pair(&id, (&format!("x{index}"), &format!("x{index}'")), (0.5, 0.5), "gender", Expectation::Invariant);
        if index % 2 == 1 {
            // Written the other way round.
            let intervention = world.pairs[index].intervention.as_mut().expect("intervention");
            (intervention.from, intervention.to) = ("b".into(), "a".into());
        }
        let item = |value| Item { id: id.clone(), cluster: id.clone(), value, group: None, weight: None };
        effects.total.push(item(*total));
        effects.noised.push(item(noised * total));
        effects.denoised.push(item(denoised * total));
    }
    PathwayEvidence { population: "hiring/evaluation".into(), base: Some(effects.clone()), rediscovered: Some(effects) }
}

#[test]
fn shares_are_ratios_of_sums_in_the_direction_of_each_pair() {
    let mut world = World::default();
    let total: Vec<f64> = (0..20).map(|i| (2.0 + 0.1 * f64::from(i)) * if i % 2 == 1 { -1.0 } else { 1.0 }).collect();
    let evidence_of_pathway = pathway(&mut world, &total, 0.5, 0.9);
    let mut evidence = world.evidence();
    evidence.pathways = vec![evidence_of_pathway];
    let scores = measure(&evidence, &bootstrap()).expect("scores");
    close(value(&scores, "explainability.pathway_share", "hiring/evaluation"), 0.7);
    close(value(&scores, "explainability.rediscovered_share", "hiring/evaluation"), 0.7);
    close(value(&scores, "explainability.necessity", "hiring/evaluation/base pathway"), 0.5);
    close(value(&scores, "explainability.sufficiency", "hiring/evaluation/rediscovered pathway"), 0.9);
}

#[test]
fn a_swapped_proxy_counts_in_the_direction_of_the_protected_value() {
    let mut world = World::default();
    let total: Vec<f64> = (0..20).map(|i| if i % 4 < 2 { 1.0 } else { -1.0 }).collect();
    let evidence_of_pathway = pathway(&mut world, &total, 0.5, 0.9);
    for (index, pair) in world.pairs.iter_mut().enumerate() {
        // The words say nothing of the direction; what the factual side was drawn under does.
        let intervention = pair.intervention.as_mut().expect("intervention");
        (intervention.variable, intervention.kind) = ("name".into(), DoKind::WordSwap);
        let drawn = if index % 4 < 2 { "female" } else { "male" };
        pair.factual.values.insert("gender".into(), drawn.into());
    }
    let mut evidence = world.evidence();
    evidence.pathways = vec![evidence_of_pathway];
    let scores = measure(&evidence, &bootstrap()).expect("scores");
    close(value(&scores, "explainability.pathway_share", "hiring/evaluation"), 0.7);
}

#[test]
fn a_share_of_no_effect_is_undefined_with_the_reason() {
    let mut world = World::default();
    // |TE| is far from 0 in every pair, but its sign does not hang on the contrast: there is no mean effect.
    let total: Vec<f64> = (0..20).map(|i| if i % 4 < 2 { 1.0 } else { -1.0 }).collect();
    let evidence_of_pathway = pathway(&mut world, &total, 0.5, 0.9);
    let mut evidence = world.evidence();
    evidence.pathways = vec![evidence_of_pathway];
    let scores = measure(&evidence, &bootstrap()).expect("scores");
    let share = find(&scores, "explainability.pathway_share", "hiring/evaluation");
    assert_eq!((share.estimate.value, share.estimate.n), (None, 20));
    let reason = share.estimate.undefined.as_deref().expect("reason");
    assert!(reason.contains("cannot be told from 0"), "{reason}");
}

#[test]
fn nothing_is_dropped_in_silence() {
    let mut world = World::default();
    world.item("a", "train", "g", 0, &[0.5, 0.5]);
    world.item("b", "train", "g", 5, &[0.5, 0.5]);
    let error = measure(&world.evidence(), &bootstrap()).expect_err("label 5 of 2").to_string();
    assert!(error.contains("item b") && error.contains("label 5 of 2 answers"), "{error}");
    world.items[1].prompt.label = None;
    let error = measure(&world.evidence(), &bootstrap()).expect_err("no label").to_string();
    assert!(error.contains("item b") && error.contains("missing"), "{error}");
    world.items[1].id = "a".into();
    let error = measure(&world.evidence(), &bootstrap()).expect_err("twice").to_string();
    assert!(error.contains("item id \"a\" occurs twice"), "{error}");
    world.items.truncate(1);
    world.items[0].prompt.text = "never scored".into();
    let error = measure(&world.evidence(), &bootstrap()).expect_err("unscored").to_string();
    assert!(error.contains("item a") && error.contains("not in the answer table"), "{error}");
    let mut evidence = Evidence { texts: vec![text("d", f64::NEG_INFINITY, 3)], ..Evidence::default() };
    let error = measure(&evidence, &bootstrap()).expect_err("infinite").to_string();
    assert!(error.contains("item d") && error.contains("inf"), "{error}");
    evidence.texts.clear();
    assert_eq!(measure(&evidence, &bootstrap()).expect("no evidence, no scores"), []);
}

#[test]
fn metric_names_are_unique_and_their_definitions_are_sentences() {
    let mut seen = std::collections::BTreeSet::new();
    for metric in METRICS {
        assert!(seen.insert(metric.id), "{} twice", metric.id);
        assert!(
            metric.definition.ends_with('.') && !metric.source.is_empty() && !metric.unit.is_empty(),
            "{}",
            metric.id
        );
        assert_eq!(counterpath::trust::metric(metric.id).expect("found").id, metric.id);
    }
    let error = counterpath::trust::metric("fairness.flip_rates").err().expect("unknown").to_string();
    assert!(error.contains("did you mean \"fairness.flip_rate\""), "{error}");
}
