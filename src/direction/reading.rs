//! Activations with the value of a variable behind each: what probes and erasers are fitted on, and how well a variable
//! can be read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::DirectionError;
use super::matrix::{Matrix, from_tensor};
use super::place::Place;
use super::probe::{Classes, Probe};
use super::stage::read_vectors;
use crate::base::Seed;
use crate::base::seed::{shuffle, uniform};
use crate::intervene::{Side, TokenPair};
use crate::model::LanguageModel;
use crate::stats::{Bootstrap, Estimate, Item, Statistic, estimate};

/// The penalty of probes, on standardised activations.
pub const PENALTY: f64 = 1e-2;
/// Fewest rows of each class of a fit.
pub const LEAST_PER_CLASS: usize = 4;

/// Rows of activations with their class.
#[derive(Debug, Clone)]
pub struct Readings {
    /// `[n, w]`.
    pub x_nw: Matrix,
    /// The class of each row.
    pub classes: Classes,
    /// The values that the classes stand for.
    pub values: Vec<String>,
    rows: Vec<Row>,
}

/// Where a row comes from.
#[derive(Debug, Clone)]
struct Row {
    id: String,
    pair: String,
    cluster: String,
    /// The tokens in which its prompt differs from the other side of its pair: Hewitt and Liang's word type.
    words: Vec<u32>,
}

impl Readings {
    /// Both sides of every pair at a place, each with the value that the pair names for it; pairs without values are
    /// read as *factual* and *counterfactual*. Refused with fewer than [`LEAST_PER_CLASS`] rows of a class.
    pub fn of(model: &LanguageModel, place: &Place, pairs: &[TokenPair]) -> Result<Self, DirectionError> {
        let value = |pair: &TokenPair, side: Side| match (&pair.values, side) {
            (Some([from, _]), Side::Factual) => from.clone(),
            (Some([_, to]), Side::Counterfactual) => to.clone(),
            (None, Side::Factual) => "factual".to_owned(),
            (None, Side::Counterfactual) => "counterfactual".to_owned(),
        };
        let (mut prompts, mut rows, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for pair in pairs {
            for side in [Side::Factual, Side::Counterfactual] {
                let at: Vec<usize> = pair.resolve(&place.site().positions, side)?.iter().map(|(own, _)| *own).collect();
                let name = if side == Side::Factual { "factual" } else { "counterfactual" };
                for position in &at {
                    let id = format!("{}/{name}/{position}", pair.id);
                    let (pair_id, cluster) = (pair.id.clone(), pair.cluster.clone());
                    rows.push(Row { id, pair: pair_id, cluster, words: differing(pair, side) });
                    values.push(value(pair, side));
                }
                if !at.is_empty() {
                    prompts.push((pair.side(side).ids.as_slice(), at));
                }
            }
        }
        let known: Vec<String> = values.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let least = known.iter().map(|value| values.iter().filter(|other| *other == value).count()).min().unwrap_or(0);
        if known.len() < 2 {
            return Err(DirectionError::Classes { items: rows.len(), classes: known.len() });
        }
        if least < LEAST_PER_CLASS {
            let what = "prompts of the rarest value".to_owned();
            return Err(DirectionError::TooFew { what, found: least, needed: LEAST_PER_CLASS });
        }
        let labels = values.iter().filter_map(|value| known.iter().position(|other| other == value)).collect();
        let x_nw = from_tensor(&read_vectors(model, place, &prompts)?)?;
        Ok(Self { x_nw, classes: Classes::new(labels, known.len())?, values: known, rows })
    }

    /// The same rows with other activations.
    pub fn with(&self, x_nw: Matrix) -> Self {
        Self { x_nw, ..self.clone() }
    }

    /// How well the variable can be read by a linear probe, with the control task.
    pub fn readable(&self, bootstrap: &Bootstrap) -> Readable {
        let seed = bootstrap.seed.fork("probe");
        let by_cluster = self.folds(|row| &row.cluster, &seed);
        let majority = self.classes.shares().into_iter().fold(0.0, f64::max);
        let labels = self.classes.labels();
        let hits = by_cluster.and_then(|folds| self.cross_fitted(labels, &folds));
        let accuracy = match hits {
            Ok(hits) => estimate(&self.items(&hits), &Statistic::Share, &named(bootstrap, "accuracy")),
            Err(reason) => Estimate::undefined(reason.to_string(), self.rows.len(), 0),
        };
        let types = self.rows.iter().map(|row| row.words.as_slice()).collect::<BTreeSet<_>>().len();
        let control = match self.against_control(&seed) {
            Ok([hits, control]) => {
                let difference: Vec<Option<f64>> =
                    hits.iter().zip(&control).map(|(hit, control)| Some((*hit)? - (*control)?)).collect();
                [
                    estimate(&self.items(&hits), &Statistic::Share, &named(bootstrap, "seen")),
                    estimate(&self.items(&control), &Statistic::Share, &named(bootstrap, "control")),
                    estimate(&self.items(&difference), &Statistic::Mean, &named(bootstrap, "selectivity")),
                ]
            }
            Err(reason) => [(); 3].map(|()| Estimate::undefined(reason.clone(), self.rows.len(), 0)),
        };
        let [seen_accuracy, control_accuracy, selectivity] = control;
        Readable { majority, accuracy, word_types: types, seen_accuracy, control_accuracy, selectivity }
    }

    /// Hits of the variable and of the control task on the same held-out rows, whose word types occur among the rows
    /// that were fitted on. Parts are by pair, so that types are shared between them.
    fn against_control(&self, seed: &Seed) -> Result<[Vec<Option<f64>>; 2], String> {
        let folds = self.folds(|row| &row.pair, seed).map_err(|error| error.to_string())?;
        let types: Vec<BTreeSet<&[u32]>> = (0..2).map(|fold| self.types_outside(&folds, fold)).collect();
        let seen = |at: usize| {
            let (row, fold) = (self.rows.get(at)?, folds.get(at)?);
            types.get(*fold)?.contains(row.words.as_slice()).then_some(())
        };
        let control: Vec<usize> = self.rows.iter().map(|row| self.control_label(row, seed)).collect();
        let fit = |labels: &[usize]| self.cross_fitted(labels, &folds).map_err(|error| error.to_string());
        let (task, random) = (
            fit(self.classes.labels())?,
            fit(&control).map_err(|error| {
                format!("the control task has one label alone, since the prompts differ in too few words ({error})")
            })?,
        );
        let only_seen = |hits: Vec<Option<f64>>| -> Vec<Option<f64>> {
            hits.into_iter().enumerate().map(|(at, hit)| seen(at).and(hit)).collect()
        };
        let (task, random) = (only_seen(task), only_seen(random));
        match task.iter().flatten().next() {
            Some(_) => Ok([task, random]),
            None => Err("no words occur in both parts, so that a control task cannot be learnt".into()),
        }
    }

    fn types_outside<'a>(&'a self, folds: &[usize], fold: usize) -> BTreeSet<&'a [u32]> {
        let rows = self.rows.iter().zip(folds).filter(|(_, other)| **other != fold);
        rows.map(|(row, _)| row.words.as_slice()).collect()
    }

    /// A class drawn for the row's word type, as often as classes occur.
    fn control_label(&self, row: &Row, seed: &Seed) -> usize {
        let name: Vec<String> = row.words.iter().map(u32::to_string).collect();
        let draw = uniform(&mut seed.fork("control").fork(&name.join(" ")).rng());
        let mut reached = 0.0;
        let passed = self.classes.shares().into_iter().take_while(|share| {
            reached += share;
            reached <= draw
        });
        passed.count().min(self.classes.count().saturating_sub(1))
    }

    /// A part, 0 or 1, for each row; rows of one unit share it.
    fn folds<'a>(&'a self, unit: impl Fn(&'a Row) -> &'a str, seed: &Seed) -> Result<Vec<usize>, DirectionError> {
        let units: BTreeSet<&str> = self.rows.iter().map(&unit).collect();
        let mut units: Vec<&str> = units.into_iter().collect();
        if units.len() < 2 {
            let what = "clusters to read one part of and judge on the other".to_owned();
            return Err(DirectionError::TooFew { what, found: units.len(), needed: 2 });
        }
        shuffle(&mut seed.fork("folds").rng(), &mut units);
        let parts: BTreeMap<&str, usize> = units.into_iter().enumerate().map(|(at, unit)| (unit, at % 2)).collect();
        Ok(self.rows.iter().map(|row| parts.get(unit(row)).copied().unwrap_or(0)).collect())
    }

    /// 1 where a probe that was fitted on the other part gives a row its label, else 0.
    fn cross_fitted(&self, labels: &[usize], folds: &[usize]) -> Result<Vec<Option<f64>>, DirectionError> {
        let mut hits = vec![None; self.rows.len()];
        for held in 0..2 {
            let part = |inside: bool| -> Vec<usize> {
                folds.iter().enumerate().filter(|(_, fold)| (**fold == held) == inside).map(|(at, _)| at).collect()
            };
            let (judged, fitted) = (part(true), part(false));
            let of = |at: &[usize]| -> Vec<usize> { at.iter().filter_map(|at| labels.get(*at).copied()).collect() };
            let classes = Classes::new(of(&fitted), self.classes.count())?;
            let probe = Probe::fit(&self.x_nw.select_rows(&fitted), &classes, PENALTY)?;
            let found = probe.predict(&self.x_nw.select_rows(&judged));
            for ((at, found), label) in judged.iter().zip(found).zip(of(&judged)) {
                if let Some(slot) = hits.get_mut(*at) {
                    *slot = Some(f64::from(u8::from(found == label)));
                }
            }
        }
        Ok(hits)
    }

    fn items(&self, values: &[Option<f64>]) -> Vec<Item> {
        let item = |(row, value): (&Row, &Option<f64>)| {
            let (id, cluster) = (row.id.clone(), row.cluster.clone());
            value.map(|value| Item { id, cluster, value, group: None, weight: None })
        };
        self.rows.iter().zip(values).filter_map(item).collect()
    }
}

/// How well a variable can be read off activations by a linear probe. Probes are fitted on one part and judged on the
/// other, both ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readable {
    /// Share of the commonest value: what a constant reaches.
    pub majority: f64,
    /// Share of rows read right, parts by cluster: other wordings than those fitted on.
    pub accuracy: Estimate,
    /// How many different words the prompts of a pair differ in.
    pub word_types: usize,
    /// Share read right of rows whose words were seen, parts by pair.
    pub seen_accuracy: Estimate,
    /// The same with a random value for each word type (the control task).
    pub control_accuracy: Estimate,
    /// `seen_accuracy` − `control_accuracy`, paired by row: how much better the variable is read than anything that
    /// could be learnt by heart of the words (Hewitt and Liang 2019, arXiv 1909.03368).
    pub selectivity: Estimate,
}

/// The bootstrap with a stream of its own.
pub(super) fn named(bootstrap: &Bootstrap, name: &str) -> Bootstrap {
    Bootstrap { seed: bootstrap.seed.fork(name), ..*bootstrap }
}

/// One side's tokens that its partner does not have in their place.
fn differing(pair: &TokenPair, side: Side) -> Vec<u32> {
    let (own, other) = (&pair.side(side).ids, &pair.side(side.other()).ids);
    let same: BTreeSet<usize> = (pair.alignment().partners().iter())
        .map(|&(factual, counterfactual)| match side {
            Side::Factual => (factual, counterfactual),
            Side::Counterfactual => (counterfactual, factual),
        })
        .filter(|(a, b)| own.get(*a) == other.get(*b))
        .map(|(a, _)| a)
        .collect();
    own.iter().enumerate().filter(|(at, _)| !same.contains(at)).map(|(_, token)| *token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight clusters of four pairs; each row's words are its cluster's, but for those of pair 0, which are its own.
    fn readings(x_nw: Matrix) -> Readings {
        let row = |number: usize| {
            let pair = number / 2;
            let words = if pair == 0 { vec![100 + number as u32] } else { vec![(pair / 4) as u32] };
            Row { id: number.to_string(), pair: format!("p{pair}"), cluster: format!("c{}", pair / 4), words }
        };
        let classes = Classes::new((0..64).map(|number| number % 2).collect(), 2).expect("classes");
        Readings { x_nw, classes, values: vec!["a".into(), "b".into()], rows: (0..64).map(row).collect() }
    }

    fn bootstrap() -> Bootstrap {
        Bootstrap { replicates: 100, level: 0.95, seed: Seed::new(2) }
    }

    #[test]
    fn what_holds_in_one_cluster_alone_is_not_read_in_others() {
        // A dimension a cluster, which says the class there.
        let sign = |row: usize| if row.is_multiple_of(2) { 1.0 } else { -1.0 };
        let own = readings(Matrix::from_fn(64, 8, |row, column| if row / 8 == column { sign(row) } else { 0.0 }));
        let found = own.readable(&bootstrap());
        assert!(found.accuracy.value.is_some_and(|share| share < 0.6), "{found:?}");
        // Parts by pair share clusters, and so do the words.
        assert!(found.seen_accuracy.value.is_some_and(|share| share > 0.95), "{found:?}");
        assert_eq!((found.accuracy.n, found.word_types), (64, 10));
        // The words of pair 0 were seen nowhere else, nor those of a cluster whose pairs all fell into one part.
        for seen in [&found.seen_accuracy, &found.control_accuracy, &found.selectivity] {
            assert!((48..=62).contains(&seen.n), "{found:?}");
        }
        let everywhere = readings(Matrix::from_fn(64, 1, |row, _| sign(row))).readable(&bootstrap());
        assert_eq!(everywhere.accuracy.value, Some(1.0));
    }
}
