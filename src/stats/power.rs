//! What a comparison could have shown: equivalence margins, minimum detectable effects, sample sizes.

use serde::{Deserialize, Serialize};

use super::interval::inverse_normal;
use super::result::Interval;

/// What an interval of level 1 − 2α says of the margin ±δ (two one-sided tests at α; Schuirmann 1987).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equivalence {
    /// The interval lies inside the margin: the difference is smaller than δ.
    Equivalent,
    /// The interval lies outside the margin: the difference is larger than δ.
    Different,
    /// It straddles an edge: neither can be said.
    Open,
}

/// Two one-sided tests, read off an interval of level 1 − 2α (0.90 for α = 0.05) of the difference.
pub fn equivalence(interval: &Interval, margin: f64) -> Equivalence {
    let inside = interval.low > -margin && interval.high < margin;
    let outside = interval.low > margin || interval.high < -margin;
    match (inside, outside) {
        (true, _) => Equivalence::Equivalent,
        (_, true) => Equivalence::Different,
        _ => Equivalence::Open,
    }
}

/// The level of the interval that [`equivalence`] reads: 1 − 2α.
pub fn equivalence_level(alpha: f64) -> f64 {
    1.0 - 2.0 * alpha
}

/// The smallest true difference that a two-sided test at `alpha` would find with probability `power`, given the
/// standard error of the difference: (z_{1−α/2} + z_power) · SE (Miller 2024).
pub fn minimum_detectable_effect(standard_error: f64, alpha: f64, power: f64) -> f64 {
    (inverse_normal(1.0 - alpha / 2.0) + inverse_normal(power)) * standard_error
}

/// The power of a two-sided test at `alpha` against a true difference `effect`, normal approximation:
/// Φ(|δ|/SE − z) + Φ(−|δ|/SE − z).
pub fn power_of(effect: f64, standard_error: f64, alpha: f64) -> f64 {
    let (z, shift) = (inverse_normal(1.0 - alpha / 2.0), effect.abs() / standard_error);
    super::interval::normal(shift - z) + super::interval::normal(-shift - z)
}

/// The items that would decide a one-sided test at `alpha` with probability `power`, were the true value `distance` away
/// from what it is held against: n ((z_{1−α} + z_power)·SE/|distance|)², rounded up, with SE the error on the `n` items
/// that are there, clusters growing with them. `None` where the distance or the error is 0.
pub fn items_to_decide(distance: f64, standard_error: f64, n: usize, alpha: f64, power: f64) -> Option<usize> {
    let times = (inverse_normal(1.0 - alpha) + inverse_normal(power)) * standard_error / distance.abs();
    let needed = n as f64 * times * times;
    (distance != 0.0 && standard_error > 0.0 && needed.is_finite()).then(|| needed.ceil() as usize)
}

/// What decides how many questions a paired comparison needs (Miller 2024, section 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDesign {
    /// ω²: the variance over questions of the difference of the two models' expected scores.
    pub difference_variance: f64,
    /// The mean over questions of the variance of one answer of the first model and of the second, given the question;
    /// 0 where probabilities are read instead of sampled answers.
    pub answer_variances: (f64, f64),
    /// How many answers a question each model gives.
    pub answers: (usize, usize),
}

impl PairedDesign {
    /// The questions needed to find a difference `effect` with `power`: (z_{α/2} + z_β)² (ω² + σ_A²/K_A + σ_B²/K_B)/δ²,
    /// rounded up. `None` where the effect is 0 or a model gives no answers.
    pub fn questions(&self, effect: f64, alpha: f64, power: f64) -> Option<usize> {
        if effect == 0.0 || self.answers.0 == 0 || self.answers.1 == 0 {
            return None;
        }
        let z = inverse_normal(1.0 - alpha / 2.0) + inverse_normal(power);
        let answers = self.answer_variances.0 / self.answers.0 as f64 + self.answer_variances.1 / self.answers.1 as f64;
        let needed = z * z * (self.difference_variance + answers) / (effect * effect);
        needed.is_finite().then(|| needed.ceil() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalence_needs_the_whole_interval() {
        let interval = |low, high| Interval { low, high, level: equivalence_level(0.05) };
        assert_eq!(equivalence(&interval(-0.01, 0.02), 0.03), Equivalence::Equivalent);
        assert_eq!(equivalence(&interval(-0.01, 0.04), 0.03), Equivalence::Open);
        assert_eq!(equivalence(&interval(0.035, 0.04), 0.03), Equivalence::Different);
        assert_eq!(equivalence(&interval(-0.2, -0.1), 0.03), Equivalence::Different);
        assert_eq!(equivalence(&interval(0.0, 0.0), 0.0), Equivalence::Open, "no margin, no claim");
    }

    #[test]
    fn sample_size_meets_millers_example() {
        // Miller 2024, section 5: δ = 0.03, ω² = 1/9, no answer variance, α = 0.05, 80 % power: 969 questions.
        let design = PairedDesign { difference_variance: 1.0 / 9.0, answer_variances: (0.0, 0.0), answers: (1, 1) };
        assert_eq!(design.questions(0.03, 0.05, 0.8), Some(969));
        assert_eq!(design.questions(0.0, 0.05, 0.8), None);
        // Halving the answer variance by asking twice.
        let noisy = |answers| PairedDesign { answer_variances: (1.0 / 6.0, 1.0 / 6.0), answers, ..design };
        assert_eq!(noisy((1, 1)).questions(0.03, 0.05, 0.8), Some(3876));
        assert!(noisy((2, 2)).questions(0.03, 0.05, 0.8) < noisy((1, 1)).questions(0.03, 0.05, 0.8));
    }

    #[test]
    fn so_many_items_have_the_stated_power() {
        // One-sided: power Φ(δ/SE − z_{1−α}) with SE shrinking as 1/√n.
        let needed = items_to_decide(-0.01, 0.02, 500, 0.05, 0.8).expect("an error");
        let error = 0.02 * (500.0 / needed as f64).sqrt();
        let reached = super::super::interval::normal(0.01 / error - inverse_normal(0.95));
        assert!((0.8..0.8005).contains(&reached), "{needed}: {reached}");
        assert_eq!(items_to_decide(0.0, 0.02, 500, 0.05, 0.8), None);
        assert_eq!(items_to_decide(0.1, 0.0, 500, 0.05, 0.8), None);
    }

    #[test]
    fn the_minimum_detectable_effect_has_the_stated_power() {
        let effect = minimum_detectable_effect(0.01, 0.05, 0.8);
        // (1.959964 + 0.841621)/100.
        assert!((effect - 0.02801585).abs() < 1e-7, "{effect}");
        assert!((power_of(effect, 0.01, 0.05) - 0.8).abs() < 1e-5);
        assert!((power_of(0.0, 0.01, 0.05) - 0.05).abs() < 1e-9);
    }
}
