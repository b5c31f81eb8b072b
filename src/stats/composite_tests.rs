use super::*;
use crate::base::Seed;
use crate::stats::{Aggregate, Bootstrap, Comparison, Contrast, estimate, paired_difference};

fn item(id: usize, cluster: usize, value: f64, group: &str, weight: f64) -> Item {
    let name = |number: usize| format!("{number:04}");
    Item { id: name(id), cluster: name(cluster), value, group: Some(group.into()), weight: Some(weight) }
}

/// Items of (value, weight).
fn answers(of: &[(f64, f64)]) -> Vec<Item> {
    of.iter().enumerate().map(|(id, &(value, weight))| item(id, id, value, "", weight)).collect()
}

const BIASED: (f64, f64) = (1.0, 1.0);
const OPPOSITE: (f64, f64) = (-1.0, 1.0);

fn score(empty: EmptyBias, scaling: Scaling) -> Statistic {
    Statistic::BiasScore(BiasScore { empty, scaling })
}

#[test]
fn a_bias_score_is_the_share_of_biased_answers_stretched_to_one() {
    // Two of three informative answers are biased: S = 1/3; four of six answers are wrong, one counts nowhere.
    let rest = [(RIGHT, 0.0), (RIGHT, 0.0), (WRONG, 0.0), (LEFT_OUT, 0.0)];
    let items = answers(&[&[BIASED, BIASED, OPPOSITE][..], &rest].concat());
    let plain = score(EmptyBias::Undefined, Scaling::None).evaluate(&items).expect("defined");
    let scaled = score(EmptyBias::Undefined, Scaling::Errors).evaluate(&items).expect("defined");
    assert!((plain - 1.0 / 3.0).abs() < 1e-15 && (scaled - 2.0 / 9.0).abs() < 1e-15, "{plain} {scaled}");
}

#[test]
fn each_variant_has_its_own_rule_for_nothing() {
    let unknown = answers(&[(RIGHT, 0.0), (RIGHT, 0.0)]);
    let opposite = answers(&[OPPOSITE, OPPOSITE]);
    let of = |empty, items: &[Item]| score(empty, Scaling::None).evaluate(items);
    assert_eq!(of(EmptyBias::Undefined, &unknown), Err(Undefined::ZeroDenominator));
    assert_eq!(of(EmptyBias::ZeroWithoutInformative, &unknown), Ok(0.0));
    assert_eq!(of(EmptyBias::ZeroWithoutBiased, &unknown), Ok(0.0));
    assert_eq!(of(EmptyBias::ZeroWithoutInformative, &opposite), Ok(-1.0));
    assert_eq!(of(EmptyBias::ZeroWithoutBiased, &opposite), Ok(0.0));
}

#[test]
fn icat_is_made_of_macro_means() {
    // Term a: two items, both stereotyped, all related; term b: one item, anti, half related. L = (1 + ½)/2, S = (1 + 0)/2.
    let items = [item(0, 0, 1.5, "", 0.5), item(1, 0, 1.5, "", 0.5), item(2, 1, 0.5, "", 1.0)];
    assert_eq!(Statistic::Icat.evaluate(&items), Ok(75.0));
}

/// The predictions that the golden values of fairlearn 0.15.0 were computed on.
fn predictions() -> Vec<Item> {
    let truth = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1];
    let predicted = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0];
    let groups = "aaaaaabbbbbbbccccccc".chars();
    let rows = truth.iter().zip(predicted).zip(groups).enumerate();
    rows.map(|(id, ((&y, p), group))| item(id, id, f64::from(p), &group.to_string(), f64::from(y))).collect()
}

#[test]
fn disparities_meet_fairlearn() {
    let items = predictions();
    let close = |rates, contrast, comparison, golden: f64| {
        let statistic = Statistic::Disparity(Disparity { rates, contrast, comparison });
        let value = statistic.evaluate(&items).expect("defined");
        assert!((value - golden).abs() < 1e-12, "{statistic:?}: {value} for {golden}");
    };
    use Comparison::{BetweenGroups, ToOverall};
    use Contrast::{Difference, Ratio};
    let (worst, mean) = (Rates::Odds(Aggregate::WorstCase), Rates::Odds(Aggregate::Mean));
    close(Rates::Selection, Difference, BetweenGroups, 0.0714285714285714);
    close(Rates::Selection, Ratio, BetweenGroups, 0.875);
    close(Rates::Selection, Difference, ToOverall, 0.050000000000000044);
    close(Rates::Selection, Ratio, ToOverall, 0.9090909090909091);
    close(Rates::Opportunity, Difference, BetweenGroups, 0.08333333333333337);
    close(Rates::Opportunity, Ratio, BetweenGroups, 0.8888888888888888);
    close(Rates::Opportunity, Difference, ToOverall, 0.050000000000000044);
    close(Rates::Opportunity, Ratio, ToOverall, 0.9333333333333333);
    close(worst, Difference, BetweenGroups, 0.16666666666666669);
    close(worst, Ratio, BetweenGroups, 0.6666666666666666);
    close(mean, Difference, BetweenGroups, 0.12500000000000003);
    close(mean, Ratio, BetweenGroups, 0.7777777777777777);
    close(worst, Difference, ToOverall, 0.09999999999999998);
    close(worst, Ratio, ToOverall, 0.8);
    close(mean, Difference, ToOverall, 0.07500000000000001);
    close(mean, Ratio, ToOverall, 0.8666666666666667);
}

#[test]
fn a_ratio_of_no_rates_and_a_missing_label_are_undefined() {
    let none: Vec<Item> = predictions().into_iter().map(|item| Item { value: 0.0, ..item }).collect();
    let disparity =
        |rates, contrast| Statistic::Disparity(Disparity { rates, contrast, comparison: Comparison::BetweenGroups });
    assert_eq!(disparity(Rates::Selection, Contrast::Ratio).evaluate(&none), Err(Undefined::NoRate));
    assert_eq!(disparity(Rates::Selection, Contrast::Difference).evaluate(&none), Ok(0.0));
    let positive: Vec<Item> = predictions().into_iter().filter(|item| item.weight == Some(1.0)).collect();
    let odds = disparity(Rates::Odds(Aggregate::Mean), Contrast::Difference);
    assert_eq!(odds.evaluate(&positive), Err(Undefined::EmptyGroup { group: "a".into() }));
}

#[test]
fn an_adjusted_mean_weighs_groups_and_not_items() {
    let items = [
        item(0, 0, 1.0, "common", 0.9),
        item(1, 1, 0.0, "rare", 0.1),
        item(2, 2, 0.0, "rare", 0.1),
        item(3, 3, 1.0, "rare", 0.1),
    ];
    let value = Statistic::AdjustedMean.evaluate(&items).expect("defined");
    assert!((value - (0.9 + 0.1 / 3.0)).abs() < 1e-15, "{value}");
    let unequal = [items[0].clone(), Item { weight: Some(0.8), id: "9".into(), ..items[0].clone() }];
    assert_eq!(Statistic::AdjustedMean.evaluate(&unequal), Err(Undefined::UnequalWeights { group: "common".into() }));
}

#[test]
fn correlation_and_slope_meet_scipy() {
    let x = [0.1, 0.4, -0.3, 0.9, 0.5, -0.8, 0.0, 0.2];
    let y = [1.2, 0.7, -0.1, 2.0, 1.1, -1.5, 0.3, 0.2];
    let items: Vec<Item> = x.iter().zip(y).enumerate().map(|(id, (&x, y))| item(id, id, y, "", x)).collect();
    // scipy.stats.pearsonr and linregress.
    let correlation = Statistic::Correlation.evaluate(&items).expect("defined");
    let slope = Statistic::Slope.evaluate(&items).expect("defined");
    assert!((correlation - 0.9340171336216153).abs() < 1e-12 && (slope - 1.884).abs() < 1e-12, "{correlation} {slope}");
    let flat: Vec<Item> = items.iter().map(|item| Item { weight: Some(0.3), ..item.clone() }).collect();
    assert_eq!(Statistic::Slope.evaluate(&flat), Err(Undefined::Constant { field: "weight" }));
}

#[test]
fn the_bootstrap_and_the_swap_see_the_whole_score() {
    let bootstrap = Bootstrap { replicates: 1000, level: 0.95, seed: Seed::new(5) };
    let rows = |shift: usize| -> Vec<Item> {
        let row = |id: usize| if (id * 7 + shift) % 10 < 7 { BIASED } else { OPPOSITE };
        answers(&(0..120).map(row).collect::<Vec<_>>())
    };
    let statistic = score(EmptyBias::Undefined, Scaling::Errors);
    let biased = estimate(&rows(0), &statistic, &bootstrap);
    let interval = biased.interval.expect("120 clusters");
    assert!((biased.value.expect("defined") - 0.4).abs() < 1e-12 && interval.low > 0.2 && interval.high < 0.6);
    let half: Vec<Item> =
        answers(&(0..120).map(|id| if id % 2 == 0 { BIASED } else { (RIGHT, 0.0) }).collect::<Vec<_>>());
    let difference = paired_difference(&rows(0), &half, &statistic, &bootstrap).expect("aligned");
    // The second run: half of the answers are informative, all of these biased and wrong: S = 1, times ½.
    assert!((difference.difference.value.expect("defined") + 0.1).abs() < 1e-12);
}
