//! How far groups differ in a rate: demographic parity, equal opportunity, equalized odds, as fairlearn defines them.

use serde::{Deserialize, Serialize};

use super::form::{group_mean, quotient};
use super::statistic::Undefined;

/// How far the groups differ in a rate, as fairlearn has it. `value` is 1 where the item is selected (the positive prediction), `group` its
/// value of the sensitive attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disparity {
    /// Which rates.
    pub rates: Rates,
    /// Difference or ratio.
    pub contrast: Contrast,
    /// Between which of them.
    pub comparison: Comparison,
}

/// Which rates of the groups are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rates {
    /// Share of selected items: demographic parity.
    Selection,
    /// True and false positive rates: equalized odds; `weight` is 1 for items whose label is positive and 0 else.
    Odds(Aggregate),
    /// True positive rates alone: equal opportunity; `weight` as for the odds.
    Opportunity,
}

/// How the two comparisons of equalized odds become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The larger difference, the smaller ratio.
    WorstCase,
    /// Their mean.
    Mean,
}

/// Difference or ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contrast {
    /// 0 where groups are treated alike.
    Difference,
    /// 1 where groups are treated alike, never above.
    Ratio,
}

/// What a group is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The largest rate with the smallest: the worst pair of groups.
    BetweenGroups,
    /// Each rate with that of all items; the worst of them.
    ToOverall,
}

impl Disparity {
    /// The contrast of the rates in column totals: (selected, items) of each group, or of each group's positives and negatives.
    pub(super) fn of(self, names: &[String], totals: &[f64]) -> Result<f64, Undefined> {
        let width = if self.rates == Rates::Selection { 2 } else { 4 };
        let side = |first: usize| -> Vec<[f64; 2]> {
            let pair = |group: &[f64]| match group.get(first..first + 2) {
                Some(&[selected, count]) => [selected, count],
                _ => [0.0, 0.0],
            };
            totals.chunks_exact(width).map(pair).collect()
        };
        let first = self.compare(names, &side(0))?;
        let Rates::Odds(aggregate) = self.rates else { return Ok(first) };
        let second = self.compare(names, &side(2))?;
        Ok(match (aggregate, self.contrast) {
            (Aggregate::Mean, _) => (first + second) / 2.0,
            (Aggregate::WorstCase, Contrast::Difference) => first.max(second),
            (Aggregate::WorstCase, Contrast::Ratio) => first.min(second),
        })
    }

    /// The contrast of the groups' rates, from (selected, items) of each.
    fn compare(self, names: &[String], groups: &[[f64; 2]]) -> Result<f64, Undefined> {
        let rates = groups.iter().zip(names).map(|(&[selected, count], name)| group_mean(selected, count, name));
        let rates = rates.collect::<Result<Vec<f64>, Undefined>>()?;
        let (low, high) = rates.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &r| (r.min(l), r.max(h)));
        let sums = groups.iter().fold([0.0, 0.0], |[a, b], [selected, count]| [a + selected, b + count]);
        let overall = quotient(sums[0], sums[1])?;
        let against = |rate: f64| if rate > overall { overall / rate } else { rate / overall };
        match (self.contrast, self.comparison) {
            (Contrast::Difference, Comparison::BetweenGroups) => Ok(high - low),
            (Contrast::Difference, Comparison::ToOverall) => {
                Ok(rates.iter().map(|rate| (rate - overall).abs()).fold(0.0, f64::max))
            }
            (Contrast::Ratio, _) if high <= 0.0 => Err(Undefined::NoRate),
            (Contrast::Ratio, Comparison::BetweenGroups) => Ok(low / high),
            (Contrast::Ratio, Comparison::ToOverall) => Ok(rates.iter().map(|&r| against(r)).fold(1.0, f64::min)),
        }
    }
}
