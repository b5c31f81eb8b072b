//! What a set of sites carries together.
//!
//! With y the log-odds, x → x′ a pair and S the sites' activations: total = y(x′) − y(x); noised =
//! y(x, S ← x′) − y(x), what the factual run takes over (*necessity*); denoised = y(x′) − y(x′, S ← x), what the
//! counterfactual run gives back (*sufficiency*). All three are raw and run in the same direction, so a complete
//! pathway has noised = denoised = total. A share is Σ sign(total)·effect / Σ |total| over pairs.

use super::error::MediateError;
use super::sweep::Runner;
use crate::intervene::{Outcome, Plan, Side, Site, TokenPair};
use crate::stats::{Bootstrap, Estimate, Item, PatchDirection, Statistic, estimate};

/// Per-pair effects of a set of sites.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JointEffects {
    /// y(x′) − y(x).
    pub total: Vec<Item>,
    /// y(x, S ← x′) − y(x).
    pub noised: Vec<Item>,
    /// y(x′) − y(x′, S ← x).
    pub denoised: Vec<Item>,
    /// 1 or −1 a pair: which way its `do` runs.
    pub orientations: Vec<f64>,
}

/// Patches all `sites` at once, both ways. Outcome: [`Outcome::Contrast`]. Cost: four passes a pair.
pub fn joint_effects(runner: Runner<'_>, pairs: &[TokenPair], sites: &[Site]) -> Result<JointEffects, MediateError> {
    runner.progress.start("joint effects", 4 * pairs.len() as u64);
    let sets = [sites.to_vec()];
    let found = joint_effects_of_each(runner, pairs, &sets)?.pop().unwrap_or_default();
    runner.progress.finish();
    Ok(found)
}

/// The same for many sets of sites, which share the plain runs.
pub(crate) fn joint_effects_of_each(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sets: &[Vec<Site>],
) -> Result<Vec<JointEffects>, MediateError> {
    let mut plans = vec![Plan::nothing(Side::Factual), Plan::nothing(Side::Counterfactual)];
    for sites in sets {
        plans.extend([Side::Factual, Side::Counterfactual].map(|side| Plan::interchange(side, sites)));
    }
    let mut joint = vec![JointEffects::default(); sets.len()];
    for (pair, outcomes) in pairs.iter().zip(runner.on_every(pairs, &plans, Outcome::Contrast)?) {
        let [factual, counterfactual, patched @ ..] = outcomes.as_slice() else { continue };
        for (effects, patched) in joint.iter_mut().zip(patched.chunks_exact(2)) {
            if let [noised, denoised] = patched {
                effects.push(pair, [counterfactual - factual, noised - factual, counterfactual - denoised]);
            }
        }
    }
    Ok(joint)
}

impl JointEffects {
    fn push(&mut self, pair: &TokenPair, [total, noised, denoised]: [f64; 3]) {
        self.total.push(item(pair, total));
        self.noised.push(item(pair, noised));
        self.denoised.push(item(pair, denoised));
        self.orientations.push(pair.orientation.sign());
    }

    fn of(&self, direction: PatchDirection) -> &[Item] {
        match direction {
            PatchDirection::Noise => &self.noised,
            PatchDirection::Denoise => &self.denoised,
        }
    }

    /// The share of the total effect, as a number; `None` where no pair has an effect.
    pub fn share_value(&self, direction: PatchDirection) -> Option<f64> {
        let carried: f64 = self.oriented(direction).map(|item| item.value).sum();
        let whole: f64 = self.total.iter().map(|total| total.value.abs()).sum();
        (whole > 0.0).then(|| carried / whole)
    }

    /// The share of the total effect with its interval; undefined where the mean total effect, oriented by design,
    /// has an interval that covers 0: there is nothing to have a share of.
    pub fn share(&self, direction: PatchDirection, bootstrap: &Bootstrap) -> Estimate {
        let total = self.total_estimate(bootstrap);
        if !total.excludes_zero() {
            let reason = match (total.value, total.interval) {
                (Some(value), Some(found)) => {
                    format!("the mean total effect, {value:.3} [{:.3}, {:.3}], may be 0", found.low, found.high)
                }
                _ => format!("the total effect has no interval: {}", total.undefined.unwrap_or_default()),
            };
            return Estimate::undefined(reason, total.n, total.clusters);
        }
        let weighted = self.oriented(direction).zip(&self.total);
        let items: Vec<Item> = weighted.map(|(item, total)| Item { weight: Some(total.value.abs()), ..item }).collect();
        estimate(&items, &Statistic::Ratio, bootstrap)
    }

    /// The mean total effect, each pair oriented by the design of its `do`.
    pub fn total_estimate(&self, bootstrap: &Bootstrap) -> Estimate {
        let turned = self.total.iter().zip(&self.orientations);
        let items: Vec<Item> = turned.map(|(item, sign)| Item { value: sign * item.value, ..item.clone() }).collect();
        estimate(&items, &Statistic::Mean, bootstrap)
    }

    /// The mean effect in one direction, each pair oriented so that its total effect counts positive.
    pub fn oriented_estimate(&self, direction: PatchDirection, bootstrap: &Bootstrap) -> Estimate {
        let items: Vec<Item> = self.oriented(direction).collect();
        estimate(&items, &Statistic::Mean, bootstrap)
    }

    /// What the sites carry of each pair: the mean of both directions, oriented so that the pair's total effect counts
    /// positive.
    pub fn carried(&self) -> Vec<Item> {
        let both = self.oriented(PatchDirection::Noise).zip(self.oriented(PatchDirection::Denoise));
        both.map(|(noised, denoised)| Item { value: 0.5 * (noised.value + denoised.value), ..noised }).collect()
    }

    fn oriented(&self, direction: PatchDirection) -> impl Iterator<Item = Item> + '_ {
        let sign = |total: &Item| if total.value < 0.0 { -1.0 } else { 1.0 };
        let paired = self.of(direction).iter().zip(&self.total);
        paired.map(move |(item, total)| Item { value: sign(total) * item.value, ..item.clone() })
    }
}

/// A pair's contribution to a mean.
pub(crate) fn item(pair: &TokenPair, value: f64) -> Item {
    Item { id: pair.id.clone(), cluster: pair.cluster.clone(), value, group: None, weight: None }
}
