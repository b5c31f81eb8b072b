//! Bounds under omitted confounders (Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis 2022).
//!
//! With S² = σ²ν², σ² = E(outcome residual²) and ν² = E(Riesz representer²), a confounder that would explain a share `cf_y`
//! of the outcome's residual and `cf_d` of the representer's moves θ by at most |ρ| √(cf_y cf_d/(1 − cf_d)) S. The
//! robustness value is the equal share of both that just moves θ (or its one-sided limit) to the null.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

use super::EffectEstimate;

/// What bounds need of an estimate, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Confounding {
    /// σ².
    pub sigma2: f64,
    /// Its influence.
    pub sigma2_influence: Vec<f64>,
    /// ν².
    pub nu2: f64,
    /// Its influence.
    pub nu2_influence: Vec<f64>,
}

/// A scenario's bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OmittedVariable {
    /// Share of the outcome's residual variance.
    pub cf_y: f64,
    /// Share of the representer's variance.
    pub cf_d: f64,
    /// Correlation of the two errors.
    pub rho: f64,
    /// The bounds of θ.
    pub bounds: [f64; 2],
    /// One-sided confidence limits of the bounds, each at `level`.
    pub limits: [f64; 2],
    /// The coverage of each limit.
    pub level: f64,
    /// S, the bias at strength 1.
    pub max_bias: f64,
    /// The share of both that moves θ to 0.
    pub robustness: f64,
    /// The share of both that moves the limit to 0.
    pub robustness_of_limit: f64,
}

impl Confounding {
    /// Of the partially linear model: residuals of the outcome (u − θ v) and of the treatment v.
    pub fn partially_linear(residual: &[f64], v: &[f64]) -> Self {
        let n = v.len().max(1) as f64;
        let (sigma2, sigma2_influence) = mean_square(residual);
        let nu2 = n / v.iter().map(|v| v * v).sum::<f64>();
        let nu2_influence = v.iter().map(|v| nu2 - (v * nu2).powi(2)).collect();
        Self { sigma2, sigma2_influence, nu2, nu2_influence }
    }

    /// Of the average effect: residuals of the outcome and propensities. ν² = 2 E m(α) − E α², α = d/m − (1 − d)/(1 − m).
    pub fn average(residual: &[f64], d: &[f64], propensity: &[f64]) -> Self {
        let (sigma2, sigma2_influence) = mean_square(residual);
        let element = |(d, m): (&f64, &f64)| {
            let alpha = d / m - (1.0 - d) / (1.0 - m);
            2.0 * (1.0 / m + 1.0 / (1.0 - m)) - alpha * alpha
        };
        let elements: Vec<f64> = d.iter().zip(propensity).map(element).collect();
        let nu2 = elements.iter().sum::<f64>() / elements.len().max(1) as f64;
        Self { sigma2, sigma2_influence, nu2, nu2_influence: elements.iter().map(|e| e - nu2).collect() }
    }

    fn max_bias(&self) -> f64 {
        (self.sigma2 * self.nu2).max(0.0).sqrt()
    }
}

fn mean_square(values: &[f64]) -> (f64, Vec<f64>) {
    let mean = values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64;
    (mean, values.iter().map(|x| x * x - mean).collect())
}

fn strength(cf_y: f64, cf_d: f64, rho: f64) -> f64 {
    rho.abs() * (cf_y * cf_d / (1.0 - cf_d)).sqrt()
}

/// The two bounds at a strength, and their one-sided limits.
fn bounds(effect: &EffectEstimate, confounding: &Confounding, strength: f64, z: f64) -> ([f64; 2], [f64; 2]) {
    let bias = confounding.max_bias();
    let n = effect.influence.len().max(1) as f64;
    let of_bias = confounding.sigma2_influence.iter().zip(&confounding.nu2_influence);
    let of_bias: Vec<f64> =
        of_bias.map(|(s, v)| (confounding.sigma2 * v + confounding.nu2 * s) / (2.0 * bias)).collect();
    let error = |sign: f64| {
        let rows = effect.influence.iter().zip(&of_bias);
        (rows.map(|(theta, bias)| (theta + sign * strength * bias).powi(2)).sum::<f64>() / n / n).sqrt()
    };
    let ends = [effect.value - strength * bias, effect.value + strength * bias];
    (ends, [ends[0] - z * error(-1.0), ends[1] + z * error(1.0)])
}

/// Bounds of an estimate if a confounder of this strength was left out; `None` where the method has none or a share is not
/// in [0, 1).
pub fn omitted_variable(
    effect: &EffectEstimate,
    cf_y: f64,
    cf_d: f64,
    rho: f64,
    level: f64,
) -> Option<OmittedVariable> {
    let confounding = effect.confounding.as_ref()?;
    if !(0.0..1.0).contains(&cf_y) || !(0.0..1.0).contains(&cf_d) || !(-1.0..=1.0).contains(&rho) {
        return None;
    }
    let z = Normal::standard().inverse_cdf(level);
    let (ends, limits) = bounds(effect, confounding, strength(cf_y, cf_d, rho), z);
    // On the side of the null, the end (or limit) falls as the share grows: halve the interval.
    let reaches = |share: f64, limit: bool| {
        let (ends, limits) = bounds(effect, confounding, strength(share, share, rho), z);
        let [low, high] = if limit { limits } else { ends };
        if effect.value > 0.0 { low <= 0.0 } else { high >= 0.0 }
    };
    let robustness = |limit: bool| {
        let (mut low, mut high) = (0.0, 1.0 - 1e-12);
        if reaches(low, limit) {
            return 0.0;
        }
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if reaches(middle, limit) { high = middle } else { low = middle }
        }
        high
    };
    Some(OmittedVariable {
        cf_y,
        cf_d,
        rho,
        bounds: ends,
        limits,
        level,
        max_bias: confounding.max_bias(),
        robustness: robustness(false),
        robustness_of_limit: robustness(true),
    })
}
