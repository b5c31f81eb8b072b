//! Models with explicit latents, enumerated in exact rationals: the truth that estimands are held against.
//!
//! All variables are binary. Each bidirected edge is an independent latent bit; each node has a table of P(1) by the
//! values of its parents and of the latents that touch it, read as a number with the first bit most significant.
//! Numerators are whole numbers over one denominator, so that a world's weight is exact in 128 bits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::estimand::Regime;
use super::evaluate::{Measure, Number};
use super::graph::Graph;
use super::node_set::NodeSet;
use crate::base::Seed;
use crate::base::seed::index;

impl Number for BigRational {
    fn zero() -> Self {
        Zero::zero()
    }
    fn one() -> Self {
        One::one()
    }
    fn vanishes(&self) -> bool {
        self.is_zero()
    }
}

/// A binary structural causal model on a graph without latent nodes.
#[derive(Debug, Clone)]
pub struct Model {
    /// P(1) of each latent, as numerators, with the edge that it stands for.
    latents: Vec<(usize, usize, u32)>,
    /// The nodes in parent-first order, with their parents, the latents that touch them, and P(1) by code.
    nodes: Vec<Mechanism>,
    denominator: u32,
}

#[derive(Debug, Clone)]
struct Mechanism {
    node: usize,
    parents: Vec<usize>,
    latents: Vec<usize>,
    table: Vec<u32>,
}

impl Model {
    /// A model on the ancestral set `within` of a graph, with numerators from two functions: of a latent by its place
    /// among the bidirected edges, and of a node's P(1) by node and code. `edges` gives the order of the latents.
    pub fn new(
        graph: &Graph,
        within: NodeSet,
        edges: &[(usize, usize)],
        denominator: u32,
        mut latent: impl FnMut(usize) -> u32,
        mut table: impl FnMut(usize, usize) -> u32,
    ) -> Self {
        let inside = |&(a, b): &(usize, usize)| within.contains(a) && within.contains(b);
        let kept = edges.iter().enumerate().filter(|(_, edge)| inside(edge));
        let latents: Vec<(usize, usize, u32)> = kept.map(|(place, &(a, b))| (a, b, latent(place))).collect();
        let order = graph.topological_order().unwrap_or_default();
        let mechanism = |node: usize| {
            let parents: Vec<usize> = graph.parents(node).iter().collect();
            let touching: Vec<usize> = (0..latents.len())
                .filter(|&k| latents.get(k).is_some_and(|&(a, b, _)| a == node || b == node))
                .collect();
            let codes = 1usize << (parents.len() + touching.len());
            let table = (0..codes).map(|code| table(node, code)).collect();
            Mechanism { node, parents, latents: touching, table }
        };
        let nodes = order.into_iter().filter(|&node| within.contains(node)).map(mechanism).collect();
        Self { latents, nodes, denominator }
    }

    /// The model of the reference's exact oracle: latent k has P(1) = (4 + k) / 10, node i at code c has
    /// P(1) = (1 + (7 i + 5 c + 3 c²) mod 9) / 10. `edges` is the order in which the graph lists its bidirected edges.
    pub fn reference(graph: &Graph, edges: &[(usize, usize)]) -> Self {
        let latent = |place: usize| 4 + place as u32;
        let table = |node: usize, code: usize| 1 + ((7 * node + 5 * code + 3 * code * code) % 9) as u32;
        Self::new(graph, graph.all(), edges, 10, latent, table)
    }

    /// A random model in 64ths; `extreme` puts most probabilities next to 0 and 1.
    pub fn random(graph: &Graph, within: NodeSet, seed: Seed, extreme: Extreme) -> Self {
        let mut rng = seed.rng();
        let mut draw = move || match extreme {
            Extreme::No => 1 + index(&mut rng, 63) as u32,
            Extreme::Yes => [1, 63, 1, 63, 2, 62, 32].get(index(&mut rng, 7)).copied().unwrap_or(1),
        };
        let latents: Vec<u32> = graph.bidirected().iter().map(|_| draw()).collect();
        Self::new(graph, within, &graph.bidirected(), 64, |k| latents.get(k).copied().unwrap_or(1), |_, _| draw())
    }

    /// The same model with new mechanisms for some nodes: another domain.
    pub fn with_other(&self, nodes: NodeSet, seed: Seed) -> Self {
        let mut rng = seed.rng();
        let mut other = self.clone();
        for mechanism in other.nodes.iter_mut().filter(|mechanism| nodes.contains(mechanism.node)) {
            mechanism.table.iter_mut().for_each(|p| *p = 1 + index(&mut rng, self.denominator as usize - 1) as u32);
        }
        other
    }

    /// The weights of all worlds under `do(set)`, by the bits of the nodes (node i is bit i): whole numbers over
    /// [`Model::total`].
    fn weights(&self, world: World) -> HashMap<usize, u128> {
        let mut weights = HashMap::new();
        let d = u128::from(self.denominator);
        for latents in 0..1usize << self.latents.len() {
            let bit = |k: usize| latents >> k & 1 == 1;
            let own =
                |(k, &(_, _, p)): (usize, &(usize, usize, u32))| if bit(k) { u128::from(p) } else { d - u128::from(p) };
            let weight = self.latents.iter().enumerate().map(own).product();
            self.spread(0, world, &bit, 0, weight, &mut weights);
        }
        weights
    }

    fn spread(
        &self,
        place: usize,
        world: World,
        latent: &impl Fn(usize) -> bool,
        state: usize,
        weight: u128,
        weights: &mut HashMap<usize, u128>,
    ) {
        let Some(mechanism) = self.nodes.get(place) else {
            *weights.entry(state).or_insert(0) += weight;
            return;
        };
        let d = u128::from(self.denominator);
        let at = 1usize << mechanism.node;
        if world.set.contains(mechanism.node) {
            // A set node keeps its factor of the denominator, so that all worlds have the same.
            return self.spread(place + 1, world, latent, state | (world.values & at), weight * d, weights);
        }
        let parents = mechanism.parents.iter().map(|&parent| world.passed_on(parent, mechanism.node, state));
        let bits = parents.chain(mechanism.latents.iter().map(|&k| usize::from(latent(k))));
        let code = bits.fold(0, |code, bit| 2 * code + bit);
        let p = u128::from(mechanism.table.get(code).copied().unwrap_or(0));
        self.spread(place + 1, world, latent, state | at, weight * p, weights);
        self.spread(place + 1, world, latent, state, weight * (d - p), weights);
    }

    /// The common denominator of all weights.
    fn total(&self) -> BigInt {
        BigInt::from(self.denominator).pow((self.nodes.len() + self.latents.len()) as u32)
    }
}

/// What is done to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct World {
    /// The nodes that are set.
    set: NodeSet,
    /// Their values, as bits.
    values: usize,
    /// A node whose children see values of their own, whatever it is itself.
    split: Option<Split>,
}

/// A node that passes one value on to some children and another to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Split {
    /// The node.
    pub node: usize,
    /// The children that see the active value.
    pub active: NodeSet,
    /// The baseline and the active value.
    pub levels: [usize; 2],
}

impl World {
    /// The value of a parent that a child sees.
    fn passed_on(&self, parent: usize, child: usize, state: usize) -> usize {
        match self.split {
            Some(Split { node, active, levels: [baseline, value] }) if node == parent => {
                if active.contains(child) {
                    value
                } else {
                    baseline
                }
            }
            _ => state >> parent & 1,
        }
    }
}

/// Whether probabilities crowd next to 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extreme {
    /// They are spread evenly.
    No,
    /// They do.
    Yes,
}

/// The weights of each domain in each world.
type Worlds = HashMap<(usize, World), Weights>;
type Weights = Rc<HashMap<usize, u128>>;

/// One model a domain, with everything that can be known of them: each regime's exact probabilities.
pub struct Truth {
    models: Vec<Model>,
    worlds: RefCell<Worlds>,
    /// Weights of some nodes' values, by the nodes as bits.
    marginals: RefCell<HashMap<(usize, World, usize), Weights>>,
}

impl Truth {
    /// Of one model, or of several domains' in their order.
    pub fn new(models: Vec<Model>) -> Self {
        Self { models, worlds: RefCell::default(), marginals: RefCell::default() }
    }

    /// P(y | do(x), z) at the values of all variables; `None` where P(z | do(x)) is 0.
    pub fn effect(&self, y: NodeSet, x: NodeSet, z: NodeSet, values: &[Option<usize>]) -> Option<BigRational> {
        let regime = Regime { domain: 0, set: x };
        let given = self.probability(regime, z, values);
        (!given.vanishes()).then(|| self.probability(regime, y | z, values) / given)
    }
}

impl Measure for Truth {
    type Number = BigRational;

    fn cardinality(&self, _: usize) -> usize {
        2
    }

    fn probability(&self, regime: Regime, event: NodeSet, values: &[Option<usize>]) -> BigRational {
        let world = World { set: regime.set, values: bits(regime.set, values), split: None };
        self.mass(regime.domain, world, event, values)
    }
}

impl Truth {
    /// P(the nodes of `event` have their `values`) where one node's children see values of their own: a nested
    /// counterfactual, the node itself being as it naturally is.
    pub fn nested(&self, split: Split, event: NodeSet, values: &[Option<usize>]) -> BigRational {
        self.mass(0, World { split: Some(split), ..World::default() }, event, values)
    }

    fn mass(&self, domain: usize, world: World, event: NodeSet, values: &[Option<usize>]) -> BigRational {
        let Some(model) = self.models.get(domain) else { return Number::zero() };
        let mask = event.iter().fold(0, |mask, node| mask | 1usize << node);
        let sum = self.marginal(model, (domain, world, mask)).get(&bits(event, values)).copied().unwrap_or(0);
        BigRational::new(BigInt::from(sum), model.total())
    }
}

impl Truth {
    fn marginal(&self, model: &Model, key: (usize, World, usize)) -> Weights {
        if let Some(known) = self.marginals.borrow().get(&key) {
            return known.clone();
        }
        let (domain, world, mask) = key;
        let known = self.worlds.borrow().get(&(domain, world)).cloned();
        let weights = known.unwrap_or_else(|| {
            let weights = Rc::new(model.weights(world));
            self.worlds.borrow_mut().insert((domain, world), weights.clone());
            weights
        });
        let mut sums = HashMap::new();
        for (state, weight) in weights.iter() {
            *sums.entry(state & mask).or_insert(0) += weight;
        }
        let sums = Rc::new(sums);
        self.marginals.borrow_mut().insert(key, sums.clone());
        sums
    }
}

/// The members of a set whose value is 1, as bits.
fn bits(set: NodeSet, values: &[Option<usize>]) -> usize {
    let one = |node: &usize| values.get(*node).copied().flatten() == Some(1);
    set.iter().filter(one).fold(0, |bits, node| bits | 1usize << node)
}
