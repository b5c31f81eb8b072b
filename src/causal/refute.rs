//! Attempts to break an estimate: the same estimator where nothing, or nothing new, should be found.
//!
//! Several draws of a refuter are judged together: with a right estimator each interval leaves 0 out with probability
//! 1 − level, so that more misses than the 99 % quantile of that binomial law are a failure.

use serde::Serialize;
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::discover::{ChiSquare, FisherZ, Independence, Statistic};
use super::estimate::{EffectEstimate, EstimateError, Estimation};
use super::graph::Graph;
use super::node_set::NodeSet;
use super::table::{Column, Table, TableError};
use crate::base::Seed;
use crate::base::seed::{normal, shuffle};
use crate::stats::design::select;
use crate::stats::multiplicity::holm;

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refuter {
    /// Its name.
    pub name: String,
    /// What it found: the mean over its draws.
    pub value: Option<f64>,
    /// Whether the estimate survived.
    pub passed: bool,
    /// The rule, and what came out.
    pub detail: String,
}

/// How refuters are run.
#[derive(Clone)]
pub struct Refutation<'a> {
    /// The table.
    pub table: &'a Table,
    /// The estimation under attack.
    pub estimation: &'a Estimation,
    /// What it found.
    pub effect: &'a EffectEstimate,
    /// Draws of the random refuters.
    pub draws: usize,
    /// Root of their randomness.
    pub seed: Seed,
}

impl Refutation<'_> {
    /// Placebo treatment, dummy outcome, random common cause, subset.
    pub fn all(&self) -> Result<Vec<Refuter>, EstimateError> {
        Ok(vec![self.placebo()?, self.dummy()?, self.common_cause()?, self.subset()?])
    }

    fn run(
        &self,
        table: &Table,
        covariate: Option<&str>,
        outcome: Option<&str>,
        treatment: Option<&str>,
    ) -> Result<EffectEstimate, EstimateError> {
        let mut estimation = self.estimation.clone();
        estimation.covariates.extend(covariate.map(str::to_owned));
        if let Some(name) = outcome {
            estimation.outcome = name.to_owned();
        }
        if let Some(name) = treatment {
            estimation.treatment = name.to_owned();
        }
        estimation.run(table)
    }

    /// Effects of draws that have none: how many intervals miss 0.
    fn nothing_there(
        &self,
        name: &str,
        what: &str,
        mut draw: impl FnMut(Seed) -> Result<EffectEstimate, EstimateError>,
    ) -> Result<Refuter, EstimateError> {
        let (mut misses, mut sum) = (0u64, 0.0);
        for number in 0..self.draws {
            let effect = draw(self.seed.fork(name).fork(&number.to_string()))?;
            misses += u64::from(effect.interval.low > 0.0 || effect.interval.high < 0.0);
            sum += effect.value;
        }
        let allowed = allowed_misses(self.draws as u64, 1.0 - self.estimation.level);
        Ok(Refuter {
            name: name.to_owned(),
            value: Some(sum / self.draws.max(1) as f64),
            passed: misses <= allowed,
            detail: format!("{what}: {misses} of {} intervals leave 0 out, and {allowed} may", self.draws),
        })
    }

    /// The treatment shuffled among rows.
    fn placebo(&self) -> Result<Refuter, EstimateError> {
        let d = match self.table.column(&self.estimation.treatment)? {
            Column::Numbers(values) => values.clone(),
            Column::Labels { .. } => self.table.treatment(&self.estimation.treatment)?.1,
        };
        self.nothing_there("placebo treatment", "the treatment shuffled among rows", |seed| {
            let mut shuffled = d.clone();
            shuffle(&mut seed.rng(), &mut shuffled);
            let (table, name) = with_column(self.table, "placebo treatment", shuffled)?;
            self.run(&table, None, None, Some(&name))
        })
    }

    fn dummy(&self) -> Result<Refuter, EstimateError> {
        self.nothing_there("dummy outcome", "the outcome replaced by noise", |seed| {
            let mut rng = seed.rng();
            let noise = (0..self.table.rows()).map(|_| normal(&mut rng)).collect();
            let (table, name) = with_column(self.table, "dummy outcome", noise)?;
            self.run(&table, None, Some(&name), None)
        })
    }

    fn common_cause(&self) -> Result<Refuter, EstimateError> {
        let mut moved: Vec<f64> = Vec::new();
        for number in 0..self.draws {
            let mut rng = self.seed.fork("random common cause").fork(&number.to_string()).rng();
            let noise = (0..self.table.rows()).map(|_| normal(&mut rng)).collect();
            let (table, name) = with_column(self.table, "random common cause", noise)?;
            moved.push(self.run(&table, Some(&name), None, None)?.value - self.effect.value);
        }
        let worst = moved.iter().fold(0.0f64, |worst, moved| worst.max(moved.abs()));
        Ok(Refuter {
            name: "random common cause".into(),
            value: Some(self.effect.value + moved.iter().sum::<f64>() / moved.len().max(1) as f64),
            passed: worst <= self.effect.error,
            detail: format!(
                "a covariate of noise moves the estimate by at most {worst:.4}, and one standard error ({:.4}) may be",
                self.effect.error
            ),
        })
    }

    /// Four fifths of the rows (of the clusters, where there are any).
    fn subset(&self) -> Result<Refuter, EstimateError> {
        let mut far = 0u64;
        let mut sum = 0.0;
        for number in 0..self.draws {
            let rows = self.kept(self.seed.fork("subset").fork(&number.to_string()))?;
            let effect = self.run(&rows_of(self.table, &rows)?, None, None, None)?;
            sum += effect.value;
            // The whole and a part share rows: the variance of their difference is the difference of their variances.
            let spread =
                (effect.error.powi(2) - self.effect.error.powi(2)).max(0.05 * self.effect.error.powi(2)).sqrt();
            far += u64::from((effect.value - self.effect.value).abs() > 2.58 * spread);
        }
        let allowed = allowed_misses(self.draws as u64, 0.05);
        Ok(Refuter {
            name: "subset".into(),
            value: Some(sum / self.draws.max(1) as f64),
            passed: far <= allowed,
            detail: format!(
                "on four fifths of the units: {far} of {} estimates lie further off than chance, and {allowed} may",
                self.draws
            ),
        })
    }

    fn kept(&self, seed: Seed) -> Result<Vec<usize>, EstimateError> {
        let n = self.table.rows();
        let units: Vec<usize> = match self.estimation.clusters.first() {
            Some(name) => self.table.levels(name, n)?.codes,
            None => (0..n).collect(),
        };
        let mut distinct = units.clone();
        distinct.sort_unstable();
        distinct.dedup();
        shuffle(&mut seed.rng(), &mut distinct);
        distinct.truncate((distinct.len() * 4).div_ceil(5));
        distinct.sort_unstable();
        Ok((0..n).filter(|row| units.get(*row).is_some_and(|unit| distinct.binary_search(unit).is_ok())).collect())
    }

    /// An outcome that the treatment cannot move but that shares its confounders: an effect on it is confounding.
    pub fn negative_control_outcome(&self, column: &str) -> Result<Refuter, EstimateError> {
        let effect = self.run(self.table, None, Some(column), None)?;
        Ok(control(format!("negative control outcome `{column}`"), &effect))
    }

    /// A treatment that cannot move the outcome but shares its confounders.
    pub fn negative_control_treatment(&self, column: &str) -> Result<Refuter, EstimateError> {
        let effect = self.run(self.table, None, None, Some(column))?;
        Ok(control(format!("negative control treatment `{column}`"), &effect))
    }
}

fn control(name: String, effect: &EffectEstimate) -> Refuter {
    let passed = effect.interval.low <= 0.0 && effect.interval.high >= 0.0;
    let detail = format!("interval [{:.4}, {:.4}], and it should hold 0", effect.interval.low, effect.interval.high);
    Refuter { name, value: Some(effect.value), passed, detail }
}

/// The 99 % quantile of misses.
fn allowed_misses(draws: u64, rate: f64) -> u64 {
    Binomial::new(rate, draws).map_or(0, |law| law.inverse_cdf(0.99))
}

fn with_column(table: &Table, name: &str, values: Vec<f64>) -> Result<(Table, String), TableError> {
    let mut name = name.to_owned();
    while table.names().contains(&name) {
        name.push('\'');
    }
    let mut table = table.clone();
    table.push(&name, Column::Numbers(values))?;
    Ok((table, name))
}

/// Some rows of a table.
pub fn rows_of(table: &Table, rows: &[usize]) -> Result<Table, TableError> {
    let mut out = Table::default();
    for name in table.names() {
        let column = match table.column(name)? {
            Column::Numbers(values) => Column::Numbers(select(values, rows)),
            Column::Labels { levels, codes } => Column::Labels { levels: levels.clone(), codes: select(codes, rows) },
        };
        out.push(name, column)?;
    }
    Ok(out)
}

/// An independence that a graph implies, and what the data say of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Implication {
    /// `x ⊥ y | z`.
    pub text: String,
    /// The p-value.
    pub p_value: f64,
    /// Adjusted for their number (Holm).
    pub adjusted: f64,
}

/// Columns with more values than this are tested as normal ones.
const DISCRETE: usize = 6;

/// The independences that a graph implies among the columns of a table, one a pair that is not joined, each given a
/// minimal separating set; discrete columns by G, numbers by Fisher's z; sets that mix many-valued numbers with labels are left
/// out.
pub fn implications(graph: &Graph, table: &Table) -> Result<Vec<Implication>, super::discover::DiscoverError> {
    let there = graph.observed().iter().filter(|&node| table.names().iter().any(|name| name == graph.name(node)));
    let nodes: Vec<usize> = there.collect();
    let mut found: Vec<Implication> = Vec::new();
    for (at, &a) in nodes.iter().enumerate() {
        for &b in nodes.iter().skip(at + 1) {
            let Some(given) = separator(graph, a, b, nodes.iter().copied().collect()) else { continue };
            let all: Vec<usize> = [a, b].into_iter().chain(given.iter()).collect();
            let names: Vec<String> = all.iter().map(|&node| graph.name(node).to_owned()).collect();
            let labelled = |name: &String| matches!(table.column(name), Ok(Column::Labels { .. }));
            let discrete = names.iter().all(|name| table.levels(name, DISCRETE).is_ok());
            let z: Vec<usize> = (2..names.len()).collect();
            let p_value = match discrete {
                true => ChiSquare::new(table, &names, Statistic::G)?.p_value(0, 1, &z),
                // Labels beside numbers: no test here takes them together.
                false if names.iter().any(labelled) => continue,
                false => FisherZ::new(table, &names)?.p_value(0, 1, &z),
            };
            let bar = if given.is_empty() { String::new() } else { format!(" | {}", graph.names(given).join(", ")) };
            let text = format!("{} ⊥ {}{bar}", graph.name(a), graph.name(b));
            found.push(Implication { text, p_value, adjusted: 1.0 });
        }
    }
    let adjusted = holm(&found.iter().map(|implication| implication.p_value).collect::<Vec<_>>());
    found.iter_mut().zip(adjusted).for_each(|(implication, p)| implication.adjusted = p);
    Ok(found)
}

/// A minimal set of `among` that separates two nodes, where one does.
pub fn separator(graph: &Graph, a: usize, b: usize, among: NodeSet) -> Option<NodeSet> {
    let ends = NodeSet::one(a).with(b);
    let mut set = (graph.ancestors(ends) & among) - ends;
    let separates = |z: NodeSet| graph.separated(NodeSet::one(a), NodeSet::one(b), z);
    if !separates(set) {
        return None;
    }
    for node in set.iter() {
        if separates(set.without(node)) {
            set.remove(node);
        }
    }
    Some(set)
}

/// The graph's implications as a refuter: none may fail at `alpha` once corrected.
pub fn implications_refuter(
    graph: &Graph,
    table: &Table,
    alpha: f64,
) -> Result<Refuter, super::discover::DiscoverError> {
    let all = implications(graph, table)?;
    let failed: Vec<&str> = all.iter().filter(|one| one.adjusted < alpha).map(|one| one.text.as_str()).collect();
    let detail = match failed.is_empty() {
        true => format!("{} independences that the graph implies, none refuted at {alpha} (Holm)", all.len()),
        false => format!("{} of {} implied independences fail: {}", failed.len(), all.len(), failed.join("; ")),
    };
    Ok(Refuter { name: "graph implications".into(), value: None, passed: failed.is_empty(), detail })
}

/// Two-sided normal p-value of an estimate.
pub fn p_value(effect: &EffectEstimate) -> f64 {
    2.0 * Normal::standard().sf((effect.value / effect.error).abs())
}
