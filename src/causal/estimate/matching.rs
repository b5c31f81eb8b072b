//! Matching with replacement on standardised covariates (Abadie and Imbens 2006, 2011).
//!
//! A unit's missing outcome is the mean of its M nearest units of the other arm, each corrected by the difference that a
//! linear outcome model of that arm predicts between the two. The variance counts how often a unit serves as a
//! match, with each unit's own outcome variance estimated from its nearest unit of the same arm.

use rayon::prelude::*;

use super::run::Rows;
use super::simple::Plain;
use super::{EstimateError, Estimation, Target};
use crate::stats::design::select;
use crate::stats::regression::weighted_coefficients;

pub(super) fn matched(estimation: &Estimation, rows: &Rows, target: Target) -> Result<Plain, EstimateError> {
    if !rows.clusters.is_empty() {
        let message = "matching has no clustered errors here: leave the clusters out, or take another method";
        return Err(EstimateError::Spec(message.into()));
    }
    let Rows { y, d, x, .. } = rows;
    let (n, m) = (y.len(), estimation.neighbours);
    let scaled = x.standardised();
    let points: Vec<Vec<f64>> = (0..n).map(|row| scaled.row(row)).collect();
    let of_arm = |arm: f64| -> Vec<usize> { (0..n).filter(|row| d.get(*row) == Some(&arm)).collect() };
    let arms = [of_arm(0.0), of_arm(1.0)];
    if let Some(small) = arms.iter().map(Vec::len).find(|size| *size < m + 1) {
        return Err(EstimateError::Spec(format!("an arm of {small} rows cannot give {m} neighbours and a variance")));
    }
    let mut predicted: Vec<Vec<f64>> = Vec::new();
    for own in &arms {
        let beta = weighted_coefficients(&x.select(own), &select(y, own), None)?;
        predicted.push(x.linear(&beta));
    }
    let arm_of = |row: usize| usize::from(d.get(row) == Some(&1.0));
    let at = |values: &[f64], row: usize| values.get(row).copied().unwrap_or(0.0);
    let wanted = |row: &usize| target == Target::Everybody || arm_of(*row) == 1;
    let units: Vec<usize> = (0..n).filter(wanted).collect();
    let neighbours: Vec<Vec<usize>> = units
        .par_iter()
        .map(|&row| nearest(&points, row, arms.get(1 - arm_of(row)).map_or(&[], Vec::as_slice), m))
        .collect();
    let (mut served, mut effects) = (vec![0.0; n], Vec::with_capacity(units.len()));
    for (&row, found) in units.iter().zip(&neighbours) {
        let other = predicted.get(1 - arm_of(row)).map_or(&[][..], Vec::as_slice);
        let share = 1.0 / found.len().max(1) as f64;
        let corrected = |&match_: &usize| at(y, match_) + at(other, row) - at(other, match_);
        let counterfactual = found.iter().map(corrected).sum::<f64>() * share;
        let sign = if arm_of(row) == 1 { 1.0 } else { -1.0 };
        effects.push(sign * (at(y, row) - counterfactual));
        found.iter().for_each(|&match_| served.iter_mut().skip(match_).take(1).for_each(|count| *count += share));
    }
    let size = effects.len().max(1) as f64;
    let value = effects.iter().sum::<f64>() / size;
    // Own variance of each unit: half the squared difference to its nearest of the same arm.
    let spread: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|row| {
            let own = arms.get(arm_of(row)).map_or(&[][..], Vec::as_slice);
            nearest(&points, row, own, 1).first().map_or(0.0, |&twin| (at(y, row) - at(y, twin)).powi(2) / 2.0)
        })
        .collect();
    let heterogeneity = effects.iter().map(|effect| (effect - value).powi(2)).sum::<f64>();
    let row_term = |(row, spread): (usize, &f64)| {
        let k = at(&served, row);
        match target {
            Target::Everybody => (k * k + 2.0 * k - k / m as f64) * spread,
            Target::Treated if arm_of(row) == 1 => 0.0,
            Target::Treated => (k * k - k / m as f64) * spread,
        }
    };
    let matching: f64 = spread.iter().enumerate().map(row_term).sum();
    let error = ((heterogeneity + matching) / (size * size)).max(0.0).sqrt();
    let method = format!("matching to {m} neighbours with replacement, bias-corrected, Abadie–Imbens errors");
    Ok(Plain { value, error, influence: Vec::new(), overlap: None, method })
}

/// The `m` rows of `among` next to `row`, itself apart; of equals, the first.
fn nearest(points: &[Vec<f64>], row: usize, among: &[usize], m: usize) -> Vec<usize> {
    let Some(here) = points.get(row) else { return Vec::new() };
    let mut best: Vec<(f64, usize)> = Vec::with_capacity(m + 1);
    for &other in among.iter().filter(|other| **other != row) {
        let Some(there) = points.get(other) else { continue };
        let distance: f64 = here.iter().zip(there).map(|(a, b)| (a - b).powi(2)).sum();
        if best.len() < m || best.last().is_some_and(|(worst, _)| distance < *worst) {
            let place = best.partition_point(|(known, _)| *known <= distance);
            best.insert(place, (distance, other));
            best.truncate(m);
        }
    }
    best.into_iter().map(|(_, other)| other).collect()
}
