//! DirectLiNGAM (Shimizu et al. 2011; the pairwise measure of Hyvärinen and Smith 2013): where effects are linear and noise is
//! not normal, the order of causes shows in the data.
//!
//! Repeatedly, the variable whose regression leaves the least dependence on itself comes first, and is taken out of the
//! others. Columns are standardised before anything is compared, so that no rescaling of a column changes the order.

use super::{Background, DiscoverError};
use crate::causal::table::Table;
use crate::stats::design::{Design, dot};
use crate::stats::regression::{Robust, ols};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A linear causal model.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearModel {
    /// The variables.
    pub names: Vec<String>,
    /// Causes before effects.
    pub order: Vec<usize>,
    /// Cause, effect, coefficient; only those whose test passed.
    pub effects: Vec<(usize, usize, f64)>,
}

/// The order and the effects; an effect is kept where its t-test passes at `alpha` divided by the number of pairs.
pub fn lingam(
    table: &Table,
    names: &[String],
    alpha: f64,
    background: &Background,
) -> Result<LinearModel, DiscoverError> {
    background.check(names)?;
    super::FisherZ::new(table, names)?;
    let raw: Vec<Vec<f64>> =
        names.iter().map(|name| table.varying(name).map(<[f64]>::to_vec)).collect::<Result<_, _>>()?;
    let mut left: Vec<(usize, Vec<f64>)> = raw.iter().map(|column| scaled(column)).enumerate().collect();
    let mut order = Vec::with_capacity(names.len());
    while !left.is_empty() {
        let allowed = |node: usize| {
            left.iter().all(|(other, _)| {
                *other == node || !background.forbids(node, *other) || background.forbids(*other, node)
            })
        };
        let candidates: Vec<usize> =
            (0..left.len()).filter(|&at| left.get(at).is_some_and(|(node, _)| allowed(*node))).collect();
        let pool = if candidates.is_empty() { (0..left.len()).collect() } else { candidates };
        let first = pool.into_iter().map(|at| (dependence(&left, at), at)).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, at)) = first else { break };
        let (node, column) = left.remove(at);
        order.push(node);
        for (_, other) in &mut left {
            *other = scaled(&residual(other, &column));
        }
    }
    let pairs = (names.len() * names.len().saturating_sub(1) / 2).max(1) as f64;
    let effects = prune(&raw, names, &order, alpha / pairs, background);
    Ok(LinearModel { names: names.to_vec(), order, effects })
}

fn scaled(column: &[f64]) -> Vec<f64> {
    let n = column.len().max(1) as f64;
    let mean = column.iter().sum::<f64>() / n;
    let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    column.iter().map(|x| if sd > 0.0 { (x - mean) / sd } else { 0.0 }).collect()
}

/// What is left of a standardised column once another is taken out.
fn residual(column: &[f64], of: &[f64]) -> Vec<f64> {
    let slope = dot(column, of) / dot(of, of).max(1e-300);
    column.iter().zip(of).map(|(x, z)| x - slope * z).collect()
}

/// Hyvärinen's approximation of the entropy of a standardised column.
fn entropy(column: &[f64]) -> f64 {
    let n = column.len().max(1) as f64;
    let log_cosh =
        column.iter().map(|x| x.abs() + (-2.0 * x.abs()).exp().ln_1p() - std::f64::consts::LN_2).sum::<f64>() / n;
    let gauss = column.iter().map(|x| x * (-x * x / 2.0).exp()).sum::<f64>() / n;
    (1.0 + std::f64::consts::TAU.ln()) / 2.0 - 79.047 * (log_cosh - 0.37457).powi(2) - 7.4129 * gauss * gauss
}

/// How much speaks against a variable's being first: Σ min(0, evidence for it before each other)².
fn dependence(left: &[(usize, Vec<f64>)], at: usize) -> f64 {
    let Some((_, x)) = left.get(at) else { return f64::INFINITY };
    let of_x = entropy(x);
    let others = left.iter().enumerate().filter(|(other, _)| *other != at);
    let term = |(_, (_, y)): (usize, &(usize, Vec<f64>))| {
        let forward = of_x + entropy(&scaled(&residual(y, x)));
        let backward = entropy(y) + entropy(&scaled(&residual(x, y)));
        (backward - forward).min(0.0).powi(2)
    };
    others.map(term).sum()
}

fn prune(
    raw: &[Vec<f64>],
    names: &[String],
    order: &[usize],
    alpha: f64,
    background: &Background,
) -> Vec<(usize, usize, f64)> {
    let mut effects = Vec::new();
    for (place, &node) in order.iter().enumerate().skip(1) {
        let causes: Vec<usize> =
            order.iter().take(place).copied().filter(|&cause| !background.forbids(cause, node)).collect();
        let columns = causes.iter().filter_map(|&cause| Some((names.get(cause)?.clone(), raw.get(cause)?.clone())));
        let (Ok(design), Some(y)) = (Design::from_columns(columns.collect()), raw.get(node)) else { continue };
        let Ok(fit) = ols(&design, y) else { continue };
        let Ok(t) = StudentsT::new(0.0, 1.0, fit.degrees_of_freedom().max(1) as f64) else { continue };
        let errors = fit.errors(Robust::Classical);
        for ((&cause, &beta), error) in causes.iter().zip(fit.coefficients.iter().skip(1)).zip(errors.iter().skip(1)) {
            if 2.0 * t.sf((beta / error).abs()) < alpha {
                effects.push((cause, node, beta));
            }
        }
    }
    effects
}
