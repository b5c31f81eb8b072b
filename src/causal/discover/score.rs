//! Scores of a variable given parents, larger is better; a graph's score is their sum, equal for equivalent graphs.
//!
//! * Gaussian BIC: −n/2 · ln(residual variance) − ln(n)/2 · |parents|.
//! * BDeu (Heckerman, Geiger and Chickering 1995): the marginal likelihood of discrete tables with an even prior of `equivalent`
//!   rows.

use statrs::function::gamma::ln_gamma;

use super::DiscoverError;
use super::independence::{ChiSquare, FisherZ, LEVELS, Statistic};
use crate::causal::table::Table;
use crate::stats::design::{dot, solve_positive};

/// A decomposable score.
pub trait Score: Sync {
    /// The variables' names.
    fn names(&self) -> &[String];
    /// The score of one variable given others.
    fn local(&self, node: usize, parents: &[usize]) -> f64;
}

/// The Gaussian BIC on correlations.
pub struct GaussianBic {
    names: Vec<String>,
    correlations: Vec<Vec<f64>>,
    rows: f64,
}

impl GaussianBic {
    /// Of numeric columns; a singular correlation matrix is refused.
    pub fn new(table: &Table, names: &[String]) -> Result<Self, DiscoverError> {
        let fisher = FisherZ::new(table, names)?;
        let n = names.len();
        let correlations =
            (0..n).map(|a| (0..n).map(|b| if a == b { 1.0 } else { fisher.partial(a, b, &[]) }).collect());
        Ok(Self { names: names.to_vec(), correlations: correlations.collect(), rows: table.rows() as f64 })
    }
}

impl Score for GaussianBic {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn local(&self, node: usize, parents: &[usize]) -> f64 {
        let r = |a: usize, b: usize| self.correlations.get(a).and_then(|row| row.get(b)).copied().unwrap_or(0.0);
        let matrix: Vec<Vec<f64>> = parents.iter().map(|&a| parents.iter().map(|&b| r(a, b)).collect()).collect();
        let right: Vec<f64> = parents.iter().map(|&a| r(node, a)).collect();
        let explained = solve_positive(&matrix, &right).map_or(0.0, |beta| dot(&beta, &right));
        -self.rows / 2.0 * (1.0 - explained).max(1e-12).ln() - self.rows.ln() / 2.0 * parents.len() as f64
    }
}

/// BDeu on discrete columns.
pub struct Bdeu {
    names: Vec<String>,
    columns: Vec<Vec<usize>>,
    sizes: Vec<usize>,
    equivalent: f64,
}

impl Bdeu {
    /// Of discrete columns, with a prior that weighs `equivalent` rows. 1 is a good start: larger priors add
    /// spurious edges between skewed columns.
    pub fn new(table: &Table, names: &[String], equivalent: f64) -> Result<Self, DiscoverError> {
        ChiSquare::new(table, names, Statistic::G)?;
        let (mut columns, mut sizes) = (Vec::new(), Vec::new());
        for name in names {
            let levels = table.levels(name, LEVELS)?;
            sizes.push(levels.names.len());
            columns.push(levels.codes);
        }
        Ok(Self { names: names.to_vec(), columns, sizes, equivalent })
    }
}

impl Score for Bdeu {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn local(&self, node: usize, parents: &[usize]) -> f64 {
        let (Some(own), Some(&size)) = (self.columns.get(node), self.sizes.get(node)) else { return 0.0 };
        let mut key = vec![0usize; own.len()];
        let mut combinations = 1.0;
        for &parent in parents {
            if let (Some(column), Some(&levels)) = (self.columns.get(parent), self.sizes.get(parent)) {
                key.iter_mut().zip(column).for_each(|(key, code)| *key = *key * levels + code);
                combinations *= levels as f64;
            }
        }
        let mut counts: std::collections::BTreeMap<usize, Vec<u32>> = std::collections::BTreeMap::new();
        for (key, code) in key.iter().zip(own) {
            let row = counts.entry(*key).or_insert_with(|| vec![0; size]);
            row.iter_mut().skip(*code).take(1).for_each(|count| *count += 1);
        }
        let (of_row, of_cell) = (self.equivalent / combinations, self.equivalent / combinations / size as f64);
        let mut score = 0.0;
        for row in counts.values() {
            let total: u32 = row.iter().sum();
            score += ln_gamma(of_row) - ln_gamma(of_row + f64::from(total));
            let cells = row.iter().filter(|count| **count > 0);
            score += cells.map(|count| ln_gamma(of_cell + f64::from(*count)) - ln_gamma(of_cell)).sum::<f64>();
        }
        score
    }
}
