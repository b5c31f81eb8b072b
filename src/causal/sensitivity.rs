//! How strong something unseen would have to be to undo a finding.
//!
//! * Cinelli and Hazlett (2020), for a regression coefficient: f = |t|/√df; the robustness value is the share of the
//!   residual variance of both treatment and outcome that a confounder must explain.
//! * E-values (VanderWeele and Ding 2017), for risk ratios: the strength of association, with both treatment and outcome,
//!   that would explain the ratio away.
//! * Rosenbaum's bounds (2002), for matched pairs: the worst p-value where an unseen cause may change the odds of
//!   treatment within a pair by Γ. Where the treatment was randomised Γ = 1, and it is McNemar's exact test.

use serde::Serialize;
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

/// What a regression coefficient withstands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Robustness {
    /// The share of residual variance that moves the coefficient to `1 − q` of itself.
    pub value: f64,
    /// The share that makes it insignificant at α.
    pub value_alpha: f64,
    /// Partial R² of the treatment with the outcome: what an extreme confounder (all of the outcome) needs of the treatment.
    pub partial_r2: f64,
}

/// The robustness values of a coefficient with its error and degrees of freedom, to a reduction by the share `q`.
pub fn robustness(estimate: f64, error: f64, df: f64, q: f64, alpha: f64) -> Option<Robustness> {
    if !(error > 0.0 && df > 1.0 && q > 0.0 && alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    let f = (estimate / error).abs() / df.sqrt();
    let critical = StudentsT::new(0.0, 1.0, df - 1.0).ok()?.inverse_cdf(1.0 - alpha / 2.0) / (df - 1.0).sqrt();
    let rv = |f: f64| (f.powi(4) + 4.0 * f * f).sqrt() / 2.0 - f * f / 2.0;
    let (fq, less) = (q * f, q * f - critical);
    // Beyond this strength the confounder would need more of the outcome than of the treatment (the extreme branch).
    let value_alpha = match () {
        () if less <= 0.0 => 0.0,
        () if fq > 1.0 / critical => (fq * fq - critical * critical) / (1.0 + fq * fq),
        () => rv(less),
    };
    Some(Robustness { value: rv(fq), value_alpha, partial_r2: f * f / (1.0 + f * f) })
}

/// The coefficient once a confounder with these partial R² (outcome given treatment and covariates; treatment given
/// covariates) is taken into account, moved towards 0.
pub fn adjusted_estimate(estimate: f64, error: f64, df: f64, r2_outcome: f64, r2_treatment: f64) -> f64 {
    let bias = error * df.sqrt() * (r2_outcome * r2_treatment / (1.0 - r2_treatment)).sqrt();
    estimate - estimate.signum() * bias
}

/// Partial R² that a confounder `k` times as strong as an observed covariate would have (Cinelli and Hazlett 2020, 4.4), from
/// that covariate's own partial R² with treatment and with outcome: (with the treatment, with the outcome). `None` where no
/// confounder can be that strong.
pub fn benchmark(k: f64, treatment: f64, outcome: f64) -> Option<(f64, f64)> {
    let with_treatment = k * treatment / (1.0 - treatment);
    let shared = k * treatment * treatment / ((1.0 - k * treatment) * (1.0 - treatment));
    if !(0.0..1.0).contains(&with_treatment) || !(0.0..1.0).contains(&shared) {
        return None;
    }
    let eta = (k.sqrt() + shared.sqrt()) / (1.0 - shared).sqrt();
    let with_outcome = eta * eta * outcome / (1.0 - outcome);
    Some((with_treatment, with_outcome.min(1.0)))
}

/// An effect on the scale of its measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ratio {
    /// A risk ratio, or an odds or hazard ratio of a rare outcome.
    Risk,
    /// An odds ratio of a common outcome: its square root stands for the risk ratio.
    CommonOdds,
}

/// The E-values of an estimate and of the limit of its interval next to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EValue {
    /// The ratio on the risk-ratio scale.
    pub ratio: f64,
    /// Of the estimate.
    pub estimate: f64,
    /// Of the limit; 1 where the interval holds 1.
    pub limit: Option<f64>,
}

/// RR + √(RR (RR − 1)), inverted for RR < 1; `None` for ratios that are not positive.
pub fn e_value(estimate: f64, interval: Option<(f64, f64)>, scale: Ratio) -> Option<EValue> {
    let risk = |ratio: f64| if scale == Ratio::CommonOdds { ratio.sqrt() } else { ratio };
    let of = |ratio: f64| {
        let up = ratio.max(1.0 / ratio);
        up + (up * (up - 1.0)).sqrt()
    };
    if !(estimate > 0.0 && interval.is_none_or(|(low, high)| low > 0.0 && high >= low)) {
        return None;
    }
    let ratio = risk(estimate);
    let limit = interval.map(|(low, high)| match (risk(low), risk(high)) {
        (low, high) if low <= 1.0 && high >= 1.0 => 1.0,
        (low, _) if low > 1.0 => of(low),
        (_, high) => of(high),
    });
    Some(EValue { ratio, estimate: of(ratio), limit })
}

/// The E-value of a standardised mean difference with its error: RR ≈ exp(0.91 d), limits exp(0.91 d ∓ 1.78 s).
pub fn e_value_of_difference(difference: f64, error: f64) -> Option<EValue> {
    let at = |shift: f64| (0.91 * difference + shift).exp();
    e_value(at(0.0), Some((at(-1.78 * error), at(1.78 * error))), Ratio::Risk)
}

/// The worst one-sided p-value of `favour` of `pairs` discordant pairs, where an unseen cause changes the odds within a pair by
/// at most `gamma`: P(Bin(pairs, Γ/(1 + Γ)) ≥ favour).
pub fn rosenbaum(pairs: u64, favour: u64, gamma: f64) -> Option<f64> {
    if !(gamma >= 1.0 && favour <= pairs) {
        return None;
    }
    let binomial = Binomial::new(gamma / (1.0 + gamma), pairs).ok()?;
    Some(favour.checked_sub(1).map_or(1.0, |below| binomial.sf(below)))
}

/// The largest Γ at which the worst p-value stays below α; `None` where it does not even at Γ = 1.
pub fn rosenbaum_limit(pairs: u64, favour: u64, alpha: f64) -> Option<f64> {
    let holds = |gamma: f64| rosenbaum(pairs, favour, gamma).is_some_and(|p| p < alpha);
    if !holds(1.0) {
        return None;
    }
    let (mut low, mut high) = (1.0, 2.0);
    while holds(high) && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if holds(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-8 * expected.max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn e_values_of_the_reference() {
        // Numbers: reference/causal.md 3.7.
        for (ratio, limits, expected, of_limit) in [
            (3.9, (1.8, 8.7), 7.2630343, 3.0),
            (10.73, (8.02, 14.36), 20.9477737, 15.5233592),
            (0.80, (0.71, 0.91), 1.8090170, 1.4285714),
            (2.0, (0.9, 4.0), 3.4142136, 1.0),
        ] {
            let found = e_value(ratio, Some(limits), Ratio::Risk).expect("positive");
            close(found.estimate, expected);
            if ratio != 0.80 {
                close(found.limit.expect("limits"), of_limit);
            }
        }
        let found = e_value_of_difference(0.5, 0.1).expect("positive");
        close(found.ratio, 1.5761734);
        close(found.estimate, 2.5291420);
        close(found.limit.expect("limit"), 1.9680374);
        close(e_value(4.0, None, Ratio::CommonOdds).expect("odds").estimate, 3.4142136);
        assert_eq!(e_value(-1.0, None, Ratio::Risk), None);
    }

    #[test]
    fn rosenbaum_bounds_of_the_reference() {
        // Numbers: reference/causal.md 3.7, 110 of 122 discordant pairs.
        for (gamma, expected, digits) in [
            (1.0, 2.7e-21, 0.05e-21),
            (2.0, 1.32e-9, 0.005e-9),
            (3.0, 2.03e-5, 0.005e-5),
            (4.0, 0.0019633, 5e-8),
            (5.0, 0.0231686, 5e-8),
            (6.0, 0.0969288, 5e-8),
        ] {
            let p = rosenbaum(122, 110, gamma).expect("bounds");
            assert!((p - expected).abs() <= digits, "{gamma}: {p}");
        }
        let limit = rosenbaum_limit(122, 110, 0.05).expect("significant");
        assert!(limit > 5.0 && limit < 6.0, "{limit}");
        assert_eq!(rosenbaum_limit(10, 5, 0.05), None);
    }

    #[test]
    fn robustness_values_of_cinelli_and_hazlett() {
        // Their Darfur example: 0.097 (0.023), 783 degrees of freedom; RV 13.9 %, RV at 5 % 7.6 %, partial R² 2.2 %.
        let found = robustness(0.097_315_82, 0.023_256_54, 783.0, 1.0, 0.05).expect("estimate");
        assert!((found.value - 0.138_776).abs() < 5e-6, "{found:?}");
        assert!((found.value_alpha - 0.076_259).abs() < 5e-6, "{found:?}");
        assert!((found.partial_r2 - 0.021_873).abs() < 5e-6, "{found:?}");
        // At the robustness value the estimate is moved to 0.
        let moved = adjusted_estimate(0.097_315_82, 0.023_256_54, 783.0, found.value, found.value);
        assert!(moved.abs() < 1e-12, "{moved}");
        assert_eq!(robustness(1.0, 0.0, 10.0, 1.0, 0.05), None);
        // A confounder once as strong as "female": partial R² 0.0092 with the treatment, 0.1246 with the outcome, as printed.
        let (treatment, outcome) = benchmark(1.0, 0.009_08, 0.109_0).expect("possible");
        assert!((treatment - 0.009_16).abs() < 5e-5 && (outcome - 0.124_6).abs() < 5e-4, "{treatment} {outcome}");
    }
}
