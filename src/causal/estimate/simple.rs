//! The estimators with one nuisance or none: difference of means, regression, weighting, standardisation.
//!
//! Each gives its influence row by row, and errors follow from it: clustered where there are clusters.

use super::run::Rows;
use super::{EstimateError, Estimation, External, Overlap, Target};
use crate::stats::design::{Design, select};
use crate::stats::regression::{Robust, ols, weighted_coefficients};

pub(super) struct Plain {
    pub(super) value: f64,
    pub(super) error: f64,
    pub(super) influence: Vec<f64>,
    pub(super) overlap: Option<Overlap>,
    pub(super) method: String,
}

/// √(Σ over units (Σ influence)²)/n: rows, or clusters (of two kinds: the sum of both less that of their cells).
pub(super) fn error_of(influence: &[f64], clusters: &[Vec<usize>]) -> f64 {
    let n = influence.len().max(1) as f64;
    let squares = |key: &dyn Fn(usize) -> (usize, usize)| {
        let mut sums = std::collections::BTreeMap::new();
        for (row, value) in influence.iter().enumerate() {
            *sums.entry(key(row)).or_insert(0.0) += value;
        }
        sums.values().map(|sum: &f64| sum * sum).sum::<f64>()
    };
    let of = |way: usize, row: usize| clusters.get(way).and_then(|codes| codes.get(row)).copied().unwrap_or(0);
    let total = match clusters.len() {
        0 => squares(&|row| (row, 0)),
        1 => squares(&|row| (of(0, row), 0)),
        _ => {
            let both = squares(&|row| (of(0, row), 0)) + squares(&|row| (of(1, row), 0));
            let less = both - squares(&|row| (of(0, row), of(1, row)));
            if less > 0.0 { less } else { both }
        }
    };
    total.sqrt() / n
}

fn plain(value: f64, influence: Vec<f64>, rows: &Rows, overlap: Option<Overlap>, method: &str) -> Plain {
    let error = error_of(&influence, &rows.clusters);
    Plain { value, error, influence, overlap, method: method.to_owned() }
}

pub(super) fn difference(_: &Estimation, rows: &Rows) -> Result<Plain, EstimateError> {
    let (value, influence) = weighted_difference(&rows.y, &rows.d, &vec![1.0; rows.y.len()]);
    Ok(plain(value, influence, rows, None, "difference of means; no adjustment, no causal claim"))
}

/// Σwy/Σw of the treated less that of the untreated, and each row's influence (weights taken as known).
fn weighted_difference(y: &[f64], d: &[f64], weights: &[f64]) -> (f64, Vec<f64>) {
    let n = y.len() as f64;
    let mean = |arm: f64| {
        let own = y.iter().zip(d).zip(weights).filter(|((_, d), _)| **d == arm);
        let (sum, total) = own.fold((0.0, 0.0), |(sum, total), ((y, _), w)| (sum + w * y, total + w));
        (sum / total, total / n)
    };
    let ((treated, t), (untreated, u)) = (mean(1.0), mean(0.0));
    let row = |((y, d), w): ((&f64, &f64), &f64)| d * w * (y - treated) / t - (1.0 - d) * w * (y - untreated) / u;
    (treated - untreated, y.iter().zip(d).zip(weights).map(row).collect())
}

pub(super) fn regression(_: &Estimation, rows: &Rows) -> Result<Plain, EstimateError> {
    let mut design = Design::new(rows.y.len());
    design.push("the treatment", rows.d.clone())?;
    for (name, column) in rows.x.names().iter().zip(rows.x.columns()) {
        design.push(name, column.clone())?;
    }
    let fit = ols(&design, &rows.y)?;
    let n = rows.y.len() as f64;
    let influence: Vec<f64> = fit.influence(1).iter().zip(&fit.residuals).map(|(w, e)| n * w * e).collect();
    let error = match rows.clusters.is_empty() {
        true => fit.errors(Robust::Hc3).get(1).copied().unwrap_or(f64::NAN),
        false => error_of(&influence, &rows.clusters),
    };
    let kind = if rows.clusters.is_empty() { "HC3" } else { "clustered" };
    let value = fit.coefficients.get(1).copied().unwrap_or(f64::NAN);
    Ok(Plain { value, error, influence, overlap: None, method: format!("OLS with {kind} errors") })
}

pub(super) fn weighting(
    estimation: &Estimation,
    rows: &Rows,
    target: Target,
    external: &External,
) -> Result<Plain, EstimateError> {
    let folds = estimation.plain_folds(rows)?;
    let (m, overlap) = estimation.propensity(&rows.d, &rows.x, &folds, external, estimation.seed.fork("weighting"))?;
    let weight = |(d, m): (&f64, &f64)| match target {
        Target::Everybody => d / m + (1.0 - d) / (1.0 - m),
        Target::Treated => d + (1.0 - d) * m / (1.0 - m),
    };
    let weights: Vec<f64> = rows.d.iter().zip(&m).map(weight).collect();
    let (value, influence) = weighted_difference(&rows.y, &rows.d, &weights);
    let name =
        format!("normalised inverse propensity weighting ({}, cross-fitted)", estimation.treatment_learner.name());
    Ok(plain(value, influence, rows, Some(overlap), &name))
}

/// Mean of ĝ₁ − ĝ₀ over all rows, both linear. Its influence counts the fits' errors.
pub(super) fn standardisation(_: &Estimation, rows: &Rows) -> Result<Plain, EstimateError> {
    let n = rows.y.len();
    let mut differences = vec![0.0; n];
    let mut influence = vec![0.0; n];
    for (arm, sign) in [(1.0, 1.0), (0.0, -1.0)] {
        let own: Vec<usize> = (0..n).filter(|row| rows.d.get(*row) == Some(&arm)).collect();
        let (x, y) = (rows.x.select(&own), select(&rows.y, &own));
        let beta = weighted_coefficients(&x, &y, None)?;
        differences.iter_mut().zip(rows.x.linear(&beta)).for_each(|(slot, fitted)| *slot += sign * fitted);
        let fit = ols(&x, &y)?;
        // The mean prediction is Σ_j β_j x̄_j: each fitted row moves it by Σ_j x̄_j influence_j · residual.
        let means =
            std::iter::once(1.0).chain(rows.x.columns().iter().map(|column| column.iter().sum::<f64>() / n as f64));
        let mut moved = vec![0.0; own.len()];
        for (j, mean) in means.enumerate() {
            moved.iter_mut().zip(fit.influence(j)).for_each(|(slot, weight)| *slot += mean * weight);
        }
        for ((row, weight), residual) in own.iter().zip(moved).zip(&fit.residuals) {
            influence.iter_mut().skip(*row).take(1).for_each(|slot| *slot += sign * n as f64 * weight * residual);
        }
    }
    let value = differences.iter().sum::<f64>() / n as f64;
    influence.iter_mut().zip(&differences).for_each(|(slot, difference)| *slot += difference - value);
    Ok(plain(value, influence, rows, None, "g-formula with a linear outcome model in each arm"))
}
