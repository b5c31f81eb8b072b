//! Every interval covers what it promises, and the check would notice if it did not: the same intervals, three tenths
//! narrower, must fall out of the band. Simulations at fixed seeds.

use counterpath::base::{Seed, seed};
use counterpath::stats::ErrorKind;
use counterpath::stats::{
    Bootstrap, Interval, Item, Statistic, benjamini_hochberg, clopper_pearson_upper, clustered_mean, delong, estimate,
    holm, mcnemar_exact, paired_difference, standard_error, two_level, two_level_difference, unpaired_difference,
    wilson,
};

const SIMULATIONS: usize = 2000;

/// What a 95 % interval may cover in 2000 simulations: three standard errors (0.0049) around 0.95, and 0.01 more below for what a
/// bootstrap of some tens of clusters lacks.
const BAND: std::ops::RangeInclusive<f64> = 0.925..=0.965;

/// Coverage of the intervals, and of the same three tenths narrower about their middle.
fn coverage(name: &str, truth: f64, interval: impl Fn(&Seed) -> Option<Interval>) -> (f64, f64) {
    let root = Seed::new(20_261_129).fork(name);
    let (mut covered, mut narrow) = (0, 0);
    for simulation in 0..SIMULATIONS {
        let found = interval(&root.fork(&simulation.to_string())).expect("an interval");
        covered += usize::from(found.low <= truth && truth <= found.high);
        let (middle, half) = ((found.low + found.high) / 2.0, 0.7 * (found.high - found.low) / 2.0);
        narrow += usize::from((truth - middle).abs() <= half);
    }
    (covered as f64 / SIMULATIONS as f64, narrow as f64 / SIMULATIONS as f64)
}

fn promised(name: &str, truth: f64, interval: impl Fn(&Seed) -> Option<Interval>) {
    let (covered, narrow) = coverage(name, truth, interval);
    assert!(BAND.contains(&covered), "{name}: a 95 % interval covers {covered}");
    assert!(!BAND.contains(&narrow), "{name}: intervals three tenths narrower still cover {narrow}");
}

fn bootstrap(seed: &Seed) -> Bootstrap {
    Bootstrap { replicates: 300, level: 0.95, seed: seed.fork("bootstrap") }
}

/// Clusters of three items: cluster effect and noise, both standard normal; groups take turns.
fn clustered(seed: &Seed, clusters: usize) -> Vec<Item> {
    let mut rng = seed.fork("data").rng();
    let mut items = Vec::new();
    for cluster in 0..clusters {
        let effect = seed::normal(&mut rng);
        for within in 0..3 {
            items.push(Item {
                id: format!("{cluster}.{within}"),
                cluster: cluster.to_string(),
                value: effect + seed::normal(&mut rng),
                group: Some(if (cluster + within) % 2 == 0 { "in" } else { "out" }.into()),
                weight: Some(1.0 + (within % 2) as f64),
            });
        }
    }
    items
}

/// A second run on the same items: moved by −`shift`, with noise of its own.
fn moved(seed: &Seed, items: &[Item], shift: f64) -> Vec<Item> {
    let mut rng = seed.fork("second").rng();
    items.iter().map(|item| Item { value: item.value - shift + 0.5 * seed::normal(&mut rng), ..item.clone() }).collect()
}

#[test]
fn paired_differences_of_whole_statistics_cover() {
    let paired = |statistic: Statistic, truth: f64| {
        let name = format!("paired {statistic:?}");
        promised(&name, truth, |seed| {
            let first = clustered(seed, 40);
            let second = moved(seed, &first, 0.3);
            paired_difference(&first, &second, &statistic, &bootstrap(seed)).expect("aligned").difference.interval
        });
    };
    paired(Statistic::Mean, 0.3);
    // Σ 3·0.3 / Σ (1 + 2 + 1).
    paired(Statistic::Ratio, 0.225);
    paired(Statistic::GroupDifference { minuend: "in".into(), subtrahend: "out".into() }, 0.0);
}

#[test]
fn paired_aucs_cover_by_bootstrap_and_by_delong() {
    // Scores with a shift of 1 for positives; the second run has noise of variance ½ more: Φ(1/√2) less Φ(1/√3).
    let truth = 0.760_249_9 - 0.718_148_6;
    let scores = |seed: &Seed| {
        let mut rng = seed.rng();
        let mut draw = |shift: f64| -> (Vec<f64>, Vec<f64>) {
            let first: Vec<f64> = (0..60).map(|_| shift + seed::normal(&mut rng)).collect();
            let second = first.iter().map(|x| x + 0.5f64.sqrt() * seed::normal(&mut rng)).collect();
            (first, second)
        };
        [draw(1.0), draw(0.0)]
    };
    promised("DeLong difference", truth, |seed| {
        let [positive, negative] = scores(seed);
        let first = delong(&positive.0, &negative.0).expect("scores");
        let less = first.less(&delong(&positive.1, &negative.1).expect("scores")).expect("the same items");
        let half = 1.959_964 * less.variance.sqrt();
        Some(Interval { low: less.difference - half, high: less.difference + half, level: 0.95 })
    });
    promised("AUC difference", truth, |seed| {
        let [positive, negative] = scores(seed);
        let items = |positive: &[f64], negative: &[f64]| -> Vec<Item> {
            let side = |values: &[f64], group: &str| -> Vec<(f64, String)> {
                values.iter().map(|value| (*value, group.to_owned())).collect()
            };
            let all = side(positive, "in").into_iter().chain(side(negative, "out"));
            let item = |(id, (value, group)): (usize, (f64, String))| Item {
                id: format!("{id:03}"),
                cluster: format!("{id:03}"),
                value,
                group: Some(group),
                weight: None,
            };
            all.enumerate().map(item).collect()
        };
        let (first, second) = (items(&positive.0, &negative.0), items(&positive.1, &negative.1));
        let statistic = Statistic::Auc { positive: "in".into() };
        paired_difference(&first, &second, &statistic, &bootstrap(seed)).expect("aligned").difference.interval
    });
}

#[test]
fn closed_forms_cover() {
    promised("t on 6 clusters", 0.0, |seed| clustered_mean(&clustered(seed, 6), 0.95).interval);
    // A share's coverage jumps with its number of hits; 0.3 of 200 lies between the jumps.
    promised("Wilson", 0.3, |seed| {
        let mut rng = seed.rng();
        wilson((0..200).filter(|_| seed::uniform(&mut rng) < 0.3).count(), 200, 0.95)
    });
    promised("unpaired", 0.3, |seed| {
        let part = |seed: &Seed, shift: f64| {
            let items = clustered(seed, 60);
            let mean = items.iter().map(|item| item.value).sum::<f64>() / items.len() as f64;
            (mean + shift, standard_error(&items, ErrorKind::Clustered).expect("clusters"), items.len())
        };
        unpaired_difference(part(&seed.fork("a"), 0.3), part(&seed.fork("b"), 0.0), 0.95).difference.interval
    });
}

#[test]
fn an_exact_limit_covers_at_least_what_it_says() {
    let root = Seed::new(5).fork("limit");
    let covered = |level: f64| {
        let below = |simulation: &usize| {
            let mut rng = root.fork(&simulation.to_string()).rng();
            let hits = (0..40).filter(|_| seed::uniform(&mut rng) < 0.15).count();
            0.15 <= clopper_pearson_upper(hits, 40, level)
        };
        (0..SIMULATIONS).filter(below).count() as f64 / SIMULATIONS as f64
    };
    // P(X ≥ 3 | 40, 0.15) = 0.951: three hits are the fewest whose limit covers.
    let exact = covered(0.95);
    assert!((0.945..=1.0).contains(&exact), "{exact}");
    assert!(covered(0.8) < 0.945, "a limit at 0.8 is none at 0.95");
}

#[test]
fn seeds_and_items_together_cover() {
    // Ten training seeds with shifts of standard deviation ½, for each run its own half of them.
    let runs = |seed: &Seed, shift: f64, own: &str| -> Vec<Vec<Item>> {
        let items = clustered(seed, 30);
        let (mut shared, mut rng) = (seed.fork("seeds").rng(), seed.fork(own).rng());
        let mut shifted = |_| {
            let by = shift + 0.35 * seed::normal(&mut shared) + 0.35 * seed::normal(&mut rng);
            items.iter().map(|item| Item { value: item.value + by, ..item.clone() }).collect()
        };
        (0..10).map(&mut shifted).collect()
    };
    // The pigeonhole bootstrap errs on the wide side: it may cover more than the band's upper end.
    let (covered, narrow) = coverage("two level", 0.0, |seed| {
        let runs = runs(seed, 0.0, "own");
        let views: Vec<&[Item]> = runs.iter().map(Vec::as_slice).collect();
        two_level(&views, &Statistic::Mean, &bootstrap(seed)).interval
    });
    assert!((0.915..=0.985).contains(&covered) && narrow < 0.915, "two level: {covered}, {narrow}");
    let (covered, narrow) = coverage("two level difference", 0.2, |seed| {
        let (first, second) = (runs(seed, 0.2, "first"), runs(seed, 0.0, "second"));
        let a: Vec<&[Item]> = first.iter().map(Vec::as_slice).collect();
        let b: Vec<&[Item]> = second.iter().map(Vec::as_slice).collect();
        two_level_difference(&a, &b, &Statistic::Mean, &bootstrap(seed)).expect("ten and ten").interval
    });
    // Ten seeds and percentiles: the t quantile is missing, √(9/10) too.
    assert!((0.88..=0.965).contains(&covered) && narrow < 0.88, "two level difference: {covered}, {narrow}");
}

#[test]
fn the_calibration_error_covers_as_little_as_its_documentation_says() {
    // Confidence uniform on [½, 1], hits with that probability: the true error is 0, which no plug-in interval covers; so the
    // hits are 0.1 rarer, and the true error 0.1.
    let (covered, _) = coverage("calibration", 0.1, |seed| {
        let mut rng = seed.rng();
        let items: Vec<Item> = (0..600)
            .map(|id| {
                let confidence = 0.5 + 0.5 * seed::uniform(&mut rng);
                let hit = f64::from(u8::from(seed::uniform(&mut rng) < confidence - 0.1));
                let id = format!("{id:04}");
                Item { cluster: id.clone(), id, value: confidence, group: None, weight: Some(hit) }
            })
            .collect();
        estimate(&items, &Statistic::CalibrationError { bins: 10 }, &bootstrap(seed)).interval
    });
    assert!((0.83..=0.965).contains(&covered), "{covered}");
}

#[test]
fn corrections_keep_their_rates_and_no_correction_does_not() {
    let root = Seed::new(77).fork("corrections");
    let (mut strict, mut plain, mut false_share) = (0, 0, 0.0);
    for simulation in 0..SIMULATIONS {
        let mut rng = root.fork(&simulation.to_string()).rng();
        let nulls: Vec<f64> = (0..10).map(|_| seed::uniform(&mut rng)).collect();
        strict += usize::from(holm(&nulls).iter().any(|p| *p < 0.05));
        plain += usize::from(nulls.iter().any(|p| *p < 0.05));
        // Ten true effects beside ten nulls.
        let found = |rng: &mut _| (seed::uniform(rng) * 0.02f64).powi(2);
        let mixed: Vec<f64> = nulls.iter().copied().chain((0..10).map(|_| found(&mut rng))).collect();
        let rejected: Vec<bool> = benjamini_hochberg(&mixed).iter().map(|q| *q < 0.05).collect();
        let (all, wrong) = (rejected.iter().filter(|r| **r).count(), rejected.iter().take(10).filter(|r| **r).count());
        false_share += wrong as f64 / all.max(1) as f64;
    }
    let rate = |count: usize| count as f64 / SIMULATIONS as f64;
    assert!((0.035..=0.065).contains(&rate(strict)), "Holm: {}", rate(strict));
    // 1 − 0.95¹⁰ = 0.40.
    assert!((0.36..=0.44).contains(&rate(plain)), "none: {}", rate(plain));
    // Benjamini–Hochberg controls at α times the share of nulls: 0.025.
    let false_share = false_share / SIMULATIONS as f64;
    assert!((0.018..=0.032).contains(&false_share), "Benjamini–Hochberg: {false_share}");
}

#[test]
fn mcnemar_is_exact_and_therefore_cautious() {
    let root = Seed::new(78).fork("mcnemar");
    let rejected = |tilt: f64| {
        let once = |simulation: &usize| {
            let mut rng = root.fork(&simulation.to_string()).rng();
            let discordant = (0..200).filter(|_| seed::uniform(&mut rng) < 0.2).count() as u64;
            let first = (0..discordant).filter(|_| seed::uniform(&mut rng) < 0.5 + tilt).count() as u64;
            mcnemar_exact(first, discordant - first) < 0.05
        };
        (0..SIMULATIONS).filter(once).count() as f64 / SIMULATIONS as f64
    };
    let size = rejected(0.0);
    assert!((0.015..=0.05).contains(&size), "{size}");
    assert!(rejected(0.3) > 0.9, "40 discordant items of which 8 in 10 fall on one side");
}
