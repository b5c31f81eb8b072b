//! Natural direct and indirect effects with debiased scores (Tchetgen Tchetgen and Shpitser 2012; Farbmacher et al. 2022).
//!
//! With `p(x) = P(d=1 | x)`, `q(m,x) = P(d=1 | m,x)`, `μ_d(m,x) = E[y | d,m,x]` and `ω(x) = E[μ₁(M,X) | d=0, X=x]`:
//! `E[Y_{1,M₀}] = E[d (1 − q)/(q (1 − p)) (y − μ₁) + (1 − d)/(1 − p) (μ₁ − ω) + ω]`, and `E[Y_{0,M₁}]` with arms exchanged; `E[Y_d]` by
//! augmented weighting. No density of the mediators is needed, so they may be several and of any kind. Assumes that
//! x closes every back door of d → m, d → y and m → y, and that none of its nodes is moved by d.

use statrs::distribution::{ContinuousCDF, Normal};

use super::simple::error_of;
use super::{EstimateError, Estimation, Folds, Overlap};
use crate::base::Seed;
use crate::causal::table::Table;
use crate::stats::design::{Design, select};
use crate::stats::result::Interval;
use serde::Serialize;

/// One part of an effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Its interval.
    pub interval: Interval,
}

/// The effect of a binary treatment, taken apart at mediators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NaturalEffects {
    /// `E[Y₁] − E[Y₀]`.
    pub total: Part,
    /// `E[Y_{1,M₀}] − E[Y₀]`.
    pub natural_direct: Part,
    /// `E[Y₁] − E[Y_{1,M₀}]`: TE = NDE + TNIE.
    pub total_indirect: Part,
    /// `E[Y_{0,M₁}] − E[Y₀]`.
    pub natural_indirect: Part,
    /// `E[Y₁] − E[Y_{0,M₁}]`.
    pub total_direct: Part,
    /// Overlap of the treatment given x and mediators, the harder of the two.
    pub overlap: Overlap,
    /// Rows.
    pub n: usize,
}

/// Estimates the parts; `estimation` names treatment, outcome, covariates x, learners, folds, clip and level.
pub fn natural_effects(
    table: &Table,
    mediators: &[&str],
    estimation: &Estimation,
) -> Result<NaturalEffects, EstimateError> {
    let y = table.varying(&estimation.outcome)?;
    let d = &table.treatment(&estimation.treatment)?.1;
    let mut x = Design::new(y.len());
    for (name, column) in coded(table, estimation.covariates.iter().map(String::as_str))? {
        x.push(&name, column)?;
    }
    let mut mx = x.clone();
    for (name, column) in coded(table, mediators.iter().copied())? {
        mx.push(&name, column)?;
    }
    let folds = Folds::stratified(d, estimation.folds, estimation.seed.fork("folds"))?;
    let parts = Parts { estimation, y, d, x: &x, mx: &mx, folds: &folds };
    let (p, overlap_x) = parts.propensity(&x, "p")?;
    let (q, overlap) = parts.propensity(&mx, "q")?;
    overlap_x.check()?;
    overlap.check()?;
    let y1 = parts.marginal(1.0, &p)?;
    let y0 = parts.marginal(0.0, &p)?;
    let y1_m0 = parts.crossed(1.0, &p, &q)?;
    let y0_m1 = parts.crossed(0.0, &p, &q)?;
    let z = Normal::standard().inverse_cdf(0.5 + estimation.level / 2.0);
    let less = |a: &[f64], b: &[f64]| {
        let rows: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let value = rows.iter().sum::<f64>() / rows.len().max(1) as f64;
        let error = error_of(&rows.iter().map(|row| row - value).collect::<Vec<_>>(), &[]);
        let interval = Interval { low: value - z * error, high: value + z * error, level: estimation.level };
        Part { value, error, interval }
    };
    Ok(NaturalEffects {
        total: less(&y1, &y0),
        natural_direct: less(&y1_m0, &y0),
        total_indirect: less(&y1, &y1_m0),
        natural_indirect: less(&y0_m1, &y0),
        total_direct: less(&y1, &y0_m1),
        overlap,
        n: y.len(),
    })
}

fn coded<'a>(table: &Table, names: impl Iterator<Item = &'a str>) -> Result<Vec<(String, Vec<f64>)>, EstimateError> {
    let mut found = Vec::new();
    for name in names {
        found.extend(table.coded(name)?);
    }
    Ok(found)
}

struct Parts<'a> {
    estimation: &'a Estimation,
    y: &'a [f64],
    d: &'a [f64],
    x: &'a Design,
    mx: &'a Design,
    folds: &'a Folds,
}

impl Parts<'_> {
    fn seed(&self, name: &str) -> Seed {
        self.estimation.seed.fork(name)
    }

    fn propensity(&self, columns: &Design, name: &str) -> Result<(Vec<f64>, Overlap), EstimateError> {
        let learner = self.estimation.treatment_learner.as_ref();
        let raw = self.folds.cross_fit(learner, columns, self.d, &|_| true, self.seed(name))?;
        let clip = self.estimation.clip;
        let overlap = Overlap::of(self.d, &raw, clip, columns);
        Ok((raw.into_iter().map(|p| p.clamp(clip, 1.0 - clip)).collect(), overlap))
    }

    fn in_arm(&self, arm: f64) -> impl Fn(usize) -> bool {
        let d = self.d.to_vec();
        move |row| d.get(row) == Some(&arm)
    }

    /// Scores of `E[Y_arm]`.
    fn marginal(&self, arm: f64, p: &[f64]) -> Result<Vec<f64>, EstimateError> {
        let learner = self.estimation.outcome_learner.as_ref();
        let g = self.folds.cross_fit(learner, self.x, self.y, &self.in_arm(arm), self.seed("marginal"))?;
        let row = |((y, d), (g, p)): ((&f64, &f64), (&f64, &f64))| {
            let p = if arm == 1.0 { *p } else { 1.0 - p };
            g + f64::from(*d == arm) * (y - g) / p
        };
        Ok(self.y.iter().zip(self.d).zip(g.iter().zip(p)).map(row).collect())
    }

    /// Scores of `E[Y_{arm, M of the other arm}]`.
    fn crossed(&self, arm: f64, p: &[f64], q: &[f64]) -> Result<Vec<f64>, EstimateError> {
        let learner = self.estimation.outcome_learner.as_ref();
        let n = self.y.len();
        let (mut mu, mut omega) = (vec![0.0; n], vec![0.0; n]);
        for (fold, (test, train)) in self.folds.test.iter().zip(&self.folds.train).enumerate() {
            let of = |wanted: f64| -> Vec<usize> {
                train.iter().copied().filter(|&row| self.d.get(row) == Some(&wanted)).collect()
            };
            let (own, other) = (of(arm), of(1.0 - arm));
            let seed = self.seed("crossed").fork(&fold.to_string());
            let outcome = learner.fit(&self.mx.select(&own), &select(self.y, &own), seed.fork("outcome"))?;
            let nested = outcome.predict(&self.mx.select(&other));
            let over = learner.fit(&self.x.select(&other), &nested, seed.fork("nested"))?;
            let predictions =
                outcome.predict(&self.mx.select(test)).into_iter().zip(over.predict(&self.x.select(test)));
            for (row, (own, average)) in test.iter().zip(predictions) {
                mu.iter_mut().skip(*row).take(1).for_each(|slot| *slot = own);
                omega.iter_mut().skip(*row).take(1).for_each(|slot| *slot = average);
            }
        }
        let score = |row: usize| {
            let at = |values: &[f64]| values.get(row).copied().unwrap_or(f64::NAN);
            let (y, mu, omega) = (at(self.y), at(&mu), at(&omega));
            let (p, q) = if arm == 1.0 { (at(p), at(q)) } else { (1.0 - at(p), 1.0 - at(q)) };
            let own = f64::from(at(self.d) == arm);
            own * (1.0 - q) / (q * (1.0 - p)) * (y - mu) + (1.0 - own) / (1.0 - p) * (mu - omega) + omega
        };
        Ok((0..n).map(score).collect())
    }
}
