//! Difference in differences: what the treated would have done had they moved as the untreated did.
//!
//! Two periods, the same units. Under parallel trends given x the effect on the treated is the ATTE of the change y₁ − y₀:
//! without covariates the difference of mean changes; with them the doubly robust score (Sant'Anna and Zhao 2020).

use super::{EffectEstimate, EstimateError, Estimation, Method, Target};
use crate::causal::table::{Column, Table};

/// The effect on the treated of a treatment between two periods. `estimation` names treatment and covariates; its
/// outcome becomes the change from `before` to `after`.
pub fn difference_in_differences(
    table: &Table,
    before: &str,
    after: &str,
    estimation: &Estimation,
) -> Result<EffectEstimate, EstimateError> {
    let (first, second) = (table.numbers(before)?, table.numbers(after)?);
    let change: Vec<f64> = second.iter().zip(first).map(|(after, before)| after - before).collect();
    let name = format!("{after} - {before}");
    let mut with_change = table.clone();
    with_change.push(&name, Column::Numbers(change))?;
    let method = match estimation.covariates.is_empty() {
        true => Method::Difference,
        false => Method::Interactive(Target::Treated),
    };
    let mut effect = Estimation { outcome: name, method, ..estimation.clone() }.run(&with_change)?;
    effect.target = "average effect on the treated (ATTE), given parallel trends".into();
    effect.method = match estimation.covariates.is_empty() {
        true => "difference in differences: mean changes".into(),
        false => format!("difference in differences, doubly robust; {}", effect.method),
    };
    Ok(effect)
}
