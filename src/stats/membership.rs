//! Readings of likelihoods that membership and memorisation are told by: Min-K %, Min-K %++, exposure, LiRA (the
//! bytes of a text under zlib are [`crate::base::zlib_length`]). Numbers in, numbers out; what they mean for privacy is said where they are used.

/// Min-K %: the mean of the lowest ⌊T·`share`⌋ of T ln p (Shi et al. 2024; mink-plus-plus' `run.py`, higher means a member).
/// `None` where that is no token: other code takes one token then, or divides by 0.
pub fn min_k(logprobs: &[f64], share: f64) -> Option<f64> {
    let mut sorted = logprobs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let taken = (logprobs.len() as f64 * share) as usize;
    let sum: f64 = sorted.iter().take(taken).sum();
    (taken > 0 && taken <= sorted.len()).then(|| sum / taken as f64)
}

/// A token's part in Min-K %++: (ln p_t − μ)/σ with μ = Σ p ln p and σ² = Σ p (ln p)² − μ² over the vocabulary (Zhang et al.
/// 2024). The mean of the lowest is [`min_k`] of these. `None` where σ² is not positive or `token` is outside.
pub fn min_k_plus_plus_token(logits: &[f64], token: usize) -> Option<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let normaliser = largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
    let logprobs = logits.iter().map(|logit| logit - normaliser);
    let (mu, square) = logprobs.fold((0.0, 0.0), |(mu, square), lp| (mu + lp.exp() * lp, square + lp.exp() * lp * lp));
    let variance = square - mu * mu;
    (variance > 0.0).then_some((logits.get(token)? - normaliser - mu) / variance.sqrt())
}

/// Exposure log₂|R| − log₂ rank of each secret among references, rank = references at or below it + 1 (Carlini et al. 2019;
/// TensorFlow Privacy's `exposures.py`, perplexities: small means remembered). Negative where every reference is below.
/// `None` without references.
pub fn exposure(references: &[f64], secret: f64) -> Option<f64> {
    let before = references.iter().filter(|reference| **reference <= secret).count();
    (!references.is_empty()).then(|| (references.len() as f64).log2() - ((before + 1) as f64).log2())
}

/// LiRA's score of one example: ln N(x; out) − ln N(x; in), each normal with the **median** of its values and their
/// population standard deviation + 10⁻³⁰ (Carlini et al. 2022; TensorFlow Privacy's `advanced_mia.py`; lower means a
/// member). Offline, without `inside`: ln N(x; out) alone. `None` where a side that is given is empty.
pub fn lira(target: f64, inside: Option<&[f64]>, outside: &[f64]) -> Option<f64> {
    let out = log_normal(target, outside)?;
    match inside {
        None => Some(out),
        Some(inside) => Some(out - log_normal(target, inside)?),
    }
}

fn log_normal(x: f64, values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let median = if sorted.len() % 2 == 1 { upper } else { (upper + sorted.get(middle - 1)?) / 2.0 };
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt() + 1e-30;
    let z = (x - median) / sd;
    Some(-0.5 * z * z - sd.ln() - 0.5 * std::f64::consts::TAU.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    // All golden values: the shared reference, section 2.12.
    #[test]
    fn min_k_meets_its_golden_values() {
        let lp = [-0.1, -2.0, -0.5, -4.0, -1.2, -0.05, -3.1, -0.7, -0.9, -1.8];
        assert_eq!(min_k(&lp, 0.1), Some(-4.0));
        assert!((min_k(&lp, 0.2).expect("two tokens") + 3.55).abs() < 1e-15);
        assert_eq!(min_k(&lp, 0.05), None);
        let tokens: [(&[f64], usize, f64); 3] = [
            (&[2.0, 1.0, 0.0, -1.0], 1, -0.62739922),
            (&[0.0, 0.0, 0.0, 0.1], 3, 1.64757769),
            (&[3.0, -1.0, 0.5, 0.2], 0, 0.39536186),
        ];
        for (logits, token, golden) in tokens {
            let found = min_k_plus_plus_token(logits, token).expect("spread");
            assert!((found - golden).abs() < 5e-9, "{found} {golden}");
        }
        assert_eq!(min_k_plus_plus_token(&[1.0, 1.0], 2), None);
    }

    #[test]
    fn exposure_and_lira_meet_tensorflow_privacy() {
        let references: Vec<f64> = (1..=8).map(|i| 10.0 * f64::from(i)).collect();
        let golden = [(15.0, 2.0), (45.0, 0.6780719051126378), (5.0, 3.0), (10.0, 2.0), (90.0, -0.16992500144231215)];
        for (secret, wanted) in golden {
            let found = exposure(&references, secret).expect("references");
            assert!((found - wanted).abs() < 1e-15, "{secret}: {found}");
        }
        let (inside, outside) = ([[2.0, 2.5, 3.1], [1.0, 1.4, 0.9]], [[0.5, 0.1, 0.9], [0.8, 0.2, 1.1]]);
        let golden = [(2.4, -16.57732048, -16.72179025), (0.7, 0.37926528, 0.02840361)];
        for (((target, both, out), inside), outside) in golden.into_iter().zip(&inside).zip(&outside) {
            assert!((lira(target, Some(inside), outside).expect("both") - both).abs() < 5e-9);
            assert!((lira(target, None, outside).expect("out") - out).abs() < 5e-9);
        }
        assert_eq!(lira(0.0, Some(&[]), &[1.0]), None);
    }
}
