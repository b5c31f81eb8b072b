//! The structural causal model of a scenario: finite variables, each a function of its parents and one uniform noise.
//!
//! A variable's value is `f(parents, u)` with its own u ~ U[0, 1): a table is read by inverse transform in the order
//! of its values, a choice list at index ⌊u · length⌋. A unit is the vector of all u. `do()` replaces functions and
//! keeps u, so that the two worlds of a unit differ by what the intervention moved and by nothing else (abduction,
//! action, prediction with a known abduction). An environment replaces tables.

use std::collections::BTreeMap;
use std::ops::Range;

use super::pair::Split;
use super::spec::PoolSpec;
use crate::base::Seed;
use crate::base::seed::uniform;
use crate::causal::{NodeSet, Role};

/// One variable, with the mechanism of the training environment.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub role: Role,
    /// All values that it can take.
    pub values: Vec<String>,
    /// The variables that its mechanism reads.
    pub parents: Vec<usize>,
    /// How its value follows.
    pub mechanism: Mechanism,
    /// Which words of a choice list belong to which split.
    pub pools: Option<Pools>,
}

/// How a value follows from the parents' values and the noise; one row a combination of parents' values, the last
/// parent running fastest.
#[derive(Debug, Clone, PartialEq)]
pub enum Mechanism {
    /// Probabilities of the values.
    Table(Vec<Vec<f64>>),
    /// Equally likely indexes of values.
    Choice(Vec<Vec<usize>>),
}

/// Disjoint stretches of a choice list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools {
    tuning: Range<usize>,
    discovery: Range<usize>,
    evaluation: Range<usize>,
}

impl Pools {
    pub(super) fn new(spec: PoolSpec) -> Self {
        let (first, second) = (spec.tuning, spec.tuning + spec.discovery);
        Self { tuning: 0..first, discovery: first..second, evaluation: second..second + spec.evaluation }
    }

    /// The number of words in all pools together.
    pub fn total(&self) -> usize {
        self.evaluation.end
    }

    /// The indexes that `split` may use.
    pub fn of(&self, split: Split) -> Range<usize> {
        match split {
            Split::Tuning => self.tuning.clone(),
            Split::Discovery => self.discovery.clone(),
            Split::Evaluation => self.evaluation.clone(),
        }
    }
}

/// The values of all variables, as indexes into their `values`.
pub type World = Vec<usize>;

/// Which words the choice lists offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// All of them.
    All,
    /// Those of one split.
    Of(Split),
}

/// A finite structural causal model in parent-first order.
#[derive(Debug, Clone)]
pub struct Scm {
    pub(super) variables: Vec<Variable>,
    pub(super) environments: BTreeMap<String, BTreeMap<usize, Mechanism>>,
}

/// The environment that is declared, where shortcuts hold.
pub const TRAIN: &str = "train";

impl Scm {
    /// The variables, parents before children.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The variable at an index.
    pub fn variable(&self, index: usize) -> Option<&Variable> {
        self.variables.get(index)
    }

    /// The index of a name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|variable| variable.name == name)
    }

    /// The names of the environments, `train` among them.
    pub fn environments(&self) -> impl Iterator<Item = &str> + Clone {
        self.environments.keys().map(String::as_str)
    }

    /// The value's text of a variable in a world.
    pub fn text(&self, variable: usize, world: &[usize]) -> &str {
        let value = world.get(variable).copied().unwrap_or(0);
        self.variables.get(variable).and_then(|v| v.values.get(value)).map_or("", String::as_str)
    }

    /// The mechanism of a variable in an environment.
    pub fn mechanism(&self, environment: &str, variable: usize) -> Option<&Mechanism> {
        let changed = self.environments.get(environment).and_then(|changes| changes.get(&variable));
        changed.or_else(|| self.variables.get(variable).map(|v| &v.mechanism))
    }

    /// The noise of a unit: one uniform a variable, hung on the variable's name.
    pub fn noise(&self, unit: &Seed) -> Vec<f64> {
        self.variables.iter().map(|variable| uniform(&mut unit.fork(&variable.name).rng())).collect()
    }

    /// The world of a unit under `do(set)`; the empty set gives what would be observed.
    pub fn world(&self, environment: &str, words: Words, noise: &[f64], set: &BTreeMap<usize, usize>) -> World {
        let mut world = World::with_capacity(self.variables.len());
        for (index, variable) in self.variables.iter().enumerate() {
            let value = match set.get(&index) {
                Some(&value) => value,
                None => {
                    let at = |parent: &usize| world.get(*parent).copied().unwrap_or(0);
                    let parents: Vec<usize> = variable.parents.iter().map(at).collect();
                    self.value(environment, words, index, &parents, noise.get(index).copied().unwrap_or(0.0))
                }
            };
            world.push(value);
        }
        world
    }

    /// A path-specific world: the unit in `factual`, had `variable` been `value` for those of its edges that lead
    /// into `moved`, and its factual value for all others. `moved` must be closed under the paths that carry it: see
    /// [`super::Scenario::expectation`], which refuses recanting witnesses.
    pub fn path_world(
        &self,
        (environment, words): (&str, Words),
        noise: &[f64],
        factual: &[usize],
        (variable, value): (usize, usize),
        moved: NodeSet,
    ) -> World {
        let mut world = World::with_capacity(self.variables.len());
        for (index, node) in self.variables.iter().enumerate() {
            let old = factual.get(index).copied().unwrap_or(0);
            if !moved.contains(index) {
                world.push(old);
                continue;
            }
            let at = |&parent: &usize| match parent == variable {
                true => value,
                false => world.get(parent).copied().unwrap_or(0),
            };
            let parents: Vec<usize> = node.parents.iter().map(at).collect();
            world.push(self.value(environment, words, index, &parents, noise.get(index).copied().unwrap_or(0.0)));
        }
        world
    }

    /// f(parents, u).
    fn value(&self, environment: &str, words: Words, variable: usize, parents: &[usize], u: f64) -> usize {
        let row = self.row(variable, parents);
        match self.mechanism(environment, variable) {
            Some(Mechanism::Table(rows)) => rows.get(row).map_or(0, |p| inverse(p, u)),
            Some(Mechanism::Choice(rows)) => {
                let list = rows.get(row).map_or(&[][..], Vec::as_slice);
                let range = self.range(variable, words, list.len());
                let offset = (u * range.len() as f64) as usize;
                list.get(range.start + offset.min(range.len().saturating_sub(1))).copied().unwrap_or(0)
            }
            None => 0,
        }
    }

    /// The stretch of a choice list that is on offer.
    fn range(&self, variable: usize, words: Words, length: usize) -> Range<usize> {
        match (words, self.variables.get(variable).and_then(|v| v.pools.as_ref())) {
            (Words::Of(split), Some(pools)) => pools.of(split),
            _ => 0..length,
        }
    }

    /// The probabilities of a variable's values given its parents' values.
    pub fn probabilities(&self, environment: &str, words: Words, variable: usize, parents: &[usize]) -> Vec<f64> {
        let mut p = vec![0.0; self.variables.get(variable).map_or(0, |v| v.values.len())];
        let row = self.row(variable, parents);
        match self.mechanism(environment, variable) {
            Some(Mechanism::Table(rows)) => {
                p.iter_mut().zip(rows.get(row).into_iter().flatten()).for_each(|(p, &given)| *p = given);
            }
            Some(Mechanism::Choice(rows)) => {
                let list = rows.get(row).map_or(&[][..], Vec::as_slice);
                let range = self.range(variable, words, list.len());
                let share = 1.0 / range.len().max(1) as f64;
                for &value in list.get(range).unwrap_or(&[]) {
                    p.iter_mut().skip(value).take(1).for_each(|p| *p += share);
                }
            }
            None => {}
        }
        p
    }

    /// Mixed radix: the last parent runs fastest.
    fn row(&self, variable: usize, values: &[usize]) -> usize {
        let parents = self.variables.get(variable).map_or(&[][..], |v| v.parents.as_slice());
        parents
            .iter()
            .zip(values)
            .fold(0, |row, (&parent, &value)| row * self.variables.get(parent).map_or(1, |p| p.values.len()) + value)
    }
}

/// The first value whose cumulated probability exceeds u; the last possible value where rounding leaves none.
fn inverse(p: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    for (value, &share) in p.iter().enumerate() {
        sum += share;
        if u < sum {
            return value;
        }
    }
    p.iter().rposition(|&share| share > 0.0).unwrap_or(0)
}
