//! From items to one number: the definitions behind [`Statistic`], in a form that resampling can weigh by cluster.
//!
//! With w_c ≥ 0 the number of times that cluster c was drawn (1 for the sample as it is), every statistic but AUC and the Wasserstein distance is a
//! function of sums Σ_c w_c s_c of per-cluster sufficient statistics s_c, so one evaluation costs O(clusters), not
//! O(items). These two sort their items once and then cost one pass over them.

use std::collections::{BTreeMap, BTreeSet};

use super::form::Form;
use super::result::{Item, Statistic};

/// Why a statistic has no value on some items.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Undefined {
    /// Nothing to compute from.
    #[error("there are no items")]
    Empty,
    /// A value or weight is NaN or infinite.
    #[error("item `{id}` has the {field} {found}, which is not a finite number")]
    NotFinite {
        /// The item.
        id: String,
        /// `value` or `weight`.
        field: &'static str,
        /// What it holds.
        found: f64,
    },
    /// The statistic reads `weight` and the item has none.
    #[error("item `{id}` has no weight, which this statistic needs")]
    NoWeight {
        /// The item.
        id: String,
    },
    /// The statistic reads `group` and the item has none.
    #[error("item `{id}` has no group, which this statistic needs")]
    NoGroup {
        /// The item.
        id: String,
    },
    /// A group that the statistic names holds no item.
    #[error("no item is in group `{group}`")]
    EmptyGroup {
        /// The group.
        group: String,
    },
    /// An AUC without items on the other side.
    #[error("every item is in group `{group}`, so that there is nothing to rank it against")]
    OneGroup {
        /// The group.
        group: String,
    },
    /// A ratio over nothing.
    #[error("the weights of the items sum to 0")]
    ZeroDenominator,
    /// A ratio of rates that are all 0.
    #[error("no group has a rate above 0, so that their ratio is undefined")]
    NoRate,
    /// Items of one group with different group weights.
    #[error("items of group `{group}` have different weights, where the weight belongs to the group")]
    UnequalWeights {
        /// The group.
        group: String,
    },
    /// A correlation or slope of what does not vary.
    #[error("`{field}` is the same on all items, so that nothing varies with it")]
    Constant {
        /// `value` or `weight`.
        field: &'static str,
    },
    /// A calibration error's confidence outside [0, 1].
    #[error("item `{id}` has the confidence {found}, which is outside [0, 1]")]
    Confidence {
        /// The item.
        id: String,
        /// What it holds.
        found: f64,
    },
    /// A class that is no whole number from 0 below 1000.
    #[error("item `{id}` has the class {found}; classes are whole numbers from 0 below 1000")]
    Class {
        /// The item.
        id: String,
        /// What it holds.
        found: f64,
    },
    /// A class other than 0 and 1 where there may be two.
    #[error("item `{id}` has the class {found}; F1 is defined for the classes 0 and 1")]
    NotBinary {
        /// The item.
        id: String,
        /// What it holds.
        found: f64,
    },
    /// A coverage outside (0, 1].
    #[error("the coverage {found} is outside (0, 1]")]
    Coverage {
        /// What was given.
        found: f64,
    },
    /// A calibration error over no bins.
    #[error("a calibration error needs at least one bin")]
    NoBins,
    /// An interval over clusters where there is one.
    #[error("all items are in one cluster; an interval over clusters needs at least two")]
    OneCluster,
    /// The arithmetic left the range of an f64.
    #[error("the value is not a finite number")]
    Overflow,
}

impl Statistic {
    /// The statistic's value on `items`, each counted once.
    pub fn evaluate(&self, items: &[Item]) -> Result<f64, Undefined> {
        let clusters = Clusters::of(items);
        let form = Form::compile(self, items.iter().zip(clusters.indices().iter().copied()), clusters.len())?;
        form.value(&vec![1.0; clusters.len()])
    }

    /// The range that the statistic cannot leave on items like these, where it has one: shares of 0/1 values lie in
    /// [0, 1], their differences and a correlation in [−1, 1], an AUC, an F1 and a calibration error in [0, 1].
    pub(crate) fn bounds(&self, items: &[Item]) -> Option<(f64, f64)> {
        let binary = items.iter().all(|item| item.value == 0.0 || item.value == 1.0);
        match self {
            Self::Share | Self::WorstGroup | Self::AdjustedMean | Self::Disparity(_) => binary.then_some((0.0, 1.0)),
            Self::GroupDifference { .. } => binary.then_some((-1.0, 1.0)),
            Self::Correlation => Some((-1.0, 1.0)),
            Self::Icat => Some((0.0, 100.0)),
            Self::BiasScore(_) => {
                let unit = items.iter().map(|item| item.value.abs()).fold(0.0, f64::max);
                (unit > 0.0).then_some((-unit, unit))
            }
            Self::Auc { .. } | Self::CalibrationError { .. } | Self::CalibrationErrorByMass { .. } | Self::F1 => {
                Some((0.0, 1.0))
            }
            Self::SelectiveAccuracy { .. } | Self::CoverageArea => {
                let hits = items.iter().all(|item| matches!(item.weight, Some(0.0 | 1.0)));
                hits.then_some((0.0, 1.0))
            }
            Self::Matthews => Some((-1.0, 1.0)),
            Self::Median => binary.then_some((0.0, 1.0)),
            Self::Mean | Self::MeanAbsolute | Self::Ratio | Self::ExpRatio | Self::Slope | Self::Wasserstein => None,
        }
    }

    /// Items and clusters of each group that the statistic reads; of all items where it reads no groups.
    pub(crate) fn group_sizes(&self, items: &[Item], clusters: &Clusters) -> Vec<GroupSize> {
        let side = |item: &Item| match (self, item.group.as_deref()) {
            (Self::WorstGroup | Self::AdjustedMean | Self::Disparity(_), Some(group)) => Some(group.to_owned()),
            (Self::GroupDifference { minuend, subtrahend }, Some(group)) => {
                (group == minuend || group == subtrahend).then(|| group.to_owned())
            }
            (Self::Auc { positive }, Some(group)) => Some((group == positive).to_string()),
            (
                Self::WorstGroup
                | Self::AdjustedMean
                | Self::Disparity(_)
                | Self::GroupDifference { .. }
                | Self::Auc { .. },
                None,
            ) => None,
            _ => Some(String::new()),
        };
        let mut members: BTreeMap<String, (usize, BTreeSet<usize>)> = BTreeMap::new();
        for (item, &cluster) in items.iter().zip(clusters.indices()) {
            if let Some(side) = side(item) {
                let (count, distinct) = members.entry(side).or_default();
                *count += 1;
                distinct.insert(cluster);
            }
        }
        members.into_values().map(|(items, distinct)| GroupSize { items, clusters: distinct.len() }).collect()
    }
}

/// How large one group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupSize {
    /// Its items.
    pub(crate) items: usize,
    /// The clusters that they are in.
    pub(crate) clusters: usize,
}

/// Which cluster each item is in, as an index in the order of the clusters' names.
#[derive(Debug, Clone)]
pub(crate) struct Clusters {
    of_item: Vec<usize>,
    count: usize,
}

impl Clusters {
    /// Numbers the clusters of `items`.
    pub(crate) fn of(items: &[Item]) -> Self {
        let mut index: BTreeMap<&str, usize> = items.iter().map(|item| (item.cluster.as_str(), 0)).collect();
        index.values_mut().enumerate().for_each(|(number, slot)| *slot = number);
        let of_item = items.iter().filter_map(|item| index.get(item.cluster.as_str()).copied()).collect();
        Self { of_item, count: index.len() }
    }

    /// How many clusters there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The cluster of each item.
    pub(crate) fn indices(&self) -> &[usize] {
        &self.of_item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: usize, value: f64, weight: Option<f64>, group: Option<&str>) -> Item {
        Item { id: id.to_string(), cluster: (id / 2).to_string(), value, group: group.map(str::to_owned), weight }
    }

    fn items(values: &[f64]) -> Vec<Item> {
        values.iter().enumerate().map(|(id, &value)| item(id, value, None, None)).collect()
    }

    #[test]
    fn means_and_ratios_follow_their_formulas() {
        assert_eq!(Statistic::Mean.evaluate(&items(&[1.0, -2.0, 4.0])), Ok(1.0));
        assert_eq!(Statistic::MeanAbsolute.evaluate(&items(&[1.0, -2.0, 3.0])), Ok(2.0));
        let weighted: Vec<Item> = [(3.0, 2.0), (5.0, 6.0)]
            .iter()
            .enumerate()
            .map(|(id, &(value, weight))| item(id, value, Some(weight), None))
            .collect();
        assert_eq!(Statistic::Ratio.evaluate(&weighted), Ok(1.0));
        // Perplexity of lm-evaluation-harness on these log-likelihoods (shared reference, golden vectors).
        let perplexity: Vec<Item> =
            [1.5, 2.25, 0.75, 3.0, 1.0].iter().enumerate().map(|(id, &nll)| item(id, nll, Some(1.0), None)).collect();
        let value = Statistic::ExpRatio.evaluate(&perplexity).expect("defined");
        assert!((value - 5.4739473917272).abs() < 1e-13, "{value}");
    }

    #[test]
    fn groups_are_compared_by_their_means() {
        let grouped = [("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", 1.0), ("c", 0.25)]
            .iter()
            .enumerate()
            .map(|(id, &(group, value))| item(id, value, None, Some(group)))
            .collect::<Vec<_>>();
        assert_eq!(Statistic::WorstGroup.evaluate(&grouped), Ok(0.25));
        let gap = |minuend: &str, subtrahend: &str| {
            Statistic::GroupDifference { minuend: minuend.into(), subtrahend: subtrahend.into() }.evaluate(&grouped)
        };
        assert_eq!(gap("b", "a"), Ok(0.5));
        assert_eq!(gap("b", "z"), Err(Undefined::EmptyGroup { group: "z".into() }));
    }

    #[test]
    fn auc_counts_pairs_with_ties_as_a_half() {
        let positive = [0.9, 0.8, 0.85, 0.4, 0.7, 0.65, 0.3, 0.95, 0.55, 0.6];
        let negative = [0.5, 0.45, 0.35, 0.2, 0.1, 0.75, 0.62, 0.15, 0.25, 0.05];
        let ranked = |sides: [&[f64]; 2]| {
            let sides = sides.into_iter().zip(["in", "out"]);
            let all = sides.flat_map(|(values, group)| values.iter().map(move |&value| (value, group)));
            all.enumerate().map(|(id, (value, group))| item(id, value, None, Some(group))).collect::<Vec<_>>()
        };
        let auc = Statistic::Auc { positive: "in".into() };
        // scikit-learn on the golden ROC vector of the shared reference.
        assert_eq!(auc.evaluate(&ranked([&positive, &negative])), Ok(0.85));
        // 2 of 4 pairs won, 1 tied.
        assert_eq!(auc.evaluate(&ranked([&[1.0, 3.0], &[1.0, 2.0]])), Ok(0.625));
        assert_eq!(auc.evaluate(&ranked([&[1.0], &[]])), Err(Undefined::OneGroup { group: "in".into() }));
        assert_eq!(auc.evaluate(&ranked([&[], &[1.0]])), Err(Undefined::EmptyGroup { group: "in".into() }));
    }

    #[test]
    fn calibration_error_meets_the_golden_values() {
        let confidence = [0.05, 0.15, 0.35, 0.45, 0.55, 0.62, 0.71, 0.83, 0.91, 0.97];
        let hit = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let items: Vec<Item> = confidence
            .iter()
            .zip(hit)
            .enumerate()
            .map(|(id, (&value, hit))| item(id, value, Some(hit), None))
            .collect();
        for (bins, golden) in [(5, 0.147), (10, 0.295), (1, 0.041)] {
            let value = Statistic::CalibrationError { bins }.evaluate(&items).expect("defined");
            assert!((value - golden).abs() < 1e-12, "{bins} bins: {value}");
        }
    }

    #[test]
    fn a_confidence_on_an_inner_edge_is_in_the_lower_bin() {
        // Bins (0, 0.5] and (0.5, 1]: 0.5 shares the lower bin with 0.1, whose errors then partly cancel.
        let items = vec![item(0, 0.5, Some(1.0), None), item(1, 0.1, Some(0.0), None)];
        let value = Statistic::CalibrationError { bins: 2 }.evaluate(&items).expect("defined");
        assert!((value - 0.2).abs() < 1e-12, "{value}");
        // 0.07 · 100 rounds to 7.000000000000001, and yet 0.07 is the upper edge of bin 7: with 0.065 in it, the errors
        // of one bin cancel.
        let rounding = vec![item(0, 0.07, Some(1.0), None), item(1, 0.065, Some(0.0), None)];
        let value = Statistic::CalibrationError { bins: 100 }.evaluate(&rounding).expect("defined");
        assert!((value - (1.0 - 0.135) / 2.0).abs() < 1e-12, "{value}");
        let edges = vec![item(0, 0.0, Some(0.0), None), item(1, 1.0, Some(1.0), None)];
        assert_eq!(Statistic::CalibrationError { bins: 2 }.evaluate(&edges), Ok(0.0));
    }

    #[test]
    fn what_is_undefined_says_why() {
        assert_eq!(Statistic::Mean.evaluate(&[]), Err(Undefined::Empty));
        let error = Statistic::Mean.evaluate(&items(&[1.0, f64::NAN])).expect_err("NaN").to_string();
        assert!(error.contains("item `1`") && error.contains("NaN"), "{error}");
        assert_eq!(Statistic::Ratio.evaluate(&items(&[1.0])), Err(Undefined::NoWeight { id: "0".into() }));
        assert_eq!(Statistic::WorstGroup.evaluate(&items(&[1.0])), Err(Undefined::NoGroup { id: "0".into() }));
        let zero = [item(0, 1.0, Some(0.0), None)];
        assert_eq!(Statistic::Ratio.evaluate(&zero), Err(Undefined::ZeroDenominator));
        let outside = [item(0, 1.5, Some(0.0), None)];
        assert!(matches!(
            Statistic::CalibrationError { bins: 3 }.evaluate(&outside),
            Err(Undefined::Confidence { found: 1.5, .. })
        ));
    }
}
