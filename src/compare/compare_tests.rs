use super::*;
use crate::base::Seed;
use crate::record::{EvalSetIdentity, ModelIdentity, Versions};
use crate::stats::{Bootstrap, Direction, Equivalence, Item, MetricScore, Objective, Statistic, estimate};

const CLUSTERS: usize = 60;

/// Two items a cluster; `value` of the item's number.
fn score(metric: &str, direction: Direction, statistic: Statistic, value: impl Fn(usize) -> f64) -> MetricScore {
    let item = |id: usize| Item {
        id: format!("{id:04}"),
        cluster: format!("{:04}", id / 2),
        value: value(id),
        group: None,
        weight: None,
    };
    let items: Vec<Item> = (0..2 * CLUSTERS).map(item).collect();
    let bootstrap = Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(0) };
    MetricScore {
        metric: metric.into(),
        version: 1,
        population: "hiring/shifted".into(),
        objective: if metric.starts_with("accuracy") { Objective::Accuracy } else { Objective::Fairness },
        unit: "share".into(),
        direction,
        estimate: estimate(&items, &statistic, &bootstrap),
        statistic,
        items,
        note: String::new(),
    }
}

fn record(name: &str, scores: Vec<MetricScore>) -> RunRecord {
    let digest = Digest::of(b"weights");
    let model = ModelIdentity { source: "embedded".into(), family: "llama".into(), parameters: 1, digest };
    let mut record = RunRecord::new(name, model, Versions::default());
    let digest = Digest::of(b"hiring, version 1");
    record.eval_sets.push(EvalSetIdentity {
        id: "hiring".into(),
        digest,
        items: 120,
        pairs: 0,
        provenance: "generated".into(),
    });
    record.scores = scores;
    record
}

/// A fixed pseudo-random number in [0, 1) for an item.
fn noise(id: usize) -> f64 {
    (id * 2_654_435_761 % 1_000_003) as f64 / 1_000_003.0
}

fn settings(margins: &[(&str, f64)]) -> CompareSettings {
    let mut settings = CompareSettings::new(Seed::new(5));
    settings.bootstrap.replicates = 1000;
    for (name, margin) in margins {
        settings.margins.set(*name, *margin);
    }
    settings
}

/// Accuracy rises from 40 % to 90 % of the items; the gap shrinks by 0.2 give or take; the noisy one moves by noise.
fn two_records() -> (RunRecord, RunRecord) {
    let hit = |share: f64| move |id: usize| f64::from(u8::from(noise(id) < share));
    let mean = Statistic::Mean;
    let base = record(
        "base",
        vec![
            score("accuracy.exact", Direction::Higher, mean.clone(), hit(0.4)),
            score("fairness.counterfactual_gap@log_odds", Direction::Lower, Statistic::MeanAbsolute, |id| {
                0.5 + noise(id)
            }),
            score("fairness.direct", Direction::Lower, mean.clone(), noise),
        ],
    );
    let causal = record(
        "causal",
        vec![
            score("accuracy.exact", Direction::Higher, mean.clone(), hit(0.9)),
            score("fairness.counterfactual_gap@log_odds", Direction::Lower, Statistic::MeanAbsolute, |id| {
                0.3 + noise(id) + 0.1 * noise(id + 999)
            }),
            score("fairness.direct", Direction::Lower, mean, |id| noise(id) + 0.1 * (noise(id + 77) - 0.5)),
        ],
    );
    (base, causal)
}

#[test]
fn verdicts_follow_direction_correction_and_margin() {
    let (base, causal) = two_records();
    let comparison = compare(&[&base, &causal], &settings(&[("fairness.direct", 0.05)])).expect("comparable");
    let candidate = &comparison.candidates[0];
    let row = |metric| candidate.row(metric, "hiring/shifted").expect("row");
    assert_eq!(comparison.family, 3);
    let accuracy = row("accuracy.exact");
    assert_eq!(accuracy.verdict, Verdict::Better);
    assert!(accuracy.difference.value.expect("value") > 0.3 && accuracy.difference.excludes_zero());
    let flips = accuracy.flips.as_ref().expect("0/1 values");
    assert!(flips.lost.is_empty() && flips.gained.len() + flips.unchanged == 120, "{flips:?}");
    assert_eq!(flips.gained.len() as f64 / 120.0, accuracy.difference.value.expect("value"));
    let gap = row("fairness.counterfactual_gap@log_odds");
    assert!(gap.verdict == Verdict::Better && gap.difference.value.expect("value") < 0.0 && gap.flips.is_none());
    let direct = row("fairness.direct");
    assert_eq!((direct.verdict, direct.no_harm), (Verdict::Equivalent, Some(true)), "{direct:?}");
    // The other way round, better is worse.
    let back = compare(&[&causal, &base], &settings(&[])).expect("comparable");
    assert_eq!(back.candidates[0].rows[0].verdict, Verdict::Worse);
    assert_eq!(back.candidates[0].rows[2].verdict, Verdict::Undecided, "no margin, no claim");
    assert!(back.candidates[0].rows[2].minimum_detectable.expect("two clusters") > 0.0);
}

#[test]
fn the_family_spans_all_candidates() {
    let (base, causal) = two_records();
    let comparison = compare(&[&base, &causal, &causal, &base], &settings(&[])).expect("comparable");
    assert_eq!(comparison.family, 9);
    let names: Vec<&str> = comparison.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    assert_eq!(names, ["causal", "causal (2)", "base (2)"]);
    let accuracy = &comparison.candidates[0].rows[0];
    let (p, adjusted) = (accuracy.p_value.expect("p"), accuracy.adjusted_p.expect("adjusted"));
    assert!((adjusted / p - 9.0).abs() < 3.0, "{p} {adjusted}");
    let itself = &comparison.candidates[2].rows[1];
    assert_eq!((itself.difference.value, itself.p_value, itself.verdict), (Some(0.0), Some(1.0), Verdict::Undecided));
}

#[test]
fn exploratory_metrics_stay_out_of_the_family() {
    let (base, causal) = two_records();
    let mut settings = settings(&[]);
    settings.headline = Some(vec!["accuracy.exact".into(), "fairness.counterfactual_gap".into()]);
    let comparison = compare(&[&base, &causal], &settings).expect("comparable");
    assert_eq!(comparison.family, 2);
    let rows = &comparison.candidates[0].rows;
    assert_eq!(rows.iter().map(|row| row.headline).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(rows[2].p_value, rows[2].adjusted_p, "a family of one");
}

#[test]
fn descriptive_metrics_change_but_are_neither_better_nor_worse() {
    let of = |name: &str, shift: f64| {
        record(
            name,
            vec![score("fairness.gender_gap", Direction::Descriptive, Statistic::Mean, |id| noise(id) + shift)],
        )
    };
    let mut settings = settings(&[("fairness", 0.05)]);
    settings.headline = Some(vec!["fairness.gender_gap".into()]);
    let verdict = |shift: f64| {
        let comparison = compare(&[&of("a", 0.0), &of("b", shift)], &settings).expect("comparable");
        comparison.candidates[0].rows[0].clone()
    };
    assert_eq!(verdict(0.3).verdict, Verdict::Changed);
    let same = verdict(0.0);
    assert_eq!(
        (same.verdict, same.equivalence, same.no_harm),
        (Verdict::Equivalent, Some(Equivalence::Equivalent), None)
    );
}

/// Two records of `clusters` clusters whose second is higher by `shift` of the item's number.
fn few(clusters: usize, shift: impl Fn(usize) -> f64) -> [RunRecord; 2] {
    let of = |name: &str, value: &dyn Fn(usize) -> f64| {
        let mut score = score("accuracy.exact", Direction::Higher, Statistic::Mean, value);
        score.items.truncate(2 * clusters);
        record(name, vec![score])
    };
    [of("a", &noise), of("b", &|id| noise(id) + shift(id))]
}

#[test]
fn too_few_clusters_for_permutations_get_a_t_test() {
    let [a, b] = few(4, |id| 1.0 + 0.1 * noise(id + 5));
    let comparison = compare(&[&a, &b], &settings(&[])).expect("comparable");
    let row = &comparison.candidates[0].rows[0];
    // Four clusters have no permutation p-value below 2/2⁴; the shift is large against its spread.
    assert_eq!((row.test, row.verdict, &row.caution), (Some(Test::ClusterT), Verdict::Better, &None));
    assert!(row.p_value.expect("p") < 1e-3, "{row:?}");
    // Without spread there is no t; the permutation test stands, and what it cannot do is said.
    let [a, b] = few(4, |_| 1.0);
    let comparison = compare(&[&a, &b], &settings(&[])).expect("comparable");
    let row = &comparison.candidates[0].rows[0];
    assert_eq!((row.p_value, row.test, row.verdict), (Some(0.125), Some(Test::Permutation), Verdict::Undecided));
    assert!(row.caution.as_ref().is_some_and(|caution| caution.contains("4 clusters")), "{row:?}");
    // Eight clusters resolve a family of one (2/2⁸ < 0.05), not one of 27.
    let [a, b] = few(8, |id| 1.0 + 0.1 * noise(id + 5));
    let test =
        |records: &[&RunRecord]| compare(records, &settings(&[])).expect("comparable").candidates[0].rows[0].test;
    assert_eq!(test(&[&a, &b]), Some(Test::Permutation));
    assert_eq!(test(&std::iter::once(&a).chain([&b; 27]).collect::<Vec<_>>()), Some(Test::ClusterT));
}

#[test]
fn other_eval_sets_are_refused_by_name_and_digest() {
    let (base, mut causal) = two_records();
    causal.eval_sets[0].digest = Digest::of(b"hiring, version 2");
    let error = compare(&[&base, &causal], &settings(&[])).expect_err("refused").to_string();
    let digests = [&base.eval_sets[0].digest, &causal.eval_sets[0].digest];
    assert!(error.contains("`hiring`") && digests.iter().all(|digest| error.contains(digest.as_str())), "{error}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let (base, causal) = two_records();
    assert!(matches!(compare(&[&base], &settings(&[])), Err(CompareError::TooFew(1))));
    let empty = record("empty", Vec::new());
    assert!(matches!(compare(&[&base, &empty], &settings(&[])), Err(CompareError::NothingInCommon { .. })));
    let mut other = causal.clone();
    other.scores[0].version = 2;
    let error = compare(&[&base, &other], &settings(&[])).expect_err("refused").to_string();
    assert!(error.contains("accuracy.exact") && error.contains("version 1 and version 2"), "{error}");
    let mut twice = causal.clone();
    twice.scores.push(twice.scores[0].clone());
    assert!(matches!(compare(&[&base, &twice], &settings(&[])), Err(CompareError::Twice { .. })));
    let mut fewer = causal.clone();
    fewer.scores[0].items.pop();
    fewer.scores[1].estimate = crate::stats::Estimate::undefined("the total effect covers 0", 0, 0);
    fewer.scores[2].metric = "fairness.renamed".into();
    let comparison = compare(&[&base, &fewer], &settings(&[])).expect("the rest is comparable");
    let rows = &comparison.candidates[0].rows;
    assert!(rows[0].difference.undefined.as_ref().is_some_and(|reason| reason.contains("1 items are only in")));
    let reason = rows[1].difference.undefined.as_deref();
    assert_eq!(reason, Some("undefined in causal: the total effect covers 0"));
    assert_eq!(comparison.candidates[0].unmatched.len(), 2);
    assert_eq!(comparison.family, 0);
}

#[test]
fn the_table_and_the_json_carry_the_comparison() {
    let (base, causal) = two_records();
    let comparison = compare(&[&base, &causal], &settings(&[("fairness.direct", 0.05)])).expect("comparable");
    let table = comparison.table();
    for part in
        ["causal against base", "accuracy.exact", "better", "equivalent within ±0.050", "3 headline tests", "0 → 1"]
    {
        assert!(table.contains(part), "{part} is missing:\n{table}");
    }
    let json = serde_json::to_string(&comparison).expect("serialises");
    assert_eq!(serde_json::from_str::<Comparison>(&json).expect("reads back"), comparison);
}
