//! Statistics on data: intervals cover what they promise, and published effects are met from their inputs.

use counterpath::base::{Seed, seed};
use counterpath::stats::{
    Bootstrap, Equivalence, Estimate, Interval, Item, Roc, RocPoint, Statistic, benjamini_hochberg, clustered_mean,
    delong, equivalence, equivalence_level, estimate, holm, minimum_detectable_effect, odds, odds_ratio_effect,
    paired_difference, sign_flip, two_level, wilson,
};
use proptest::prelude::*;
use serde_json::Value;

use super::shared::{json, shared_dir};

const SIMULATIONS: usize = 800;

/// How often, of `SIMULATIONS` data sets of their own streams, the interval holds the truth.
fn coverage(name: &str, truth: f64, interval: impl Fn(&Seed) -> Option<Interval>) -> f64 {
    let root = Seed::new(20_240_611).fork(name);
    let covers = |simulation: &usize| {
        let interval = interval(&root.fork(&simulation.to_string())).expect("an interval");
        interval.low <= truth && truth <= interval.high
    };
    (0..SIMULATIONS).filter(covers).count() as f64 / SIMULATIONS as f64
}

fn bootstrap(seed: &Seed) -> Bootstrap {
    Bootstrap { replicates: 600, level: 0.95, seed: seed.fork("bootstrap") }
}

/// `clusters` clusters of five items: value = 1 + cluster effect + noise, both standard normal, so that items of one
/// cluster correlate at ½. The weight is 1 or 2 by turns, the group alternates.
fn clustered(seed: &Seed, clusters: usize) -> Vec<Item> {
    let mut rng = seed.fork("data").rng();
    let mut items = Vec::new();
    for cluster in 0..clusters {
        let effect = seed::normal(&mut rng);
        for within in 0..5 {
            items.push(Item {
                id: format!("{cluster}.{within}"),
                cluster: cluster.to_string(),
                value: 1.0 + effect + seed::normal(&mut rng),
                group: Some(if within % 2 == 0 { "in" } else { "out" }.into()),
                weight: Some(1.0 + (within % 2) as f64),
            });
        }
    }
    items
}

fn nominal(name: &str, covered: f64) {
    assert!((0.92..=0.97).contains(&covered), "{name}: a 95 % interval covers {covered}");
}

#[test]
fn the_cluster_bootstrap_covers_what_it_promises() {
    let of = |statistic: Statistic, shift: f64| {
        move |seed: &Seed| -> Option<Interval> {
            let mut items = clustered(seed, 40);
            items.iter_mut().filter(|item| item.group.as_deref() == Some("in")).for_each(|item| item.value += shift);
            estimate(&items, &statistic, &bootstrap(seed)).interval
        }
    };
    nominal("mean", coverage("mean", 1.0, of(Statistic::Mean, 0.0)));
    // E[5·1]/E[3·1 + 2·2].
    nominal("ratio", coverage("ratio", 5.0 / 7.0, of(Statistic::Ratio, 0.0)));
    let difference = Statistic::GroupDifference { minuend: "in".into(), subtrahend: "out".into() };
    nominal("group difference", coverage("group difference", 0.5, of(difference, 0.5)));
    // Cluster effects and noise have expectation 0 on the scale of the ratio, whose exponent is taken.
    nominal("exp ratio", coverage("exp ratio", (5.0f64 / 7.0).exp(), of(Statistic::ExpRatio, 0.0)));
    // The group "out" is the worst by 0.5: its mean is 1.
    nominal("worst group", coverage("worst group", 1.0, of(Statistic::WorstGroup, 0.5)));
    // |N(1, 2)| has the mean 2/√π · e^(−1/4) + 2Φ(1/√2) − 1.
    nominal("mean absolute", coverage("mean absolute", 1.399_282_5, of(Statistic::MeanAbsolute, 0.0)));
    // Scores of variance 2, one apart: Φ(1/2) between clusters, Φ(1/√2) in the 1/40 of pairs within one.
    nominal("auc", coverage("auc", 0.6932, of(Statistic::Auc { positive: "in".into() }, 1.0)));
}

#[test]
fn ignoring_clusters_breaks_the_promise() {
    let covered = coverage("mean", 1.0, |seed| {
        let mut items = clustered(seed, 40);
        items.iter_mut().for_each(|item| item.cluster = item.id.clone());
        estimate(&items, &Statistic::Mean, &bootstrap(seed)).interval
    });
    // The error is too small by √(1 + 4·½) = 1.73: z = 1.96/1.73 covers 0.742.
    assert!((0.68..0.81).contains(&covered), "{covered}");
}

#[test]
fn a_paired_difference_covers_and_needs_its_pairing() {
    let run = |seed: &Seed| {
        let first = clustered(seed, 40);
        let mut rng = seed.fork("second").rng();
        let noise =
            |item: &Item, rng: &mut _| Item { value: item.value - 0.3 + 0.5 * seed::normal(rng), ..item.clone() };
        let second: Vec<Item> = first.iter().map(|item| noise(item, &mut rng)).collect();
        (first, second)
    };
    let paired = |seed: &Seed| {
        let (first, second) = run(seed);
        paired_difference(&first, &second, &Statistic::Mean, &bootstrap(seed)).expect("aligned").difference
    };
    nominal("paired", coverage("paired", 0.3, |seed| paired(seed).interval));
    let seed = Seed::new(3);
    let (first, _) = run(&seed);
    let width = |estimate: &Estimate| estimate.interval.map(|interval| interval.high - interval.low).expect("interval");
    let alone = estimate(&first, &Statistic::Mean, &bootstrap(&seed));
    assert!(width(&paired(&seed)) * 3.0 < width(&alone), "what the two runs share cancels");
}

#[test]
fn closed_forms_cover_too() {
    // Eight clusters: few enough that the bootstrap is too narrow and Student's t is called for.
    nominal("t", coverage("t", 1.0, |seed| clustered_mean(&clustered(seed, 8), 0.95).interval));
    nominal(
        "wilson",
        coverage("wilson", 0.1, |seed| {
            let mut rng = seed.rng();
            let hits = (0..60).filter(|_| seed::uniform(&mut rng) < 0.1).count();
            wilson(hits, 60, 0.95)
        }),
    );
    nominal(
        "delong",
        coverage("delong", 0.760_249_9, |seed| {
            // Unit normals one apart: AUC = Φ(1/√2).
            let mut rng = seed.rng();
            let mut draw = |mean: f64| -> Vec<f64> { (0..50).map(|_| mean + seed::normal(&mut rng)).collect() };
            let (positive, negative) = (draw(1.0), draw(0.0));
            delong(&positive, &negative).and_then(|delong| delong.interval(0.95))
        }),
    );
}

#[test]
fn two_levels_cover_where_one_does_not() {
    // Twelve training seeds, each with its own shift of standard deviation ½ on the same items.
    let runs = |seed: &Seed| -> Vec<Vec<Item>> {
        let items = clustered(seed, 40);
        let mut rng = seed.fork("seeds").rng();
        let mut shifted = |_| {
            let shift = 0.5 * seed::normal(&mut rng);
            items.iter().map(|item| Item { value: item.value + shift, ..item.clone() }).collect()
        };
        (0..12).map(&mut shifted).collect()
    };
    let covered = coverage("two level", 1.0, |seed| {
        let runs = runs(seed);
        let views: Vec<&[Item]> = runs.iter().map(Vec::as_slice).collect();
        two_level(&views, &Statistic::Mean, &bootstrap(seed)).interval
    });
    nominal("two level", covered);
    let one = coverage("two level", 1.0, |seed| estimate(&runs(seed)[0], &Statistic::Mean, &bootstrap(seed)).interval);
    assert!(one < 0.6, "one seed's interval speaks of that seed alone: {one}");
}

#[test]
fn equivalence_and_power_keep_their_rates() {
    // The closed form of the error, known in advance: differences of clusters of five are N(δ, (1 + 1/5)).
    let clusters = 40;
    let error = (1.2f64 / clusters as f64).sqrt();
    let rate = |name: &str, difference: f64, verdict: &dyn Fn(&Seed, &[Item]) -> bool| {
        let root = Seed::new(99).fork(name);
        let once = |simulation: &usize| {
            let seed = root.fork(&simulation.to_string());
            let mut items = clustered(&seed, clusters);
            items.iter_mut().for_each(|item| item.value += difference - 1.0);
            verdict(&seed, &items)
        };
        (0..SIMULATIONS).filter(once).count() as f64 / SIMULATIONS as f64
    };
    let margin = 4.0 * error;
    let equivalent = |seed: &Seed, items: &[Item]| {
        let resampling = Bootstrap { level: equivalence_level(0.05), ..bootstrap(seed) };
        let interval = estimate(items, &Statistic::Mean, &resampling).interval.expect("an interval");
        equivalence(&interval, margin) == Equivalence::Equivalent
    };
    // On the edge of the margin the claim is false and may be made in 5 % of the cases; at 0 it is true.
    let on_the_edge = rate("edge", margin, &equivalent);
    assert!((0.025..0.085).contains(&on_the_edge), "{on_the_edge}");
    assert!(rate("inside", 0.0, &equivalent) > 0.9);
    // A true difference as large as the minimum detectable one is found in 80 % of the cases.
    let found = |seed: &Seed, items: &[Item]| sign_flip(items, 400, seed).expect("finite") < 0.05;
    let power = rate("power", minimum_detectable_effect(error, 0.05, 0.8), &found);
    assert!((0.74..0.86).contains(&power), "{power}");
}

#[test]
fn sign_flips_reject_a_true_null_as_often_as_they_say() {
    let rejected = |by_cluster: bool| {
        let test = |simulation: &usize| {
            let seed = Seed::new(7).fork(&simulation.to_string());
            let mut items = clustered(&seed, 30);
            for item in &mut items {
                item.value -= 1.0;
                if !by_cluster {
                    item.cluster = item.id.clone();
                }
            }
            sign_flip(&items, 400, &seed).expect("finite") < 0.05
        };
        (0..SIMULATIONS).filter(test).count() as f64 / SIMULATIONS as f64
    };
    let (by_cluster, by_item) = (rejected(true), rejected(false));
    // 800 tests at 0.05 have a standard error of 0.0077.
    assert!((0.027..0.073).contains(&by_cluster), "{by_cluster}");
    assert!(by_item > 0.18, "flipping items of one cluster apart is no test: {by_item}");
}

proptest! {
    /// Adjusting never makes a p-value smaller, Holm is at least as strict as Benjamini–Hochberg, and both keep order.
    #[test]
    fn adjusted_p_values_are_ordered(p in prop::collection::vec(0.0f64..=1.0, 0..30)) {
        let (strict, lenient) = (holm(&p), benjamini_hochberg(&p));
        for (index, ((&p_i, &h), &q)) in p.iter().zip(&strict).zip(&lenient).enumerate() {
            prop_assert!(p_i <= q + 1e-15 && q <= h + 1e-15 && h <= 1.0);
            for other in index..p.len() {
                prop_assert!((p_i < p[other]) <= (h <= strict[other] && q <= lenient[other]));
            }
        }
    }

    /// Reversing the scores mirrors an AUC; a strictly increasing map leaves it; it is the area under the points.
    #[test]
    fn auc_is_a_rank_statistic(scores in prop::collection::vec((0u8..12, any::<bool>()), 2..60)) {
        let auc = |map: fn(f64) -> f64| {
            let item = |(id, &(score, positive)): (usize, &(u8, bool))| Item {
                id: id.to_string(),
                cluster: (id % 7).to_string(),
                value: map(f64::from(score)),
                group: Some(positive.to_string()),
                weight: None,
            };
            let items: Vec<Item> = scores.iter().enumerate().map(item).collect();
            Statistic::Auc { positive: "true".into() }.evaluate(&items).ok()
        };
        let side = |wanted: bool| -> Vec<f64> {
            scores.iter().filter(|(_, positive)| *positive == wanted).map(|(score, _)| f64::from(*score)).collect()
        };
        let (plain, roc) = (auc(|score| score), Roc::new(&side(true), &side(false)));
        prop_assert_eq!(plain, auc(|score| score.exp()));
        prop_assert_eq!(plain.is_some(), roc.is_some());
        if let (Some(plain), Some(mirrored), Some(roc)) = (plain, auc(|score| -score), roc) {
            prop_assert!((plain + mirrored - 1.0).abs() < 1e-12);
            let strip = |pair: &[RocPoint]| (pair[1].fpr - pair[0].fpr) * (pair[1].tpr + pair[0].tpr) / 2.0;
            prop_assert!((roc.points().windows(2).map(strip).sum::<f64>() - plain).abs() < 1e-12);
        }
    }

    /// An interval moves with its data: shifting every value shifts value and interval, and the items' order is nothing.
    #[test]
    fn intervals_are_equivariant(values in prop::collection::vec(-5.0f64..5.0, 8..40), shift in -3.0f64..3.0) {
        let items = |shift: f64, reverse: bool| {
            let item = |(id, &value): (usize, &f64)| Item {
                id: format!("{id:02}"),
                cluster: (id / 2).to_string(),
                value: value + shift,
                group: None,
                weight: None,
            };
            let mut items: Vec<Item> = values.iter().enumerate().map(item).collect();
            if reverse {
                items.reverse();
            }
            items
        };
        let bootstrap = Bootstrap { replicates: 200, level: 0.9, seed: Seed::new(1) };
        let of = |items: Vec<Item>| estimate(&items, &Statistic::Mean, &bootstrap);
        let (plain, moved, reversed) = (of(items(0.0, false)), of(items(shift, false)), of(items(0.0, true)));
        let (a, b, c) = (plain.interval.unwrap(), moved.interval.unwrap(), reversed.interval.unwrap());
        prop_assert!((b.low - a.low - shift).abs() < 1e-9 && (b.high - a.high - shift).abs() < 1e-9);
        prop_assert!((c.low - a.low).abs() < 1e-9 && (c.high - a.high).abs() < 1e-9);
        prop_assert!(a.low <= a.high);
    }
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("field `{field}`"))
}

/// Total effects of Vig et al. (2020) on Winobias, recomputed from the stored probabilities of both candidates.
#[test]
fn total_effects_of_vig_et_al_follow_from_their_probabilities() {
    let Some(shared) = shared_dir() else { return };
    for (file, examples) in [("gpt2_filtered_dev.json", 87), ("distilgpt2_filtered_dev.json", 61)] {
        let published = json(&shared.join("data/mediation/vig-results").join(file));
        let results = published["results"].as_array().expect("results");
        assert_eq!(results.len(), examples, "{file}");
        let mut items = Vec::new();
        for (index, result) in results.iter().enumerate() {
            let run = |side: &str| {
                let probability = |candidate: u8| number(result, &format!("candidate{candidate}_{side}_prob"));
                odds(probability(1), probability(2)).expect("positive probabilities")
            };
            let effect = odds_ratio_effect(run("base"), run("alt"));
            let stored = number(result, "total_effect");
            assert!((effect - stored).abs() < 1e-12, "{file} example {index}: {effect} against {stored}");
            let id = index.to_string();
            items.push(Item { cluster: id.clone(), id, value: effect, group: None, weight: None });
        }
        let mean = Statistic::Mean.evaluate(&items).expect("defined");
        let golden = number(&published, "mean_total_effect");
        assert!((mean - golden).abs() < 1e-12, "{file}: {mean} against {golden}");
        // The ratio is formed per example: the ratio of the mean odds is another number.
        let mean_odds = |side: &str| {
            let total: f64 = results.iter().map(|result| number(result, &format!("odds_{side}"))).sum();
            total / examples as f64
        };
        let of_means = odds_ratio_effect(mean_odds("base"), mean_odds("alt"));
        assert!((of_means - golden).abs() > 1e-3, "{file}: {of_means}");
    }
}
