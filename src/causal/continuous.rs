//! Structural models with additive noise: x = f(parents) + u, u known exactly once x is.
//!
//! Observation and intervention by sampling; counterfactuals of a unit that was seen whole are exact: u = x − f(parents)
//! (abduction), the mechanism of what is set is replaced (action), the rest is computed again (prediction).

use super::graph::Graph;
use crate::base::Seed;
use crate::base::seed::{normal, uniform};

/// The distribution of a node's noise, mean 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Normal with this standard deviation.
    Normal(f64),
    /// Uniform on [−a, a].
    Uniform(f64),
    /// Exponential with this mean, less its mean.
    Exponential(f64),
    /// None: a function of the parents.
    None,
}

/// f(parents' values in the order of the parents' indexes).
pub type Mechanism = Box<dyn Fn(&[f64]) -> f64 + Send + Sync>;

/// A structural model with additive noise.
pub struct AdditiveModel {
    graph: Graph,
    mechanisms: Vec<(Mechanism, Noise)>,
    order: Vec<usize>,
}

impl AdditiveModel {
    /// One mechanism a node; `None` where the numbers differ or the graph has bidirected edges.
    pub fn new(graph: Graph, mechanisms: Vec<(Mechanism, Noise)>) -> Option<Self> {
        let order = graph.topological_order().ok()?;
        let fits = mechanisms.len() == graph.len() && graph.bidirected().is_empty();
        fits.then_some(Self { graph, mechanisms, order })
    }

    /// x = Σ coefficient · parent + noise.
    pub fn linear(
        graph: Graph,
        coefficient: impl Fn(usize, usize) -> f64,
        noise: impl Fn(usize) -> Noise,
    ) -> Option<Self> {
        let mechanism = |node: usize| {
            let weights: Vec<f64> = graph.parents(node).iter().map(|parent| coefficient(parent, node)).collect();
            let f: Mechanism =
                Box::new(move |parents| parents.iter().zip(&weights).map(|(x, weight)| x * weight).sum());
            (f, noise(node))
        };
        let mechanisms = (0..graph.len()).map(mechanism).collect();
        Self::new(graph, mechanisms)
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    fn expected(&self, node: usize, state: &[f64]) -> f64 {
        let parents: Vec<f64> =
            self.graph.parents(node).iter().filter_map(|parent| state.get(parent)).copied().collect();
        self.mechanisms.get(node).map_or(0.0, |(f, _)| f(&parents))
    }

    /// The unit with this noise under `do(set)`.
    pub fn world(&self, noise: &[f64], set: &[(usize, f64)]) -> Vec<f64> {
        let mut state = vec![0.0; self.graph.len()];
        for &node in &self.order {
            let value = match set.iter().find(|(other, _)| *other == node) {
                Some((_, value)) => *value,
                None => self.expected(node, &state) + noise.get(node).copied().unwrap_or(0.0),
            };
            state.iter_mut().skip(node).take(1).for_each(|slot| *slot = value);
        }
        state
    }

    /// The noise of a unit that was seen whole.
    pub fn abduct(&self, unit: &[f64]) -> Vec<f64> {
        let residual = |(node, value): (usize, &f64)| value - self.expected(node, unit);
        unit.iter().enumerate().map(residual).collect()
    }

    /// What a unit that was seen whole would have been under `do(set)`.
    pub fn counterfactual(&self, unit: &[f64], set: &[(usize, f64)]) -> Vec<f64> {
        self.world(&self.abduct(unit), set)
    }

    /// `n` units under `do(set)`, row by row; the same seed gives the same units whatever is set.
    pub fn sample(&self, n: usize, set: &[(usize, f64)], seed: Seed) -> Vec<Vec<f64>> {
        let mut rngs: Vec<_> = (0..self.graph.len()).map(|node| seed.fork(self.graph.name(node)).rng()).collect();
        let mut unit = || {
            let draw = |(rng, (_, noise)): (&mut _, &(Mechanism, Noise))| match noise {
                Noise::Normal(sd) => sd * normal(rng),
                Noise::Uniform(a) => a * (2.0 * uniform(rng) - 1.0),
                Noise::Exponential(mean) => mean * (-(1.0 - uniform(rng)).ln() - 1.0),
                Noise::None => 0.0,
            };
            let noise: Vec<f64> = rngs.iter_mut().zip(&self.mechanisms).map(draw).collect();
            self.world(&noise, set)
        };
        (0..n).map(|_| unit()).collect()
    }
}
