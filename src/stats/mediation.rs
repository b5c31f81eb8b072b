//! Effects of one pair from the outcomes of its runs, on the odds-ratio scale of Vig et al. (2020) and in log-odds;
//! and the share of a total effect that a set of sites carries.
//!
//! With y(x) = p(c₂|x)/p(c₁|x) and z the mediator, per pair:
//!
//! * TE(x→x') = y(x')/y(x) − 1
//! * NIE(x→x') = y(x, z ← z(x'))/y(x) − 1
//! * NDE(x→x') = y(x', z ← z(x))/y(x) − 1
//! * NIE(x'→x) = y(x', z ← z(x))/y(x') − 1
//!
//! and with log y in place of y and differences in place of ratios, in log-odds. There TE(x→x') = NDE(x→x') − NIE(x'→x)
//! is an identity; TE = NDE + NIE holds on neither scale once there is interaction. The ratio is formed per pair, then
//! averaged. A candidate of several tokens has the geometric mean of its tokens' probabilities in Vig et al.'s numbers,
//! the whole continuation's log-likelihood in ours.

use super::bootstrap::{Bootstrap, estimate};
use super::result::{EffectKind, EffectScale, Estimate, Item, Statistic};

/// The odds p(c₂)/p(c₁) of one run; `None` unless both probabilities are positive and finite.
pub fn odds(first: f64, second: f64) -> Option<f64> {
    let defined = |p: f64| p > 0.0 && p.is_finite();
    (defined(first) && defined(second)).then(|| second / first)
}

/// The odds-ratio effect of moving from the odds `from` to the odds `to`: to/from − 1.
pub fn odds_ratio_effect(from: f64, to: f64) -> f64 {
    to / from - 1.0
}

/// The log-odds log y of one pair's runs. `direct` and `reversed` are the same quantity by definition and must come
/// from separately executed plans: that is what makes [`Legs::identity_gap`] a check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Legs {
    /// log y(x).
    pub base: f64,
    /// log y(x').
    pub alternative: f64,
    /// log y(x, z ← z(x')): the *noise* plan.
    pub indirect: f64,
    /// log y(x', z ← z(x)) as the natural direct effect's plan executed it.
    pub direct: f64,
    /// log y(x', z ← z(x)) as the *denoise* plan executed it.
    pub reversed: f64,
}

impl Legs {
    /// One effect of this pair in log-odds or as an odds ratio; `None` on the other scales, which are no functions of
    /// log-odds.
    pub fn effect(&self, kind: EffectKind, scale: EffectScale) -> Option<f64> {
        let (from, to) = match kind {
            EffectKind::Total => (self.base, self.alternative),
            EffectKind::NaturalIndirect => (self.base, self.indirect),
            EffectKind::NaturalDirect => (self.base, self.direct),
            EffectKind::ReversedNaturalIndirect => (self.alternative, self.reversed),
        };
        match scale {
            EffectScale::LogOdds => Some(to - from),
            // exp_m1 keeps small effects exact where exp(x) − 1 would cancel.
            EffectScale::OddsRatio => Some((to - from).exp_m1()),
            EffectScale::LogitDifference | EffectScale::Probability | EffectScale::Kl => None,
        }
    }

    /// |TE(x→x') − (NDE(x→x') − NIE(x'→x))| in log-odds: 0 but for rounding, unless a plan was executed wrongly.
    pub fn identity_gap(&self) -> f64 {
        let total = self.alternative - self.base;
        let (direct, reversed) = (self.direct - self.base, self.reversed - self.alternative);
        (total - (direct - reversed)).abs()
    }
}

/// The share Σ`value` / Σ`weight` of a total effect, `value` the part that a pair's sites carry and `weight` the
/// pair's total, both oriented alike. A ratio of sums with the cluster bootstrap of the whole ratio, never a mean of
/// ratios. `total` is the effect that must be there for a share to mean anything: where its interval is missing or
/// covers 0 the share is undefined, and says so.
pub fn share_of_total(items: &[Item], total: &Estimate, bootstrap: &Bootstrap) -> Estimate {
    if total.excludes_zero() {
        return estimate(items, &Statistic::Ratio, bootstrap);
    }
    let reason = match (total.value, total.interval) {
        (_, Some(interval)) => format!(
            "the {:.0} % interval of the total effect, {:.4} to {:.4}, covers 0: there is nothing to have a share of",
            100.0 * interval.level,
            interval.low,
            interval.high
        ),
        (_, None) => {
            let why = total.undefined.as_deref().unwrap_or("no reason recorded");
            format!("the total effect has no interval ({why}), so that a share of it means nothing")
        }
    };
    Estimate::undefined(reason, total.n, total.clusters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    const LEGS: Legs = Legs { base: 0.1, alternative: 1.3, indirect: 0.6, direct: 0.9, reversed: 0.9 };

    #[test]
    fn log_odds_effects_follow_the_definitions_and_the_identity() {
        let effect = |kind| LEGS.effect(kind, EffectScale::LogOdds).expect("log-odds");
        assert!((effect(EffectKind::Total) - 1.2).abs() < 1e-15);
        assert!((effect(EffectKind::NaturalIndirect) - 0.5).abs() < 1e-15);
        assert!((effect(EffectKind::NaturalDirect) - 0.8).abs() < 1e-15);
        assert!((effect(EffectKind::ReversedNaturalIndirect) + 0.4).abs() < 1e-15);
        assert!(LEGS.identity_gap() < 1e-15);
        // NDE + NIE = 1.3 is not TE = 1.2: the sum of the pure effects is no identity.
        assert!((effect(EffectKind::NaturalDirect) + effect(EffectKind::NaturalIndirect) - 1.2).abs() > 0.05);
    }

    #[test]
    fn a_corrupted_leg_opens_the_identity() {
        assert!((Legs { reversed: 0.95, ..LEGS }.identity_gap() - 0.05).abs() < 1e-12);
    }

    #[test]
    fn the_odds_ratio_is_the_ratio_of_odds() {
        let (before, after) = (odds(0.2, 0.1).expect("odds"), odds(0.25, 0.5).expect("odds"));
        let legs = Legs { base: before.ln(), alternative: after.ln(), ..LEGS };
        let effect = legs.effect(EffectKind::Total, EffectScale::OddsRatio).expect("odds ratio");
        assert!((effect - 3.0).abs() < 1e-12 && odds_ratio_effect(before, after) == 3.0, "{effect}");
        assert_eq!(legs.effect(EffectKind::Total, EffectScale::Kl), None);
        assert_eq!(odds(0.0, 0.5), None);
        assert_eq!(odds(0.5, f64::NAN), None);
    }

    #[test]
    fn a_share_needs_a_total() {
        let bootstrap = Bootstrap { replicates: 500, level: 0.95, seed: Seed::new(2) };
        let items = |total: fn(usize) -> f64| -> Vec<Item> {
            let item = |id: usize| Item {
                id: id.to_string(),
                cluster: id.to_string(),
                value: 0.6 * total(id),
                group: None,
                weight: Some(total(id)),
            };
            (0..40).map(item).collect()
        };
        let total_of = |items: &[Item]| {
            let totals: Vec<Item> =
                items.iter().map(|item| Item { value: item.weight.unwrap_or(0.0), ..item.clone() }).collect();
            estimate(&totals, &Statistic::Mean, &bootstrap)
        };
        let strong = items(|id| 1.0 + (id % 5) as f64);
        let share = share_of_total(&strong, &total_of(&strong), &bootstrap);
        assert!((share.value.expect("defined") - 0.6).abs() < 1e-12 && share.interval.is_some());
        let none = items(|id| if id % 2 == 0 { 1.0 } else { -1.0 });
        let share = share_of_total(&none, &total_of(&none), &bootstrap);
        assert_eq!(share.value, None);
        assert!(share.undefined.expect("reason").contains("covers 0"));
    }
}
