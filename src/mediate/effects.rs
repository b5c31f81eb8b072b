//! Total, direct and indirect effects of a change of the input, through a set of sites.
//!
//! With x → x′ a pair, S the sites' activations and y the log-odds of answer a over answer b:
//!
//! * TE = y(x′) − y(x)
//! * NDE = y(x′, S ← S(x)) − y(x): the input moves, the mediator is held
//! * NIE = y(x, S ← S(x′)) − y(x): the input stays, the mediator moves
//! * reversed NIE = y(x′, S ← S(x)) − y(x′), with TE = NDE − reversed NIE (Pearl 2001)
//!
//! and as odds ratios (Vig et al. 2020, arXiv 2004.12265) the same with y(·)/y(·) − 1 of the odds, where an answer of
//! several tokens counts with the geometric mean of their probabilities. TE = NDE + NIE does not hold where paths
//! interact, and is not tested.
//!
//! Unit: nats of log-odds, or a ratio less 1. Sign: pairs whose `do` runs backward ([`crate::intervene::Orientation`])
//! swap their answers' roles, so that pairs of both directions do not cancel. Regime: experimental, the input and the
//! mediator are both set by us, so the only uncertainty is over pairs. Cost: about a dozen passes a pair.

use super::checks;
use super::error::MediateError;
use super::joint::item;
use super::sweep::Runner;
use crate::intervene::{Outcome, Plan, Side, Site, TokenPair};
use crate::stats::{Bootstrap, Check, Effect, EffectKind, EffectScale, Item, Regime, Statistic, estimate, sign_flip};

/// The effects of one population through one set of sites.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectReport {
    /// In log-odds: total, natural direct, natural indirect, reversed natural indirect.
    pub log_odds: [Effect; 4],
    /// The same as odds ratios less 1.
    pub odds_ratio: [Effect; 4],
    /// The identities that were checked on the way.
    pub checks: Vec<Check>,
}

impl EffectReport {
    /// All effects.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.log_odds.iter().chain(&self.odds_ratio)
    }

    /// One effect.
    pub fn get(&self, kind: EffectKind, scale: EffectScale) -> Option<&Effect> {
        self.effects().find(|effect| effect.kind == kind && effect.scale == scale)
    }
}

/// Random sign patterns of a p-value.
const SIGN_PATTERNS: usize = 10_000;

/// Estimates the effects of `pairs` through `sites`, patched jointly.
pub fn effects(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
    population: &str,
    bootstrap: &Bootstrap,
) -> Result<EffectReport, MediateError> {
    if pairs.is_empty() {
        return Err(MediateError::NoPairs { population: population.to_owned(), purpose: "estimate effects on" });
    }
    runner.progress.start("effects", 16 * pairs.len() as u64);
    let log_odds = legs(runner, pairs, sites, Outcome::Contrast)?;
    // One token an answer: the geometric mean is the probability, and the odds are those of the log-odds.
    let one_token = pairs.iter().all(|pair| pair.answers(Side::Factual).iter().all(|answer| answer.len() == 1));
    let odds = if one_token { log_odds.clone() } else { legs(runner, pairs, sites, Outcome::LogOddsPerToken)? };
    let [total, direct, _, reversed] = &log_odds;
    let checks = vec![
        checks::nothing_changes_nothing(runner, pairs, sites)?,
        checks::whole_input_is_total(runner, pairs)?,
        checks::decomposition(total, direct, reversed),
    ];
    runner.progress.finish();
    let through = sites.iter().map(Site::to_string).collect::<Vec<_>>().join(" + ");
    let make = |scale, kind, values: &[f64]| effect((scale, kind), pairs, values, (population, &through), bootstrap);
    let make_all = |scale, [a, b, c, d]: &[Vec<f64>; 4]| {
        [
            make(scale, EffectKind::Total, a),
            make(scale, EffectKind::NaturalDirect, b),
            make(scale, EffectKind::NaturalIndirect, c),
            make(scale, EffectKind::ReversedNaturalIndirect, d),
        ]
    };
    Ok(EffectReport {
        log_odds: make_all(EffectScale::LogOdds, &log_odds),
        odds_ratio: make_all(EffectScale::OddsRatio, &odds),
        checks,
    })
}

/// Raw differences a pair: TE, NDE, NIE, reversed NIE. Each leg is a call of its own: its donors are run for it alone.
fn legs(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    sites: &[Site],
    outcome: Outcome,
) -> Result<[Vec<f64>; 4], MediateError> {
    let plain = Plan::nothing;
    let patched = |receiver| Plan::interchange(receiver, sites);
    let leg = |plans: [Plan; 2]| -> Result<Vec<f64>, MediateError> {
        let outcomes = runner.on_every(pairs, &plans, outcome)?;
        let difference = |values: &Vec<f64>| match values.as_slice() {
            [to, from] => to - from,
            _ => f64::NAN,
        };
        Ok(outcomes.iter().map(difference).collect())
    };
    Ok([
        leg([plain(Side::Counterfactual), plain(Side::Factual)])?,
        leg([patched(Side::Counterfactual), plain(Side::Factual)])?,
        leg([patched(Side::Factual), plain(Side::Factual)])?,
        leg([patched(Side::Counterfactual), plain(Side::Counterfactual)])?,
    ])
}

/// odds(after) / odds(before) − 1, each given as the log of p(a)/p(b).
pub fn odds_ratio_effect(before: f64, after: f64) -> f64 {
    (after - before).exp_m1()
}

fn effect(
    (scale, kind): (EffectScale, EffectKind),
    pairs: &[TokenPair],
    differences: &[f64],
    (population, through): (&str, &str),
    bootstrap: &Bootstrap,
) -> Effect {
    let value = |pair: &TokenPair, difference: f64| match scale {
        EffectScale::OddsRatio => odds_ratio_effect(0.0, pair.orientation.sign() * difference),
        _ => pair.orientation.sign() * difference,
    };
    let items: Vec<Item> =
        pairs.iter().zip(differences).map(|(pair, &difference)| item(pair, value(pair, difference))).collect();
    let seed = bootstrap.seed.fork(&format!("{population}/{kind:?}/{scale:?}"));
    Effect {
        kind,
        scale,
        regime: Regime::Experimental,
        population: population.to_owned(),
        through: (kind != EffectKind::Total && !through.is_empty()).then(|| through.to_owned()),
        estimate: estimate(&items, &Statistic::Mean, &Bootstrap { seed: seed.fork("bootstrap"), ..*bootstrap }),
        p_value: (scale == EffectScale::LogOdds)
            .then(|| sign_flip(&items, SIGN_PATTERNS, &seed.fork("signs")))
            .flatten(),
        items,
    }
}
