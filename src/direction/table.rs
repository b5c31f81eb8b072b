//! Disentanglement: which variables have a subspace of their own.
//!
//! Row V, column W: the share of W's effect that the interchange of V's subspace moves, over minimal interchanges of W
//! ([`super::judge`]). V has *its own subspace* where the interval of its own share lies above `own` (½) and, for every
//! other variable, the interval of its share lies inside ± `other` (¼): it carries most of its effect and, beyond
//! chance, little of anybody else's. Between subspaces of one site, the principal angles say how far they coincide.

use serde::{Deserialize, Serialize};

use super::error::DirectionError;
use super::exchange::minimal;
use super::fit::{Direction, placed};
use super::judge::{JudgeSpec, accuracy_and_share};
use super::matrix::principal_angles;
use super::stage::Stage;
use crate::base::Progress;
use crate::intervene::TokenPair;
use crate::model::LanguageModel;
use crate::stats::Estimate;

/// Where a share counts as most of an effect, and as little of one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OwnRule {
    /// The interval of a variable's own share must lie above this.
    pub own: f64,
    /// The intervals of its subspace's share of others must lie between minus this and this.
    pub other: f64,
}

impl Default for OwnRule {
    fn default() -> Self {
        Self { own: 0.5, other: 0.25 }
    }
}

/// One variable's subspace against the effects of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisentanglementRow {
    /// The variable.
    pub variable: String,
    /// The site of its subspace.
    pub site: String,
    /// The share of each variable's effect that the subspace moves, in the table's order.
    pub shares: Vec<Estimate>,
    /// The principal angles to each variable's subspace in degrees, ascending; empty where the sites differ.
    pub angles: Vec<Vec<f64>>,
    /// Whether it has its own subspace by the rule; undefined shares count against it.
    pub own: bool,
}

/// All variables against all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disentanglement {
    /// The variables, in the order of rows and columns.
    pub variables: Vec<String>,
    /// One row a variable.
    pub rows: Vec<DisentanglementRow>,
    /// The rule.
    pub rule: OwnRule,
}

/// A variable, its direction, and the held-out pairs that set it.
#[derive(Debug, Clone)]
pub struct Named {
    /// The variable.
    pub variable: String,
    /// Its direction.
    pub direction: Direction,
    /// Pairs that set it.
    pub pairs: Vec<TokenPair>,
}

/// Interchanges every variable's subspace on every variable's pairs. Cost: one pass an ordered pair of variables and
/// interchange, beside what a stage costs.
pub fn disentangle(
    model: &LanguageModel,
    variables: &[Named],
    rule: OwnRule,
    spec: &JudgeSpec,
    progress: &dyn Progress,
) -> Result<Disentanglement, DirectionError> {
    let mut rows = Vec::new();
    for (number, row) in variables.iter().enumerate() {
        let place = placed(model, &row.direction)?;
        let (mut shares, mut angles) = (Vec::new(), Vec::new());
        for column in variables {
            let exchanges = minimal(&column.pairs);
            let stage = Stage::new(model, &place, &exchanges)?;
            let [_, share] = accuracy_and_share(&stage, &row.direction.basis_wk, spec, progress)?;
            shares.push(share);
            let same = column.direction.site == row.direction.site;
            let found = || principal_angles(&row.direction.basis_wk, &column.direction.basis_wk);
            angles.push(if same { found() } else { Vec::new() });
        }
        let own = has_its_own(&shares, number, rule);
        let (variable, site) = (row.variable.clone(), row.direction.site.to_string());
        rows.push(DisentanglementRow { variable, site, shares, angles, own });
    }
    Ok(Disentanglement { variables: variables.iter().map(|one| one.variable.clone()).collect(), rows, rule })
}

fn has_its_own(shares: &[Estimate], own: usize, rule: OwnRule) -> bool {
    shares.iter().enumerate().all(|(number, share)| match share.interval {
        None => false,
        Some(interval) if number == own => interval.low > rule.own,
        Some(interval) => interval.low > -rule.other && interval.high < rule.other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    #[test]
    fn the_rule_needs_the_own_and_excludes_the_others() {
        let share = |low, high| Estimate {
            value: Some((low + high) / 2.0),
            interval: Some(Interval { low, high, level: 0.95 }),
            ..Estimate::undefined("", 9, 9)
        };
        let rule = OwnRule::default();
        assert!(has_its_own(&[share(0.6, 0.9), share(-0.1, 0.2)], 0, rule));
        assert!(!has_its_own(&[share(0.4, 0.9), share(-0.1, 0.2)], 0, rule), "perhaps less than half of its own");
        assert!(!has_its_own(&[share(0.6, 0.9), share(-0.1, 0.3)], 0, rule), "perhaps a third of another's");
        assert!(!has_its_own(&[share(0.6, 0.9), Estimate::undefined("few", 1, 1)], 0, rule));
    }
}
