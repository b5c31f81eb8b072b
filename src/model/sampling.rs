//! The choice of the next token from its logits.
//!
//! Order: repetition penalty, temperature, the `top_k` largest, the fewest of those that hold `top_p` of their
//! probability, those with at least `min_p` of the largest probability, then one draw among what is left. That is the
//! order of `transformers`; of equal logits at the edge of `top_k` the smaller ids are kept.

use rand::Rng;

use super::error::ModelError;
use crate::base::seed::uniform;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// The most likely token, the first of equals.
    Greedy,
    /// A draw.
    Sample(Sampling),
}

/// From what a token is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it.
    pub temperature: f64,
    /// At most so many candidates.
    pub top_k: Option<usize>,
    /// The most likely candidates that together have this probability.
    pub top_p: Option<f64>,
    /// Candidates with at least this share of the most likely one's probability.
    pub min_p: Option<f64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None }
    }
}

impl Choice {
    /// Refuses settings that leave nothing to draw.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let Choice::Sample(Sampling { temperature, top_k, top_p, min_p }) = *self else { return Ok(()) };
        let share = |value: Option<f64>| value.is_none_or(|value| value > 0.0 && value <= 1.0);
        let wrong = match () {
            () if !(temperature > 0.0 && temperature.is_finite()) => {
                format!("temperature {temperature}: give one above 0")
            }
            () if top_k == Some(0) => "top-k 0: give at least 1".to_owned(),
            () if !share(top_p) => "top-p must lie above 0 and not above 1".to_owned(),
            () if !share(min_p) => "min-p must lie above 0 and not above 1".to_owned(),
            () => return Ok(()),
        };
        Err(ModelError::Request(wrong))
    }

    /// The next token.
    pub(crate) fn pick(&self, logits: &[f32], rng: &mut impl Rng) -> Result<u32, ModelError> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(ModelError::Request("the model's logits are not numbers; are its weights finite?".into()));
        }
        let first = || ModelError::Request("the model has no tokens to choose from".into());
        match self {
            Choice::Greedy => {
                let better = |best: (usize, f32), (id, logit): (usize, &f32)| match *logit > best.1 {
                    true => (id, *logit),
                    false => best,
                };
                let start = *logits.first().ok_or_else(first)?;
                Ok(logits.iter().enumerate().fold((0, start), better).0 as u32)
            }
            Choice::Sample(sampling) => sampling.draw(logits, rng).ok_or_else(first),
        }
    }
}

impl Sampling {
    fn draw(&self, logits: &[f32], rng: &mut impl Rng) -> Option<u32> {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| (f64::from(logit - top) / self.temperature).exp();
        let mut kept: Vec<(u32, f64)> = (0..).zip(logits).map(|(id, logit)| (id, weight(*logit))).collect();
        if self.top_k.is_some() || self.top_p.is_some() {
            kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            kept.truncate(self.top_k.unwrap_or(usize::MAX));
            if let Some(share) = self.top_p {
                let enough = share * kept.iter().map(|(_, weight)| weight).sum::<f64>();
                let mut before = 0.0;
                // A candidate stays while those before it have less than the share.
                kept.retain(|(_, weight)| {
                    before += weight;
                    before - weight < enough
                });
            }
            // The draw walks through ids in order, so that an exchange of near-equal logits changes nothing.
            kept.sort_by_key(|(id, _)| *id);
        }
        if let Some(share) = self.min_p {
            kept.retain(|(_, weight)| *weight >= share);
        }
        let mut left = uniform(rng) * kept.iter().map(|(_, weight)| weight).sum::<f64>();
        let drawn = kept.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        drawn.or(kept.iter().rev().find(|(_, weight)| *weight > 0.0)).map(|(id, _)| *id)
    }
}

/// Divides the positive logits of tokens that were there before by the penalty and multiplies the negative ones.
pub(crate) fn penalise(logits: &mut [f32], seen: &[u32], penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some(logit) = logits.get_mut(id as usize) {
            let factor = if *logit < 0.0 { penalty } else { 1.0 / penalty };
            *logit = (f64::from(*logit) * factor) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    /// Shares of 20,000 draws.
    fn shares(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut rng = Seed::new(3).rng();
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[Choice::Sample(sampling).pick(logits, &mut rng).expect("token") as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_follow_the_probabilities_that_the_settings_leave() {
        // Probabilities 0.4, 0.3, 0.2, 0.1 in another order of ids.
        let logits: Vec<f32> = [0.2f32, 0.4, 0.1, 0.3].iter().map(|p| p.ln() + 5.0).collect();
        let plain = Sampling::default();
        for (sampling, expected) in [
            (plain, [0.2, 0.4, 0.1, 0.3]),
            (Sampling { top_k: Some(2), ..plain }, [0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]),
            // 0.4 + 0.3 reach 0.65, so the third is not needed; they do not reach 0.75.
            (Sampling { top_p: Some(0.65), ..plain }, [0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]),
            (Sampling { top_p: Some(0.75), ..plain }, [2.0 / 9.0, 4.0 / 9.0, 0.0, 3.0 / 9.0]),
            (Sampling { min_p: Some(0.45), ..plain }, [2.0 / 9.0, 4.0 / 9.0, 0.0, 3.0 / 9.0]),
            // The share is of what top-k left: 4/7 ≥ 0.5.
            (Sampling { top_k: Some(2), top_p: Some(0.5), ..plain }, [0.0, 1.0, 0.0, 0.0]),
            // Squared: 4, 16, 1, 9 of 30.
            (Sampling { temperature: 0.5, ..plain }, [4.0 / 30.0, 16.0 / 30.0, 1.0 / 30.0, 9.0 / 30.0]),
        ] {
            let found = shares(sampling, &logits);
            for (found, expected) in found.iter().zip(expected) {
                // Four standard errors of a share of 20,000.
                assert!((found - expected).abs() < 0.015, "{sampling:?}: {found} for {expected}");
                assert!(expected > 0.0 || *found == 0.0, "{sampling:?}");
            }
        }
    }

    #[test]
    fn penalty_and_greedy_choice() {
        let mut logits = [2.0, -2.0, 1.0, 1.5];
        penalise(&mut logits, &[0, 0, 1, 9], 2.0);
        assert_eq!(logits, [1.0, -4.0, 1.0, 1.5]);
        let mut rng = Seed::new(1).rng();
        assert_eq!(Choice::Greedy.pick(&[1.0, 3.0, 3.0], &mut rng).expect("token"), 1, "the first of equals");
        assert!(Choice::Greedy.pick(&[1.0, f32::NAN], &mut rng).is_err());
        let broken = Sampling { temperature: 0.0, ..Sampling::default() };
        assert!(Choice::Sample(broken).check().is_err() && Choice::Greedy.check().is_ok());
    }
}
