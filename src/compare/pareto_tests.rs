use super::super::{CompareSettings, compare};
use super::*;
use crate::base::{Digest, Seed, seed};
use crate::record::{ModelIdentity, Versions};
use crate::stats::{Bootstrap, Item, Statistic, estimate};

/// Items of 60 clusters of two around `shift`, which is their mean, with noise of their own.
fn score(metric: &str, objective: Objective, direction: Direction, shift: f64, noise: &str) -> MetricScore {
    let mut rng = Seed::new(3).fork(noise).rng();
    let noise: Vec<f64> = (0..120).map(|_| 0.1 * seed::normal(&mut rng)).collect();
    let mean = noise.iter().sum::<f64>() / 120.0;
    let items: Vec<Item> = (0..120)
        .map(|id| Item {
            id: format!("{id:03}"),
            cluster: format!("{:03}", id / 2),
            value: shift + noise.get(id).copied().unwrap_or_default() - mean,
            group: None,
            weight: None,
        })
        .collect();
    let bootstrap = Bootstrap { replicates: 200, level: 0.95, seed: Seed::new(0) };
    MetricScore {
        metric: metric.into(),
        version: 1,
        population: "hiring/train".into(),
        objective,
        unit: if objective == Objective::Accuracy { "share" } else { "nats" }.into(),
        direction,
        estimate: estimate(&items, &Statistic::Mean, &bootstrap),
        statistic: Statistic::Mean,
        items,
        note: String::new(),
    }
}

fn run(name: &str, accuracy: f64, gap: f64) -> RunRecord {
    let digest = Digest::of(b"weights");
    let model = ModelIdentity { source: "embedded".into(), family: "llama".into(), parameters: 1, digest };
    let mut record = RunRecord::new(name, model, Versions::default());
    record.scores = vec![
        score("accuracy.exact", Objective::Accuracy, Direction::Higher, accuracy, &format!("accuracy {name}")),
        score("fairness.gap", Objective::Fairness, Direction::Lower, gap, &format!("gap {name}")),
    ];
    record
}

fn table(records: &[&RunRecord]) -> Pareto {
    let mut settings = CompareSettings::new(Seed::new(5));
    settings.bootstrap.replicates = 500;
    compare(records, &settings).expect("comparable").pareto.expect("two objectives")
}

#[test]
fn a_run_that_is_better_in_all_dominates_and_one_that_trades_does_not() {
    let (base, better, trade) = (run("base", 0.6, 0.5), run("better", 0.8, 0.2), run("trade", 0.5, 0.2));
    let found = table(&[&base, &better, &trade]);
    assert_eq!(found.dominance_of("better", "base"), Some(1.0));
    assert_eq!(found.dominance_of("base", "better"), Some(0.0));
    // Better in accuracy by far, equal in fairness: about half of the replicates.
    let about = found.dominance_of("better", "trade").expect("pair");
    assert!((0.02..0.98).contains(&about), "{about}");
    assert_eq!(found.dominance_of("trade", "base"), Some(0.0), "accuracy fell");
    let fronts: Vec<bool> = found.runs.iter().map(|run| run.on_front).collect();
    assert!(!fronts[0] && fronts[1], "{fronts:?}");
    assert!(found.runs[0].front_share == 0.0 && found.runs[1].front_share > 0.9);
    assert_eq!(found.missing_names(), ["robustness", "explainability", "privacy"]);
}

#[test]
fn a_gain_names_what_it_cost_and_the_price() {
    let (base, trade, free) = (run("base", 0.6, 0.5), run("trade", 0.5, 0.2), run("free", 0.7, 0.2));
    let found = table(&[&base, &trade, &free]);
    let of = |name: &str| found.trades.iter().filter(|trade| trade.candidate == name).collect::<Vec<_>>();
    let [gain] = of("trade")[..] else { panic!("one gain: {:?}", found.trades) };
    assert_eq!(gain.gained.objective, Objective::Fairness);
    let [cost] = &gain.costs[..] else { panic!("one cost") };
    assert!(cost.supported && cost.lost.objective == Objective::Accuracy);
    let (lost, gained) = (cost.lost.change.value.expect("lost"), gain.gained.change.value.expect("gained"));
    assert!((lost + 0.1).abs() < 1e-9 && (gained + 0.3).abs() < 1e-9, "{lost} {gained}");
    // Units of accuracy a nat of fairness: both counted positive.
    let price = cost.price.value.expect("price");
    assert!((price - lost / gained).abs() < 1e-12);
    let interval = cost.price.interval.expect("interval");
    assert!(interval.low < price && price < interval.high);
    let said = gain.sentence();
    assert!(said.starts_with("fairness −0.300 nats [−0.3") && said.contains(" at accuracy −10.0 points [−1"), "{said}");
    let free = of("free");
    assert!(free.len() == 2 && free.iter().all(|trade| trade.costs.is_empty()), "{free:?}");
    assert!(free[0].sentence().ends_with("no other objective worse"));
}

#[test]
fn the_same_draws_are_used_for_all_runs() {
    // A copy is equal in every replicate, so that nobody dominates.
    let (base, mut copy) = (run("base", 0.6, 0.5), run("base", 0.6, 0.5));
    copy.name = "copy".into();
    let found = table(&[&base, &copy]);
    assert_eq!((found.dominance_of("copy", "base"), found.dominance_of("base", "copy")), (Some(0.0), Some(0.0)));
    assert!(found.trades.is_empty());
    // A constant more accuracy, and nothing else: dominance in every replicate, since the noise is the same.
    copy.scores[0].items.iter_mut().for_each(|item| item.value += 1e-6);
    copy.scores[0].estimate.value = copy.scores[0].estimate.value.map(|value| value + 1e-6);
    assert_eq!(table(&[&base, &copy]).dominance_of("copy", "base"), Some(1.0));
}

#[test]
fn an_asked_metric_stands_and_one_objective_is_no_table() {
    let mut settings = CompareSettings::new(Seed::new(5));
    settings.bootstrap.replicates = 200;
    let (mut base, mut other) = (run("base", 0.6, 0.5), run("other", 0.7, 0.4));
    for (record, shift) in [(&mut base, 0.1), (&mut other, 0.2)] {
        record.scores.push(score("fairness.second", Objective::Fairness, Direction::Lower, shift, "second"));
    }
    settings.pareto.insert(Objective::Fairness, "fairness.second".into());
    let found = compare(&[&base, &other], &settings).expect("comparable").pareto.expect("table");
    assert_eq!(found.objectives[1].metric, "fairness.second");
    for record in [&mut base, &mut other] {
        record.scores.truncate(1);
    }
    assert_eq!(compare(&[&base, &other], &settings).expect("comparable").pareto, None);
}
