//! Effects of rewrites that change more than they should (Reber et al. 2024, RATE).
//!
//! An attribute set by rewriting a text drags other things along: length, style, the rewriter's own taste. `y(rewrite) − y(text)`
//! counts that drift as effect. If the text is rewritten to the other value *and back*, both sides of
//! `y(rewrite) − y(rewrite of the rewrite)` carry it, and it cancels as far as it neither depends on the
//! value nor adds up over rewrites; `drift` shows how much there is.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::stats::result::Interval;

/// The outcomes of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrites {
    /// The text as it is.
    pub original: f64,
    /// Rewritten to the other value.
    pub rewrite: f64,
    /// Rewritten back from there.
    pub back: f64,
    /// Whether the text has the attribute, so that the rewrite takes it away.
    pub present: bool,
    /// The resampling unit.
    pub cluster: String,
}

/// The attribute's mean effect, drift taken out, and what the single rewrite would have said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewriteEffect {
    /// Mean of ±(rewrite − back).
    pub value: f64,
    /// Its standard error, by cluster.
    pub error: f64,
    /// Its interval (Student's t on clusters).
    pub interval: Interval,
    /// Mean of ±(rewrite − original).
    pub single: f64,
    /// Mean of back − original: the drift of two rewrites, 0 for a rewriter that changes nothing else.
    pub drift: f64,
    /// Clusters.
    pub clusters: usize,
}

/// The effect of having the attribute; `None` with fewer than two clusters.
pub fn rewrite_effect(texts: &[Rewrites], level: f64) -> Option<RewriteEffect> {
    let n = texts.len() as f64;
    let sign = |text: &Rewrites| if text.present { -1.0 } else { 1.0 };
    let mean = |of: &dyn Fn(&Rewrites) -> f64| texts.iter().map(of).sum::<f64>() / n;
    let value = mean(&|text| sign(text) * (text.rewrite - text.back));
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for text in texts {
        *sums.entry(&text.cluster).or_insert(0.0) += sign(text) * (text.rewrite - text.back) - value;
    }
    let clusters = sums.len();
    if clusters < 2 {
        return None;
    }
    let correction = clusters as f64 / (clusters as f64 - 1.0);
    let error = (correction * sums.values().map(|sum| sum * sum).sum::<f64>()).sqrt() / n;
    let t = StudentsT::new(0.0, 1.0, clusters as f64 - 1.0).ok()?.inverse_cdf(0.5 + level / 2.0);
    Some(RewriteEffect {
        value,
        error,
        interval: Interval { low: value - t * error, high: value + t * error, level },
        single: mean(&|text| sign(text) * (text.rewrite - text.original)),
        drift: mean(&|text| text.back - text.original),
        clusters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::base::seed::{normal, uniform};

    #[test]
    fn drift_cancels_in_the_second_rewrite() {
        // The attribute is worth 1; each rewrite makes a text 0.5 better, which the reward likes; most texts lack it.
        let mut rng = Seed::new(3).rng();
        let texts: Vec<Rewrites> = (0..2_000)
            .map(|number| {
                let present = uniform(&mut rng) < 0.2;
                let base = normal(&mut rng);
                let mut reward = |attribute: bool, rewrites: f64| {
                    base + f64::from(attribute) + 0.5 * rewrites + 0.3 * normal(&mut rng)
                };
                let (original, rewrite, back) = (reward(present, 0.0), reward(!present, 1.0), reward(present, 1.0));
                Rewrites { original, rewrite, back, present, cluster: (number / 4).to_string() }
            })
            .collect();
        let found = rewrite_effect(&texts, 0.95).expect("clusters");
        assert!(found.interval.low < 1.0 && 1.0 < found.interval.high && found.error < 0.02, "{found:?}");
        // 0.8 · 0.5 − 0.2 · 0.5 too much.
        assert!((found.single - 1.3).abs() < 0.05 && (found.drift - 0.5).abs() < 0.05, "{found:?}");
        assert_eq!(rewrite_effect(texts.get(..2).expect("two"), 0.95), None);
    }
}
