//! Identities that every analysis checks while it runs: a red one means that the numbers beside it are wrong.

use super::error::MediateError;
use super::sweep::Runner;
use crate::intervene::{Job, Outcome, Plan, Side, Site, SiteKind, TokenPair};
use crate::stats::Check;

/// What float32 leaves between two runs of the same values in batches of another shape, relative to an outcome
/// beyond 1.
const SAME: f64 = 1e-5;
/// What the effect of the whole input may be off the total effect, in the outcome's unit.
const WHOLE: f64 = 1e-4;
/// What the decomposition may be off, in the outcome's unit.
const DECOMPOSITION: f64 = 1e-4;

/// Receiving its own activations at all `sites` leaves each side's outcome as it was.
pub(crate) fn nothing_changes_nothing(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
) -> Result<Check, MediateError> {
    let mut itself = Vec::with_capacity(2 * pairs.len());
    for pair in pairs {
        for side in [Side::Factual, Side::Counterfactual] {
            itself.push(pair.reflexive(side)?);
        }
    }
    let plans = [Plan::nothing(Side::Factual), Plan::interchange(Side::Factual, sites)];
    let outcomes = runner.on_every(&itself, &plans, Outcome::Contrast)?;
    let deviations = outcomes.iter().filter_map(|values| match values.as_slice() {
        [plain, patched] => Some((patched - plain).abs() / plain.abs().max(1.0)),
        _ => None,
    });
    let detail = format!("each side of {} pairs receives its own activations at all sites", pairs.len());
    Ok(check("patching nothing changes nothing", deviations, SAME, detail))
}

/// The whole input carries the whole effect: `blocks.0.hook_resid_pre` at every position, both ways.
pub(crate) fn whole_input_is_total(runner: Runner<'_>, pairs: &[TokenPair]) -> Result<Check, MediateError> {
    let plan = |side| Plan::interchange(side, &[Site::everywhere(SiteKind::ResidPre, 0)]);
    let plain = [Side::Factual, Side::Counterfactual].map(Plan::nothing);
    let patched = [plan(Side::Factual), plan(Side::Counterfactual)];
    let whole: Vec<&TokenPair> = pairs.iter().filter(|pair| pair.alignment().is_whole()).collect();
    let run = |plans: &[Plan]| {
        let jobs: Vec<Job<'_>> = whole.iter().map(|pair| Job { pair, plans }).collect();
        runner.outcomes(&jobs, Outcome::Contrast)
    };
    let (plain, patched) = (run(&plain)?, run(&patched)?);
    let deviations =
        plain.iter().zip(&patched).filter_map(|(plain, patched)| match (plain.as_slice(), patched.as_slice()) {
            ([factual, counterfactual], [to_counterfactual, to_factual]) => {
                Some((to_counterfactual - counterfactual).abs().max((to_factual - factual).abs()))
            }
            _ => None,
        });
    let (used, all) = (whole.len(), pairs.len());
    let detail =
        format!("blocks.0.hook_resid_pre at every position, both ways, {used} pairs of equal length among {all}");
    Ok(check("the whole input carries the total effect", deviations, WHOLE, detail))
}

/// TE(x→x′) = NDE(x→x′) − NIE(x′→x), every leg from plans that were carried out on their own.
pub(crate) fn decomposition(total: &[f64], direct: &[f64], reversed: &[f64]) -> Check {
    let legs = total.iter().zip(direct).zip(reversed);
    let deviations = legs.map(|((total, direct), reversed)| (total - (direct - reversed)).abs());
    let detail = format!("TE = NDE − reversed NIE in log-odds, each leg executed separately, {} pairs", total.len());
    check("the effects add up", deviations, DECOMPOSITION, detail)
}

fn check(name: &str, deviations: impl Iterator<Item = f64>, tolerance: f64, detail: String) -> Check {
    // A NaN must not hide behind `max`.
    let worst = deviations.fold(None, |worst: Option<f64>, deviation| {
        Some(worst.map_or(deviation, |worst| {
            if worst.is_nan() || deviation.is_nan() { f64::NAN } else { worst.max(deviation) }
        }))
    });
    let passed = worst.is_none_or(|worst| worst <= tolerance);
    let detail = if worst.is_none() { format!("not run, nothing to compare: {detail}") } else { detail };
    Check { name: name.to_owned(), passed, worst, tolerance: Some(tolerance), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_or_a_nan_is_red_and_nothing_is_said_to_be_nothing() {
        assert!(decomposition(&[1.0, 2.0], &[0.5, 3.0], &[-0.5, 1.0]).passed);
        assert!(!decomposition(&[1.0, 2.0], &[0.5, 3.0], &[-0.5, 1.001]).passed);
        let nan = decomposition(&[1.0, 2.0, 3.0], &[0.5, f64::NAN, 3.0], &[-0.5, 1.0, 0.0]);
        assert!(!nan.passed && nan.worst.is_some_and(f64::is_nan));
        let none = decomposition(&[], &[], &[]);
        assert!(none.passed && none.worst.is_none() && none.detail.starts_with("not run"));
    }
}
