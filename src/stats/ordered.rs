//! Statistics that depend on the order of the items' values: median, calibration error by mass, selective accuracy.

use super::calibration::calibration_error_by_mass;
use super::form::weight;
use super::result::Item;
use super::statistic::Undefined;

/// Items in the order of their values, smallest first.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    items: Vec<Entry>,
    finish: OrderedFinish,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    value: f64,
    weight: f64,
    cluster: usize,
}

/// What is made of the order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OrderedFinish {
    /// The element at index ⌊n/2⌋.
    Median,
    /// The calibration error over so many bins of equal mass.
    Mass(usize),
    /// The mean weight of the share of items with the highest values.
    Selective(f64),
    /// The mean of these means over all shares.
    Area,
}

impl Ordered {
    pub(super) fn compile<'a>(
        items: impl Iterator<Item = (&'a Item, usize)>,
        finish: OrderedFinish,
    ) -> Result<Self, Undefined> {
        match finish {
            OrderedFinish::Mass(0) => return Err(Undefined::NoBins),
            OrderedFinish::Selective(found) if !(found > 0.0 && found <= 1.0) => {
                return Err(Undefined::Coverage { found });
            }
            _ => {}
        }
        let mut entries = Vec::new();
        for (item, cluster) in items {
            let weight = if matches!(finish, OrderedFinish::Median) { 0.0 } else { weight(item)? };
            if matches!(finish, OrderedFinish::Mass(_)) && !(0.0..=1.0).contains(&item.value) {
                return Err(Undefined::Confidence { id: item.id.clone(), found: item.value });
            }
            entries.push(Entry { value: item.value, weight, cluster });
        }
        entries.sort_by(|a, b| a.value.total_cmp(&b.value));
        Ok(Self { items: entries, finish })
    }

    /// The value where cluster c counts `weights[c]` times, a whole number.
    pub(super) fn value(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let times = |entry: &Entry| weights.get(entry.cluster).copied().unwrap_or(0.0);
        let n: f64 = self.items.iter().map(times).sum();
        if n < 1.0 {
            return Err(Undefined::Empty);
        }
        match self.finish {
            OrderedFinish::Median => {
                let index = (n / 2.0).floor();
                let mut before = 0.0;
                let passed = |entry: &&Entry| {
                    before += times(entry);
                    before > index
                };
                self.items.iter().find(passed).map(|entry| entry.value).ok_or(Undefined::Empty)
            }
            OrderedFinish::Mass(bins) => {
                let copies = |entry: &Entry| std::iter::repeat_n((entry.value, entry.weight), times(entry) as usize);
                let pairs: Vec<(f64, f64)> = self.items.iter().flat_map(copies).collect();
                calibration_error_by_mass(&pairs, bins).ok_or(Undefined::Empty)
            }
            OrderedFinish::Selective(coverage) => {
                let taken = ((coverage * n).floor() + 1.0).min(n);
                let mut mean = Err(Undefined::Empty);
                self.means(times, |k, sum| {
                    if k == taken {
                        mean = Ok(sum / k);
                    }
                });
                mean
            }
            OrderedFinish::Area => {
                let mut total = 0.0;
                self.means(times, |k, sum| total += sum / k);
                Ok(total / n)
            }
        }
    }

    /// For k = 1, 2, …, the sum of the weights of the k highest values; of equal values each item gives its share.
    fn means(&self, times: impl Fn(&Entry) -> f64, mut see: impl FnMut(f64, f64)) {
        let (mut k, mut sum) = (0.0, 0.0);
        for run in self.items.chunk_by(|a, b| a.value == b.value).rev() {
            let length: f64 = run.iter().map(&times).sum();
            let weight: f64 = run.iter().map(|entry| times(entry) * entry.weight).sum();
            for place in 1..=length as usize {
                let place = place as f64;
                see(k + place, sum + weight * (place / length));
            }
            k += length;
            sum += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::stats::{Bootstrap, Item, Statistic, estimate};

    fn items(values: &[f64], weights: &[f64]) -> Vec<Item> {
        let pairs = values.iter().zip(weights).enumerate();
        let item = |(id, (&value, &weight)): (usize, (&f64, &f64))| Item {
            id: format!("{id:03}"),
            cluster: format!("{id:03}"),
            value,
            group: None,
            weight: Some(weight),
        };
        pairs.map(item).collect()
    }

    /// Confidences and hits, and the area and accuracy at a tenth that HELM's calibration library finds for them
    /// (`get_selective_stats`, worked by hand: accuracies of the k surest, their mean, and the one at index ⌊n/10⌋).
    #[test]
    fn selective_accuracy_counts_as_helm_does() {
        let harmonic = |of: usize| (1..=of).map(|k| 1.0 / k as f64).sum::<f64>() / of as f64;
        let low = |top: &[f64], count: usize| [vec![0.1; count], top.to_vec()].concat();
        let cases = [
            (vec![0.6, 0.0, 0.8], vec![1.0, 1.0, 1.0], 1.0, 1.0),
            (vec![0.6, 0.0, 0.8], vec![0.0, 0.0, 1.0], 11.0 / 18.0, 1.0),
            (vec![0.6, 0.0, 0.8], vec![0.0, 1.0, 0.0], 1.0 / 9.0, 0.0),
            (low(&[0.6, 0.7], 10), [vec![0.0; 11], vec![1.0]].concat(), harmonic(12), 0.5),
            (low(&[0.6, 0.7], 10), [vec![0.0; 10], vec![1.0, 0.0]].concat(), harmonic(12) - 1.0 / 12.0, 0.5),
            (low(&[0.5, 0.6, 0.7], 9), [vec![0.0; 9], vec![1.0, 0.0, 0.0]].concat(), harmonic(12) - 1.5 / 12.0, 0.0),
        ];
        for (confidence, hits, area, at_tenth) in cases {
            let items = items(&confidence, &hits);
            let found = Statistic::CoverageArea.evaluate(&items).expect("defined");
            assert!((found - area).abs() < 1e-15, "{found} {area}");
            assert_eq!(Statistic::SelectiveAccuracy { coverage: 0.1 }.evaluate(&items), Ok(at_tenth));
        }
    }

    #[test]
    fn equal_confidences_share_their_place_in_any_order() {
        let first = items(&[0.5, 0.5, 0.9], &[1.0, 0.0, 1.0]);
        let second = items(&[0.5, 0.5, 0.9], &[0.0, 1.0, 1.0]);
        // Accuracies 1, (1 + ½)/2, 2/3.
        let expected = (1.0 + 0.75 + 2.0 / 3.0) / 3.0;
        for items in [first, second] {
            let found = Statistic::CoverageArea.evaluate(&items).expect("defined");
            assert!((found - expected).abs() < 1e-15, "{found}");
        }
    }

    #[test]
    fn calibration_by_mass_meets_the_golden_value_and_the_median_takes_the_upper_middle() {
        let confidence = [0.05, 0.15, 0.35, 0.45, 0.55, 0.62, 0.71, 0.83, 0.91, 0.97];
        let hits = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let mass = |bins| Statistic::CalibrationErrorByMass { bins }.evaluate(&items(&confidence, &hits));
        assert!((mass(5).expect("defined") - 0.115).abs() < 1e-12);
        assert!((mass(1).expect("defined") - 0.041).abs() < 1e-12);
        assert!(mass(0).is_err());
        assert_eq!(Statistic::Median.evaluate(&items(&[4.0, 1.0, 3.0, 2.0], &[0.0; 4])), Ok(3.0));
        assert_eq!(Statistic::Median.evaluate(&items(&[4.0, 1.0, 3.0], &[0.0; 3])), Ok(3.0));
        assert!(Statistic::SelectiveAccuracy { coverage: 0.0 }.evaluate(&items(&confidence, &hits)).is_err());
    }

    /// A replicate is the statistic on the drawn items themselves, written out as often as they were drawn.
    #[test]
    fn weights_are_copies() {
        let confidence: Vec<f64> = (0..40).map(|id| f64::from(id * 37 % 20) / 20.0).collect();
        let hits: Vec<f64> = (0..40).map(|id| f64::from(id * 7 % 3 % 2)).collect();
        let items = items(&confidence, &hits);
        for statistic in [
            Statistic::Median,
            Statistic::CalibrationErrorByMass { bins: 5 },
            Statistic::SelectiveAccuracy { coverage: 0.25 },
            Statistic::CoverageArea,
            Statistic::F1,
            Statistic::Matthews,
        ] {
            let classes = matches!(statistic, Statistic::F1 | Statistic::Matthews);
            let items: Vec<Item> = items
                .iter()
                .map(|item| match classes {
                    true => Item { value: (item.value > 0.4) as u8 as f64, ..item.clone() },
                    false => item.clone(),
                })
                .collect();
            let drawn = |id: usize| id * 5 % 4;
            let copies: Vec<Item> =
                items.iter().enumerate().flat_map(|(id, item)| vec![item.clone(); drawn(id)]).collect();
            let copies: Vec<Item> = copies
                .into_iter()
                .enumerate()
                .map(|(id, item)| Item { id: id.to_string(), cluster: id.to_string(), ..item })
                .collect();
            let form = super::super::form::Form::compile(&statistic, items.iter().zip(0..), items.len()).expect("form");
            let weights: Vec<f64> = (0..items.len()).map(|id| drawn(id) as f64).collect();
            let (weighted, copied) =
                (form.value(&weights).expect("defined"), statistic.evaluate(&copies).expect("defined"));
            assert!((weighted - copied).abs() < 1e-12, "{statistic:?}: {weighted} {copied}");
            let bootstrap = Bootstrap { replicates: 200, level: 0.95, seed: crate::base::Seed::new(1) };
            let estimate = estimate(&items, &statistic, &bootstrap);
            assert!(estimate.interval.is_some(), "{statistic:?}: {estimate:?}");
        }
    }
}
