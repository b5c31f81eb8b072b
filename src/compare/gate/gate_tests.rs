use std::path::Path;

use super::*;
use crate::base::{Digest, Seed, files, seed};
use crate::record::{ModelIdentity, Versions};
use crate::stats::{Bootstrap, Direction, Item, MetricScore, Objective, Statistic, estimate};

fn score(metric: &str, direction: Direction, values: &[f64]) -> MetricScore {
    let item = |(id, &value): (usize, &f64)| Item {
        id: format!("{id:05}"),
        cluster: format!("{:05}", id / 2),
        value,
        group: None,
        weight: None,
    };
    let items: Vec<Item> = values.iter().enumerate().map(item).collect();
    let bootstrap = Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(0) };
    MetricScore {
        metric: metric.into(),
        version: 1,
        population: "task".into(),
        objective: Objective::Accuracy,
        unit: "share".into(),
        direction,
        estimate: estimate(&items, &Statistic::Mean, &bootstrap),
        statistic: Statistic::Mean,
        items,
        note: String::new(),
    }
}

fn record(name: &str, scores: Vec<MetricScore>) -> RunRecord {
    let digest = Digest::of(b"weights");
    let model = ModelIdentity { source: "embedded".into(), family: "llama".into(), parameters: 1, digest };
    let mut record = RunRecord::new(name, model, Versions::default());
    record.scores = scores;
    record
}

fn rules(text: &str) -> Rules {
    files::parse_toml(Path::new("gate.toml"), text).expect("rules")
}

/// `n` items around ½, and the same moved by `shift` on average, with noise of standard deviation 0.1.
fn runs(n: usize, shift: f64, direction: Direction) -> [RunRecord; 2] {
    let mut rng = Seed::new(4).fork("runs").rng();
    let base: Vec<f64> = (0..n).map(|_| 0.5 + 0.3 * seed::normal(&mut rng)).collect();
    let noise: Vec<f64> = (0..n).map(|_| 0.1 * seed::normal(&mut rng)).collect();
    let mean = noise.iter().sum::<f64>() / n as f64;
    let moved: Vec<f64> = base.iter().zip(&noise).map(|(value, noise)| value + shift + noise - mean).collect();
    [record("base", vec![score("acc@x", direction, &base)]), record("new", vec![score("acc@x", direction, &moved)])]
}

fn outcome(runs: &[RunRecord; 2], text: &str) -> GateCheck {
    let held = gate(&rules(text), &[&runs[0], &runs[1]]).expect("held");
    assert_eq!(held.checks.len(), 1, "{held:?}");
    held.checks[0].clone()
}

#[test]
fn a_supported_regression_fails_and_an_undecided_one_says_how_many_items_it_needs() {
    let text = "[[rule]]\nmetric = \"acc\"\nmargin = 0.02";
    let lost = outcome(&runs(400, -0.06, Direction::Higher), text);
    assert_eq!(lost.outcome, Outcome::Failed, "{lost:?}");
    assert!(lost.message.contains("worse by more than the margin") && lost.items_to_decide.is_none());
    let kept = outcome(&runs(400, 0.0, Direction::Higher), text);
    assert_eq!(kept.outcome, Outcome::Passed, "{kept:?}");
    let open = outcome(&runs(20, -0.01, Direction::Higher), text);
    assert_eq!(open.outcome, Outcome::Undecided, "{open:?}");
    let needed = open.items_to_decide.expect("an error");
    assert!(needed > 20 && open.message.contains(&format!("about {needed} items")), "{open:?}");
    // The same rise of a metric that should fall is the same harm.
    let risen = outcome(&runs(400, 0.06, Direction::Lower), text);
    assert_eq!(risen.outcome, Outcome::Failed);
    let fallen = outcome(&runs(400, -0.06, Direction::Lower), text);
    assert_eq!(fallen.outcome, Outcome::Passed);
}

#[test]
fn what_the_items_need_decides_them() {
    // With as many items as the undecided check asks for, the same shift is decided.
    let text = "[[rule]]\nmetric = \"acc\"\nmargin = 0.02";
    let open = outcome(&runs(60, -0.035, Direction::Higher), text);
    assert_eq!(open.outcome, Outcome::Undecided, "{open:?}");
    let needed = open.items_to_decide.expect("an error");
    let decided = outcome(&runs(3 * needed, -0.035, Direction::Higher), text);
    assert_ne!(decided.outcome, Outcome::Undecided, "{needed}: {decided:?}");
}

#[test]
fn a_true_harm_at_the_margin_fails_as_seldom_as_alpha() {
    let rules = rules("[[rule]]\nmetric = \"acc\"\nmargin = 0.02\n");
    let failed = (0..1000).filter(|simulation| {
        let mut rng = Seed::new(9).fork(&simulation.to_string()).rng();
        let base: Vec<f64> = (0..40).map(|_| seed::normal(&mut rng)).collect();
        let moved: Vec<f64> = base.iter().map(|value| value - 0.02 + 0.1 * seed::normal(&mut rng)).collect();
        let [base, moved] = [base, moved].map(|values| record("x", vec![score("acc", Direction::Higher, &values)]));
        let rules = Rules { replicates: 100, ..rules.clone() };
        gate(&rules, &[&base, &moved]).expect("held").checks[0].outcome == Outcome::Failed
    });
    // Binomial(1000, 0.05) has the standard deviation 6.9.
    let failed = failed.count();
    assert!((25..=75).contains(&failed), "{failed}");
}

#[test]
fn what_is_missing_fails_by_name() {
    let [base, mut new] = runs(40, 0.0, Direction::Higher);
    new.scores.clear();
    let held = gate(&rules("require = [\"f1\"]\n[[rule]]\nmetric = \"acc\"\nmargin = 0.1\n[[rule]]\nmetric = \"em\"\nat_least = 0.5\n[[rule]]\nmetric = \"em\"\nat_least = 0.5\nrequired = false"), &[&base, &new]).expect("held");
    let told: Vec<(Outcome, &str)> = held.checks.iter().map(|check| (check.outcome, check.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (Outcome::Missing, "`new` has no metric `f1`"),
            (Outcome::Missing, "`new` has no acc@x of task"),
            (Outcome::Missing, "no metric of `base` is what the rule speaks of"),
        ]
    );
    assert_eq!(held.closing(), 3);
}

#[test]
fn thresholds_are_held_by_value_or_by_interval() {
    let values: Vec<f64> = (0..100).map(|id| f64::from(u8::from(id % 10 < 7))).collect();
    let only = record("only", vec![score("acc", Direction::Higher, &values)]);
    let held = |text: &str| gate(&rules(text), &[&only]).expect("held").checks[0].outcome;
    assert_eq!(held("[[rule]]\nmetric = \"acc\"\nmin_pass_rate = 0.7"), Outcome::Passed);
    assert_eq!(held("[[rule]]\nmetric = \"acc\"\nmin_pass_rate = 0.71"), Outcome::Failed);
    assert_eq!(held("[[rule]]\nmetric = \"acc\"\nat_least = 0.71\njudge_by = \"interval\""), Outcome::Undecided);
    assert_eq!(held("[[rule]]\nmetric = \"acc\"\nat_least = 0.95\njudge_by = \"interval\""), Outcome::Failed);
    assert_eq!(held("[[rule]]\nmetric = \"acc\"\nat_most = 0.95\njudge_by = \"interval\""), Outcome::Passed);
    let error = gate(&rules("[[rule]]\nmetric = \"acc\"\nmargin = 0.1"), &[&only]).expect_err("no baseline");
    assert!(matches!(error, GateError::NoBaseline(1)));
}

#[test]
fn holm_counts_all_regression_checks() {
    let [base, new] = runs(400, -0.03, Direction::Higher);
    let one = gate(&rules("[[rule]]\nmetric = \"acc\"\nmargin = 0.02"), &[&base, &new]).expect("held");
    let three = gate(&rules("[[rule]]\nmetric = \"acc\"\nmargin = 0.02"), &[&base, &new, &new, &new]).expect("held");
    assert_eq!((one.family, three.family), (1, 3));
    let (p, q) = (one.checks[0].adjusted_p.expect("p"), three.checks[0].adjusted_p.expect("p"));
    assert!((q - 3.0 * p).abs() < 1e-12, "{p} {q}");
}

#[test]
fn xml_and_markdown_cannot_be_broken_by_names() {
    let [mut base, mut new] = runs(40, 0.0, Direction::Higher);
    for record in [&mut base, &mut new] {
        record.scores[0].metric = "a<b> & \"c\" | d\u{1}".into();
        record.scores[0].population = "x|y".into();
    }
    let held = gate(&rules("[[rule]]\nmetric = \"*\"\nmargin = 0.5"), &[&base, &new]).expect("held");
    let xml = held.junit();
    assert!(xml.contains("a&lt;b&gt; &amp; &quot;c&quot; | d  of x|y") && !xml.contains('\u{1}'), "{xml}");
    assert!(held.markdown().contains("a&lt;b> &amp; \"c\" \\| d"), "{}", held.markdown());
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    let refuse = |text: &str| {
        let folder = std::env::temp_dir().join(format!("counterpath-gate-{}", std::process::id()));
        let path = folder.join(format!("{}.toml", Digest::of(text.as_bytes()).short()));
        files::write_atomic(&path, text.as_bytes()).expect("write");
        let message = Rules::load(&path).expect_err("refused").to_string();
        files::remove(&path).expect("remove");
        message
    };
    assert!(refuse("").contains("lets everything pass"));
    assert!(refuse("[[rule]]\nmargin = 0.1").contains("neither `metric` nor `objective`"));
    assert!(refuse("[[rule]]\nmetric = \"a\"").contains("asks for nothing"));
    assert!(refuse("[[rule]]\nmetric = \"a\"\nmargin = -1").contains("0 or above"));
    assert!(refuse("alpha = 0.7\n[[rule]]\nmetric = \"a\"\nmargin = 1").contains("alpha"));
    assert!(refuse("[[rule]]\nmetric = \"a\"\nmarign = 1").contains("did you mean `margin`"));
}
