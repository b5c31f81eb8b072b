//! Cross-fitting: which rows train and which are predicted.

use super::error::EstimateError;
use super::learner::Learner;
use crate::base::Seed;
use crate::base::seed::shuffle;
use crate::stats::design::{Design, select};

/// The rows of each fold, and those that train for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folds {
    /// The rows to predict; each row is in one of them.
    pub test: Vec<Vec<usize>>,
    /// The rows to train on.
    pub train: Vec<Vec<usize>>,
}

impl Folds {
    /// Row i into fold i mod k.
    pub fn by_index(n: usize, k: usize) -> Result<Self, EstimateError> {
        let of: Vec<usize> = (0..n).map(|row| row % k.max(1)).collect();
        Self::of(&of, k)
    }

    /// At random, folds of equal size.
    pub fn random(n: usize, k: usize, seed: Seed) -> Result<Self, EstimateError> {
        let mut of: Vec<usize> = (0..n).map(|row| row % k.max(1)).collect();
        shuffle(&mut seed.rng(), &mut of);
        Self::of(&of, k)
    }

    /// At random with equal shares of each class in all folds.
    pub fn stratified(classes: &[f64], k: usize, seed: Seed) -> Result<Self, EstimateError> {
        let mut rows: Vec<usize> = (0..classes.len()).collect();
        shuffle(&mut seed.rng(), &mut rows);
        rows.sort_by(|a, b| classes.get(*a).unwrap_or(&0.0).total_cmp(classes.get(*b).unwrap_or(&0.0)));
        let mut of = vec![0; classes.len()];
        for (place, row) in rows.into_iter().enumerate() {
            of.iter_mut().skip(row).take(1).for_each(|slot| *slot = place % k.max(1));
        }
        Self::of(&of, k)
    }

    /// Whole clusters, at random: no cluster is on both sides.
    pub fn by_cluster(clusters: &[usize], k: usize, seed: Seed) -> Result<Self, EstimateError> {
        let of = cluster_folds(clusters, k, seed)?;
        Self::of(&of, k)
    }

    /// Two kinds of clusters: k × k folds, each trained on rows that share neither's fold.
    pub fn two_way(clusters: [&[usize]; 2], k: usize, seed: Seed) -> Result<Self, EstimateError> {
        let [first, second] = clusters;
        let (a, b) = (cluster_folds(first, k, seed.fork("first"))?, cluster_folds(second, k, seed.fork("second"))?);
        let mut folds = Self { test: Vec::new(), train: Vec::new() };
        for i in 0..k {
            for j in 0..k {
                let rows = a.iter().zip(&b).enumerate();
                folds.test.push(rows.clone().filter(|(_, (a, b))| **a == i && **b == j).map(|(row, _)| row).collect());
                folds.train.push(rows.filter(|(_, (a, b))| **a != i && **b != j).map(|(row, _)| row).collect());
            }
        }
        folds.checked()
    }

    /// From each row's fold, 0 to k − 1.
    pub fn of(of: &[usize], k: usize) -> Result<Self, EstimateError> {
        let rows = |keep: &dyn Fn(usize) -> bool| {
            of.iter().enumerate().filter(|(_, fold)| keep(**fold)).map(|(row, _)| row).collect::<Vec<_>>()
        };
        let test = (0..k).map(|fold| rows(&|other| other == fold)).collect();
        let train = (0..k).map(|fold| rows(&|other| other != fold)).collect();
        Self { test, train }.checked()
    }

    /// The rows that are predicted are those that train: no cross-fitting. For showing what that costs.
    pub fn none(n: usize) -> Self {
        Self { test: vec![(0..n).collect()], train: vec![(0..n).collect()] }
    }

    fn checked(self) -> Result<Self, EstimateError> {
        match self.test.len() < 2 || self.test.iter().chain(&self.train).any(Vec::is_empty) {
            true => Err(EstimateError::Folds(self.test.len())),
            false => Ok(self),
        }
    }

    /// Predictions for all rows, each from a fit that did not see it. Only the rows of `keep` train.
    pub fn cross_fit(
        &self,
        learner: &dyn Learner,
        x: &Design,
        y: &[f64],
        keep: &dyn Fn(usize) -> bool,
        seed: Seed,
    ) -> Result<Vec<f64>, EstimateError> {
        let mut out = vec![0.0; x.rows()];
        for (fold, (test, train)) in self.test.iter().zip(&self.train).enumerate() {
            let rows: Vec<usize> = train.iter().copied().filter(|&row| keep(row)).collect();
            if rows.is_empty() {
                return Err(EstimateError::EmptyArm { fold: fold + 1 });
            }
            let fitted = learner.fit(&x.select(&rows), &select(y, &rows), seed.fork(&fold.to_string()))?;
            for (row, value) in test.iter().zip(fitted.predict(&x.select(test))) {
                out.iter_mut().skip(*row).take(1).for_each(|slot| *slot = value);
            }
        }
        Ok(out)
    }
}

fn cluster_folds(clusters: &[usize], k: usize, seed: Seed) -> Result<Vec<usize>, EstimateError> {
    let mut distinct: Vec<usize> = clusters.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < k {
        return Err(EstimateError::TooFewClusters { clusters: distinct.len(), folds: k });
    }
    let mut places: Vec<usize> = (0..distinct.len()).map(|place| place % k).collect();
    shuffle(&mut seed.rng(), &mut places);
    let fold = |cluster: &usize| {
        let at = distinct.binary_search(cluster).unwrap_or(0);
        places.get(at).copied().unwrap_or(0)
    };
    Ok(clusters.iter().map(fold).collect())
}
