//! What fits nuisance functions: a learner sees columns and an outcome and gives predictions for other rows.

use super::forest::{Binned, ForestSpec, Tree, grow};
use crate::base::Seed;
use crate::stats::design::{Design, RegressionError};
use crate::stats::regression::{logistic, ridge, sigmoid, weighted_coefficients};

/// A method that learns `E[y | x]`.
pub trait Learner: Send + Sync {
    /// Fits it; `seed` is for methods that draw.
    fn fit(&self, x: &Design, y: &[f64], seed: Seed) -> Result<Box<dyn Fitted>, RegressionError>;
    /// Its name with what matters of its settings.
    fn name(&self) -> String;
}

/// A fitted function.
pub trait Fitted: Send + Sync {
    /// Its values at the rows of `x`, whose columns are those that it was fitted on.
    fn predict(&self, x: &Design) -> Vec<f64>;
}

/// Least squares.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ols;

/// Ridge; see [`ridge`] for the penalty's unit.
#[derive(Debug, Clone, Copy)]
pub struct Ridge {
    /// The penalty.
    pub penalty: f64,
}

/// The logistic model, without penalty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logistic;

/// A random forest of regression trees (Breiman 2001).
#[derive(Debug, Clone, Copy)]
pub struct Forest(pub ForestSpec);

/// Gradient boosting of regression trees on squared loss (Friedman 2001).
#[derive(Debug, Clone, Copy)]
pub struct Boosting {
    /// Trees.
    pub rounds: usize,
    /// How much of each tree is added.
    pub rate: f64,
    /// Depth of a tree.
    pub depth: usize,
    /// Least rows of a leaf.
    pub min_leaf: usize,
}

impl Default for Boosting {
    fn default() -> Self {
        Self { rounds: 100, rate: 0.1, depth: 3, min_leaf: 20 }
    }
}

struct Linear {
    coefficients: Vec<f64>,
    link: fn(f64) -> f64,
}

impl Fitted for Linear {
    fn predict(&self, x: &Design) -> Vec<f64> {
        x.linear(&self.coefficients).into_iter().map(self.link).collect()
    }
}

impl Learner for Ols {
    fn fit(&self, x: &Design, y: &[f64], _: Seed) -> Result<Box<dyn Fitted>, RegressionError> {
        let coefficients = weighted_coefficients(x, y, None)?;
        Ok(Box::new(Linear { coefficients, link: |value| value }))
    }

    fn name(&self) -> String {
        "OLS".into()
    }
}

impl Learner for Ridge {
    fn fit(&self, x: &Design, y: &[f64], _: Seed) -> Result<Box<dyn Fitted>, RegressionError> {
        let collinear = || RegressionError::Collinear(x.names().last().cloned().unwrap_or_default());
        let coefficients = ridge(x, y, self.penalty).ok_or_else(collinear)?;
        Ok(Box::new(Linear { coefficients, link: |value| value }))
    }

    fn name(&self) -> String {
        format!("ridge ({})", self.penalty)
    }
}

impl Learner for Logistic {
    fn fit(&self, x: &Design, y: &[f64], _: Seed) -> Result<Box<dyn Fitted>, RegressionError> {
        Ok(Box::new(Linear { coefficients: logistic(x, y)?, link: sigmoid }))
    }

    fn name(&self) -> String {
        "logistic".into()
    }
}

struct Trees {
    /// Added to the sum.
    base: f64,
    /// What each tree counts.
    weight: f64,
    trees: Vec<Tree>,
}

impl Fitted for Trees {
    fn predict(&self, x: &Design) -> Vec<f64> {
        let mut out = vec![self.base; x.rows()];
        for tree in &self.trees {
            tree.add_to(x, self.weight, &mut out);
        }
        out
    }
}

impl Learner for Forest {
    fn fit(&self, x: &Design, y: &[f64], seed: Seed) -> Result<Box<dyn Fitted>, RegressionError> {
        let trees = grow(x, y, &self.0, seed);
        Ok(Box::new(Trees { base: 0.0, weight: 1.0 / trees.len().max(1) as f64, trees }))
    }

    fn name(&self) -> String {
        let ForestSpec { trees, depth, min_leaf, .. } = self.0;
        format!("forest ({trees} trees, depth {depth}, leaves of {min_leaf} or more)")
    }
}

impl Learner for Boosting {
    fn fit(&self, x: &Design, y: &[f64], seed: Seed) -> Result<Box<dyn Fitted>, RegressionError> {
        let spec = ForestSpec {
            depth: self.depth,
            min_leaf: self.min_leaf,
            features: x.columns().len().max(1),
            ..ForestSpec::default()
        };
        let binned = Binned::new(x);
        let base = y.iter().sum::<f64>() / y.len().max(1) as f64;
        let mut rest: Vec<f64> = y.iter().map(|y| y - base).collect();
        let rows: Vec<u32> = (0..y.len() as u32).collect();
        let mut trees = Vec::with_capacity(self.rounds);
        for round in 0..self.rounds {
            let tree = Tree::grow(&binned, &rest, rows.clone(), &spec, seed.fork(&round.to_string()));
            let mut step = vec![0.0; y.len()];
            tree.add_to(x, self.rate, &mut step);
            rest.iter_mut().zip(step).for_each(|(rest, step)| *rest -= step);
            trees.push(tree);
        }
        Ok(Box::new(Trees { base, weight: self.rate, trees }))
    }

    fn name(&self) -> String {
        format!("boosting ({} trees, depth {}, rate {})", self.rounds, self.depth, self.rate)
    }
}
