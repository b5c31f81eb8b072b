//! A statistic compiled on one set of items, ready to be evaluated under many cluster weights.

use std::collections::BTreeMap;

use super::classification::{f1, matthews};
use super::composite::{self, Composite};
use super::ordered::{Ordered, OrderedFinish};
use super::result::{Item, Statistic};
use super::statistic::Undefined;

/// A statistic and its items, reduced to what a resample needs.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A function of weighted sums over clusters.
    Sums {
        /// One column per sufficient statistic, one entry per cluster.
        columns: Vec<Vec<f64>>,
        /// How the column totals become the value.
        finish: Finish,
    },
    /// Items in the order of their values, for AUC.
    Ranked {
        /// The items, smallest value first.
        items: Vec<Ranked>,
        /// The positive group, for messages.
        positive: String,
    },
    /// Items in the order of their values, for what depends on ranks.
    Ordered(Ordered),
    /// Both scores of every item in their order, for a distance of distributions.
    Transport(Vec<Step>),
}

/// One score of one of two distributions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    score: f64,
    cluster: usize,
    /// 1 in the first distribution, −1 in the second.
    side: f64,
}

/// One item of a ranking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked {
    value: f64,
    cluster: usize,
    positive: bool,
}

/// How column totals become a value.
#[derive(Debug, Clone)]
pub(crate) enum Finish {
    /// First column over second.
    Ratio,
    /// exp(first column over second).
    ExpRatio,
    /// The smallest of the ratios of (sum, count) column pairs, one pair a group; the groups' names for messages.
    Worst(Vec<String>),
    /// The ratio of the first pair less that of the second; the groups' names for messages.
    Difference([String; 2]),
    /// Triples (count, confidence, hits), one a bin.
    Calibration,
    /// A function of its own of its own columns.
    Composite(Composite),
    /// (true positives, predicted positives, true ones).
    F1,
    /// (agreements, items), then one pair (predicted, true) a class.
    Matthews,
}

impl Form {
    /// Reduces `items`, each given with the index of its cluster below `clusters`.
    pub(crate) fn compile<'a>(
        statistic: &Statistic,
        items: impl Iterator<Item = (&'a Item, usize)> + Clone,
        clusters: usize,
    ) -> Result<Self, Undefined> {
        if items.clone().next().is_none() {
            return Err(Undefined::Empty);
        }
        for (item, _) in items.clone() {
            finite(item, "value", item.value)?;
            finite(item, "weight", item.weight.unwrap_or(0.0))?;
        }
        let sums = |width, finish| Columns::new(width, clusters).sums(finish);
        let mut form = match statistic {
            Statistic::Mean | Statistic::Share | Statistic::MeanAbsolute | Statistic::Ratio => sums(2, Finish::Ratio),
            Statistic::ExpRatio => sums(2, Finish::ExpRatio),
            Statistic::CalibrationError { bins: 0 } => return Err(Undefined::NoBins),
            Statistic::CalibrationError { bins } => sums(3 * bins, Finish::Calibration),
            Statistic::WorstGroup => return Self::worst_group(items, clusters),
            Statistic::GroupDifference { minuend, subtrahend } => {
                return Self::difference(items, clusters, [minuend.clone(), subtrahend.clone()]);
            }
            Statistic::Auc { positive } => return Self::ranked(items, positive),
            Statistic::BiasScore(_)
            | Statistic::Icat
            | Statistic::Disparity(_)
            | Statistic::AdjustedMean
            | Statistic::Correlation
            | Statistic::Slope => {
                let (columns, finish) = composite::compile(statistic, items, clusters)?;
                return Ok(Self::Sums { columns, finish: Finish::Composite(finish) });
            }
            Statistic::Wasserstein => return Self::transport(items),
            Statistic::CalibrationErrorByMass { bins } => {
                return Ordered::compile(items, OrderedFinish::Mass(*bins)).map(Self::Ordered);
            }
            Statistic::SelectiveAccuracy { coverage } => {
                return Ordered::compile(items, OrderedFinish::Selective(*coverage)).map(Self::Ordered);
            }
            Statistic::CoverageArea => return Ordered::compile(items, OrderedFinish::Area).map(Self::Ordered),
            Statistic::Median => return Ordered::compile(items, OrderedFinish::Median).map(Self::Ordered),
            Statistic::F1 => sums(3, Finish::F1),
            Statistic::Matthews => {
                let classes = items.clone().try_fold(0, |most, (item, _)| {
                    Ok(most.max(class(item, item.value)? + 1).max(class(item, weight(item)?)? + 1))
                })?;
                sums(2 + 2 * classes, Finish::Matthews)
            }
        };
        for (item, cluster) in items {
            match statistic {
                Statistic::MeanAbsolute => form.add(cluster, 0, &[item.value.abs(), 1.0]),
                Statistic::Ratio | Statistic::ExpRatio => form.add(cluster, 0, &[item.value, weight(item)?]),
                Statistic::CalibrationError { bins } => {
                    let bin = bin(item, *bins)?;
                    form.add(cluster, 3 * bin, &[1.0, item.value, weight(item)?]);
                }
                Statistic::F1 => {
                    let (predicted, truth) = (binary(item, item.value)?, binary(item, weight(item)?)?);
                    form.add(cluster, 0, &[predicted * truth, predicted, truth]);
                }
                Statistic::Matthews => {
                    let (predicted, truth) = (class(item, item.value)?, class(item, weight(item)?)?);
                    form.add(cluster, 0, &[if predicted == truth { 1.0 } else { 0.0 }, 1.0]);
                    form.add(cluster, 2 + 2 * predicted, &[1.0]);
                    form.add(cluster, 3 + 2 * truth, &[1.0]);
                }
                _ => form.add(cluster, 0, &[item.value, 1.0]),
            }
        }
        Ok(form)
    }

    fn worst_group<'a>(
        items: impl Iterator<Item = (&'a Item, usize)> + Clone,
        clusters: usize,
    ) -> Result<Self, Undefined> {
        let mut groups = BTreeMap::new();
        for (item, _) in items.clone() {
            groups.insert(group(item)?, 0);
        }
        groups.values_mut().enumerate().for_each(|(number, slot)| *slot = number);
        let names = groups.keys().map(|&name| name.to_owned()).collect();
        let mut form = Columns::new(2 * groups.len(), clusters).sums(Finish::Worst(names));
        for (item, cluster) in items {
            if let Some(number) = groups.get(group(item)?) {
                form.add(cluster, 2 * number, &[item.value, 1.0]);
            }
        }
        Ok(form)
    }

    fn difference<'a>(
        items: impl Iterator<Item = (&'a Item, usize)>,
        clusters: usize,
        names: [String; 2],
    ) -> Result<Self, Undefined> {
        let mut form = Columns::new(4, clusters).sums(Finish::Difference(names.clone()));
        for (item, cluster) in items {
            let group = group(item)?;
            for (side, name) in names.iter().enumerate() {
                if group == name {
                    form.add(cluster, 2 * side, &[item.value, 1.0]);
                }
            }
        }
        Ok(form)
    }

    fn ranked<'a>(items: impl Iterator<Item = (&'a Item, usize)>, positive: &str) -> Result<Self, Undefined> {
        let mut ranked = Vec::new();
        for (item, cluster) in items {
            ranked.push(Ranked { value: item.value, cluster, positive: group(item)? == positive });
        }
        ranked.sort_by(|a, b| a.value.total_cmp(&b.value));
        // −0.0 and 0.0 are equal values, which total_cmp tells apart; ties below are found by `==`.
        Ok(Self::Ranked { items: ranked, positive: positive.to_owned() })
    }

    fn transport<'a>(items: impl Iterator<Item = (&'a Item, usize)>) -> Result<Self, Undefined> {
        let mut steps = Vec::new();
        for (item, cluster) in items {
            steps.push(Step { score: item.value, cluster, side: 1.0 });
            steps.push(Step { score: weight(item)?, cluster, side: -1.0 });
        }
        steps.sort_by(|a, b| a.score.total_cmp(&b.score));
        Ok(Self::Transport(steps))
    }

    fn add(&mut self, cluster: usize, first: usize, values: &[f64]) {
        if let Self::Sums { columns, .. } = self {
            for (column, value) in columns.iter_mut().skip(first).zip(values) {
                if let Some(sum) = column.get_mut(cluster) {
                    *sum += value;
                }
            }
        }
    }

    /// The value where cluster c counts `weights[c]` times.
    pub(crate) fn value(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let value = match self {
            Self::Sums { columns, finish } => {
                let totals: Vec<f64> = columns.iter().map(|column| dot(column, weights)).collect();
                finish.apply(&totals)?
            }
            Self::Ranked { items, positive } => auc(items, positive, weights)?,
            Self::Transport(steps) => transported(steps, weights)?,
            Self::Ordered(ordered) => ordered.value(weights)?,
        };
        if value.is_finite() { Ok(value) } else { Err(Undefined::Overflow) }
    }
}

/// Empty columns, and the form made of them.
struct Columns(Vec<Vec<f64>>);

impl Columns {
    fn new(width: usize, clusters: usize) -> Self {
        Self(vec![vec![0.0; clusters]; width])
    }

    fn sums(self, finish: Finish) -> Form {
        Form::Sums { columns: self.0, finish }
    }
}

impl Finish {
    fn apply(&self, totals: &[f64]) -> Result<f64, Undefined> {
        match (self, totals) {
            (Self::Ratio, &[sum, weight]) => quotient(sum, weight),
            (Self::ExpRatio, &[sum, weight]) => quotient(sum, weight).map(f64::exp),
            (Self::Difference([minuend, subtrahend]), &[a, a_count, b, b_count]) => {
                Ok(group_mean(a, a_count, minuend)? - group_mean(b, b_count, subtrahend)?)
            }
            (Self::Worst(groups), totals) => {
                let mut worst = f64::INFINITY;
                for (pair, group) in totals.chunks_exact(2).zip(groups) {
                    if let [sum, count] = *pair {
                        worst = worst.min(group_mean(sum, count, group)?);
                    }
                }
                Ok(worst)
            }
            (Self::Calibration, totals) => {
                let (mut gap, mut count) = (0.0, 0.0);
                for bin in totals.chunks_exact(3) {
                    if let [in_bin, confidence, hits] = bin {
                        gap += (hits - confidence).abs();
                        count += in_bin;
                    }
                }
                if count > 0.0 { Ok(gap / count) } else { Err(Undefined::Empty) }
            }
            (Self::Composite(composite), totals) => composite.apply(totals),
            (Self::F1, &[hits, predicted, truths]) => Ok(f1(hits, predicted, truths)),
            (Self::Matthews, [agreements, items, classes @ ..]) => matthews(*agreements, *items, classes),
            _ => Err(Undefined::Empty),
        }
    }
}

pub(super) fn group_mean(sum: f64, count: f64, group: &str) -> Result<f64, Undefined> {
    if count > 0.0 { Ok(sum / count) } else { Err(Undefined::EmptyGroup { group: group.to_owned() }) }
}

pub(super) fn quotient(sum: f64, weight: f64) -> Result<f64, Undefined> {
    if weight == 0.0 { Err(Undefined::ZeroDenominator) } else { Ok(sum / weight) }
}

/// P(positive > other) + ½ P(equal) in one pass: a run of equal values wins against all lower negatives and half of
/// its own.
fn auc(items: &[Ranked], positive: &str, weights: &[f64]) -> Result<f64, Undefined> {
    let (mut won, mut positives, mut negatives) = (0.0, 0.0, 0.0);
    for run in items.chunk_by(|a, b| a.value == b.value) {
        let (mut run_positives, mut run_negatives) = (0.0, 0.0);
        for item in run {
            let weight = weights.get(item.cluster).copied().unwrap_or(0.0);
            if item.positive { run_positives += weight } else { run_negatives += weight }
        }
        won += run_positives * (negatives + 0.5 * run_negatives);
        positives += run_positives;
        negatives += run_negatives;
    }
    if positives == 0.0 {
        Err(Undefined::EmptyGroup { group: positive.to_owned() })
    } else if negatives == 0.0 {
        Err(Undefined::OneGroup { group: positive.to_owned() })
    } else {
        Ok(won / (positives * negatives))
    }
}

/// ∫ |F − G| in one pass: between two neighbouring scores both distribution functions stand still.
fn transported(steps: &[Step], weights: &[f64]) -> Result<f64, Undefined> {
    let (mut ahead, mut moved, mut total) = (0.0, 0.0, 0.0);
    for (at, step) in steps.iter().enumerate() {
        let weight = weights.get(step.cluster).copied().unwrap_or(0.0);
        ahead += step.side * weight;
        total += weight;
        if let Some(next) = steps.get(at + 1) {
            moved += f64::abs(ahead) * (next.score - step.score);
        }
    }
    // Every item has a score in both distributions.
    if total > 0.0 { Ok(2.0 * moved / total) } else { Err(Undefined::Empty) }
}

/// Σ a_i b_i over eight interleaved partial sums: the same order of additions on every machine, and wide enough for
/// vector units.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut partial = [0.0f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for ((sum, x), y) in partial.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    partial.iter().sum::<f64>() + rest
}

fn finite(item: &Item, field: &'static str, found: f64) -> Result<(), Undefined> {
    if found.is_finite() { Ok(()) } else { Err(Undefined::NotFinite { id: item.id.clone(), field, found }) }
}

pub(super) fn weight(item: &Item) -> Result<f64, Undefined> {
    item.weight.ok_or_else(|| Undefined::NoWeight { id: item.id.clone() })
}

pub(super) fn group(item: &Item) -> Result<&str, Undefined> {
    item.group.as_deref().ok_or_else(|| Undefined::NoGroup { id: item.id.clone() })
}

/// A class's number.
fn class(item: &Item, found: f64) -> Result<usize, Undefined> {
    match found.fract() == 0.0 && (0.0..1000.0).contains(&found) {
        true => Ok(found as usize),
        false => Err(Undefined::Class { id: item.id.clone(), found }),
    }
}

/// 0 or 1.
fn binary(item: &Item, found: f64) -> Result<f64, Undefined> {
    match found == 0.0 || found == 1.0 {
        true => Ok(found),
        false => Err(Undefined::NotBinary { id: item.id.clone(), found }),
    }
}

/// The bin of a confidence: (lo, hi], and 0 in the first.
fn bin(item: &Item, bins: usize) -> Result<usize, Undefined> {
    if !(0.0..=1.0).contains(&item.value) {
        return Err(Undefined::Confidence { id: item.id.clone(), found: item.value });
    }
    // The edge of bin b is (b + 1)/bins as a float; comparing with it, rather than scaling, keeps edges exact.
    let edge = |bin: usize| (bin + 1) as f64 / bins as f64;
    let mut bin = ((item.value * bins as f64).ceil() as usize).saturating_sub(1).min(bins - 1);
    while bin > 0 && item.value <= edge(bin - 1) {
        bin -= 1;
    }
    while bin + 1 < bins && item.value > edge(bin) {
        bin += 1;
    }
    Ok(bin)
}
