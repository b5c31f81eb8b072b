//! The distribution of a table: what an estimand is evaluated on where there are data.

use std::cell::RefCell;
use std::collections::HashMap;

use super::estimand::Regime;
use super::evaluate::Measure;
use super::graph::Graph;
use super::node_set::NodeSet;
use super::table::{Levels, Table, TableError};

/// The most values of a discrete variable.
const LEVELS: usize = 64;

/// Weighted shares of the rows of a table, by the nodes of a graph. There is one regime: the data's own.
pub struct Empirical {
    levels: Vec<Levels>,
    weights: Vec<f64>,
    total: f64,
    marginals: RefCell<HashMap<NodeSet, HashMap<Vec<usize>, f64>>>,
}

impl Empirical {
    /// Matches the nodes of `needed` with the columns of their names; `weights` are the rows' (all 1 where absent).
    pub fn new(graph: &Graph, needed: NodeSet, table: &Table, weights: Option<&[f64]>) -> Result<Self, TableError> {
        let mut levels = vec![Levels { names: Vec::new(), codes: Vec::new() }; graph.len()];
        for node in needed.iter() {
            let own = table.levels(graph.name(node), LEVELS)?;
            levels.iter_mut().skip(node).take(1).for_each(|slot| *slot = own.clone());
        }
        let weights = weights.map_or_else(|| vec![1.0; table.rows()], <[f64]>::to_vec);
        let total = weights.iter().sum();
        Ok(Self { levels, weights, total, marginals: RefCell::default() })
    }

    /// The values of a node, as text.
    pub fn values(&self, node: usize) -> &[String] {
        self.levels.get(node).map_or(&[], |levels| &levels.names)
    }

    /// The value that most rows have.
    pub fn most_frequent(&self, node: usize) -> usize {
        let mut best = (0, 0.0);
        for (key, share) in self.marginal(NodeSet::one(node)) {
            let value = key.first().copied().unwrap_or(0);
            if share > best.1 || (share == best.1 && value < best.0) {
                best = (value, share);
            }
        }
        best.0
    }

    fn marginal(&self, event: NodeSet) -> HashMap<Vec<usize>, f64> {
        let columns: Vec<&[usize]> =
            event.iter().filter_map(|node| self.levels.get(node)).map(|levels| levels.codes.as_slice()).collect();
        let mut shares = HashMap::new();
        for (row, weight) in self.weights.iter().enumerate() {
            let key: Vec<usize> = columns.iter().filter_map(|codes| codes.get(row)).copied().collect();
            *shares.entry(key).or_insert(0.0) += weight / self.total;
        }
        shares
    }
}

impl Measure for Empirical {
    type Number = f64;

    fn cardinality(&self, node: usize) -> usize {
        self.values(node).len()
    }

    fn probability(&self, _: Regime, event: NodeSet, values: &[Option<usize>]) -> f64 {
        let key: Vec<usize> = event.iter().filter_map(|node| values.get(node).copied().flatten()).collect();
        let mut known = self.marginals.borrow_mut();
        let shares = known.entry(event).or_insert_with(|| self.marginal(event));
        shares.get(&key).copied().unwrap_or(0.0)
    }
}
