//! Discrete structural causal models: a graph whose every node has a table, latent nodes included.
//!
//! A node is `f(parents, u)` with its own u ~ U[0, 1), read by inverse transform in the order of its values. That makes
//! a table a mechanism, and counterfactuals answerable; it is one mechanism among those that agree with the table
//! (responses to different parents are coupled as tightly as order allows), so unit-level answers rest on it while
//! observational and interventional ones do not. [`super::queries`] asks the questions.

use super::graph::Graph;
use super::node::Visibility;
use crate::base::Seed;
use crate::base::seed::uniform;

/// What is wrong with tables, or with a question to them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// Too few values.
    #[error("`{0}` needs at least two different values")]
    Values(String),
    /// Tables and graph do not fit.
    #[error("the table of `{node}` has {found} rows, and its parents' values combine in {wanted} ways")]
    Rows {
        /// The node.
        node: String,
        /// Rows found.
        found: usize,
        /// Rows needed.
        wanted: usize,
    },
    /// A row is no distribution.
    #[error("row {row} of the table of `{node}` is no distribution over its {values} values (sum {sum})")]
    Row {
        /// The node.
        node: String,
        /// The row, from 1.
        row: usize,
        /// How many numbers it needs.
        values: usize,
        /// What they sum to.
        sum: f64,
    },
    /// The listed parents are not those of the graph.
    #[error("the parents listed for `{0}` are not those of the graph")]
    Parents(String),
    /// A bidirected edge has no table.
    #[error("`{0} ↔ {1}` has no table: write the latent cause as a node of its own")]
    Bidirected(String, String),
    /// A value that a node does not have.
    #[error("`{node}` has no value `{value}`: it is one of {known}")]
    UnknownValue {
        /// The node.
        node: String,
        /// The value asked for.
        value: String,
        /// Its values.
        known: String,
    },
    /// Evidence of probability 0.
    #[error("what is conditioned on has probability 0 in this model: no answer follows from it")]
    Impossible,
    /// A world that reads one that comes later.
    #[error("world {0} takes a value from world {1}, which does not come before it")]
    WorldOrder(usize, usize),
    /// An enumeration that would not end.
    #[error("the question has {0} joint states or more; leave out nodes, or sample")]
    TooLarge(usize),
}

/// A discrete structural causal model.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    graph: Graph,
    values: Vec<Vec<String>>,
    parents: Vec<Vec<usize>>,
    /// One row a combination of the parents' values, the last parent running fastest.
    tables: Vec<Vec<Vec<f64>>>,
    order: Vec<usize>,
}

impl Network {
    /// Puts a graph and its tables together; `parents` gives the order in which rows combine the parents' values. Rows
    /// that sum to 1 within 1e-6 but not 1e-9 are scaled to do so.
    pub fn new(
        graph: Graph,
        values: Vec<Vec<String>>,
        parents: Vec<Vec<usize>>,
        mut tables: Vec<Vec<Vec<f64>>>,
    ) -> Result<Self, NetworkError> {
        let name = |node: usize| graph.name(node).to_owned();
        if let Some((a, b)) = graph.bidirected().first() {
            return Err(NetworkError::Bidirected(name(*a), name(*b)));
        }
        for node in 0..graph.len() {
            let own = values.get(node).map_or(0, Vec::len);
            let distinct =
                values.get(node).is_some_and(|list| list.iter().all(|v| list.iter().filter(|w| *w == v).count() == 1));
            if own < 2 || !distinct {
                return Err(NetworkError::Values(name(node)));
            }
            let listed = parents.get(node).map_or(&[][..], Vec::as_slice);
            if listed.iter().copied().collect::<super::NodeSet>() != graph.parents(node)
                || listed.len() != graph.parents(node).len()
            {
                return Err(NetworkError::Parents(name(node)));
            }
            let wanted: usize = listed.iter().map(|&parent| values.get(parent).map_or(0, Vec::len)).product();
            let rows = tables.get_mut(node).map_or(&mut [][..], Vec::as_mut_slice);
            if rows.len() != wanted {
                return Err(NetworkError::Rows { node: name(node), found: rows.len(), wanted });
            }
            for (index, row) in rows.iter_mut().enumerate() {
                let sum: f64 = row.iter().sum();
                if row.len() != own || row.iter().any(|p| !(0.0..=1.0 + 1e-9).contains(p)) || (sum - 1.0).abs() > 1e-6 {
                    return Err(NetworkError::Row { node: name(node), row: index + 1, values: own, sum });
                }
                if (sum - 1.0).abs() > 1e-9 {
                    row.iter_mut().for_each(|p| *p /= sum);
                }
            }
        }
        let order = graph.topological_order().unwrap_or_default();
        Ok(Self { graph, values, parents, tables, order })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The same model with some nodes declared unobserved.
    pub fn with_latent(mut self, node: usize) -> Self {
        self.graph.set_visibility(node, Visibility::Latent);
        self
    }

    /// A node's values.
    pub fn values(&self, node: usize) -> &[String] {
        self.values.get(node).map_or(&[], Vec::as_slice)
    }

    /// The index of a value.
    pub fn value(&self, node: usize, value: &str) -> Result<usize, NetworkError> {
        self.values(node).iter().position(|other| other == value).ok_or_else(|| NetworkError::UnknownValue {
            node: self.graph.name(node).to_owned(),
            value: value.to_owned(),
            known: self.values(node).join(", "),
        })
    }

    /// The parents in the order in which rows combine their values.
    pub fn parents(&self, node: usize) -> &[usize] {
        self.parents.get(node).map_or(&[], Vec::as_slice)
    }

    /// The rows of a node's table with the parents' values that they belong to.
    pub fn rows(&self, node: usize) -> Vec<(Vec<&str>, &[f64])> {
        let parents = self.parents(node);
        let key = |mut at: usize| {
            let mut key: Vec<&str> = Vec::new();
            for &parent in parents.iter().rev() {
                let values = self.values(parent);
                key.push(values.get(at % values.len().max(1)).map_or("", String::as_str));
                at /= values.len().max(1);
            }
            key.reverse();
            key
        };
        let rows = self.tables.get(node).map_or(&[][..], Vec::as_slice);
        rows.iter().enumerate().map(|(at, row)| (key(at), row.as_slice())).collect()
    }

    /// The nodes, parents first.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// P(node | parents), the parents' values read from a state of all nodes.
    pub fn row(&self, node: usize, state: &[usize]) -> &[f64] {
        let step =
            |row: usize, &parent: &usize| row * self.values(parent).len() + state.get(parent).copied().unwrap_or(0);
        let row = self.parents(node).iter().fold(0, step);
        self.tables.get(node).and_then(|rows| rows.get(row)).map_or(&[], Vec::as_slice)
    }

    /// `n` units under `do(set)`, latent nodes included. A unit's noise hangs on its number and the node's name, so
    /// that the same seed under another `do` gives the same units in another world.
    pub fn sample(&self, n: usize, set: &[(usize, usize)], seed: Seed) -> Vec<Vec<usize>> {
        let streams: Vec<Seed> = (0..self.graph.len()).map(|node| seed.fork(self.graph.name(node))).collect();
        let mut rngs: Vec<_> = streams.iter().map(Seed::rng).collect();
        let mut unit = || {
            let mut state = vec![0; self.graph.len()];
            for &node in &self.order {
                let u = rngs.get_mut(node).map_or(0.0, uniform);
                let value = match set.iter().find(|(other, _)| *other == node) {
                    Some((_, value)) => *value,
                    None => inverse(self.row(node, &state), u),
                };
                state.iter_mut().skip(node).take(1).for_each(|slot| *slot = value);
            }
            state
        };
        (0..n).map(|_| unit()).collect()
    }
}

/// The first value whose cumulated probability exceeds u; the last possible one where rounding leaves none.
fn inverse(row: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    for (value, &p) in row.iter().enumerate() {
        sum += p;
        if u < sum {
            return value;
        }
    }
    row.iter().rposition(|&p| p > 0.0).unwrap_or(0)
}
