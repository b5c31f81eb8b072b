//! BLEU of one sentence (Papineni et al. 2002) with the first smoothing of Chen and Cherry 2014, as NLTK computes it.

use std::collections::BTreeMap;

/// What a count of 0 becomes.
const EPSILON: f64 = 0.1;

/// The smaller of both directions, each text once the reference.
pub fn bleu_both_ways(first: &[String], second: &[String]) -> f64 {
    bleu(first, second).min(bleu(second, first))
}

/// exp(¼ Σ ln p_n) · brevity penalty over n-grams of one to four words, p_n clipped by the reference's counts; 0 where no word is shared.
pub fn bleu(reference: &[String], hypothesis: &[String]) -> f64 {
    let mut logs = 0.0;
    for n in 1..=4 {
        let (held, said) = (counts(reference, n), counts(hypothesis, n));
        let clipped: usize = said.iter().map(|(gram, count)| *count.min(held.get(gram).unwrap_or(&0))).sum();
        let total = said.values().sum::<usize>().max(1) as f64;
        if n == 1 && clipped == 0 {
            return 0.0;
        }
        let matched = if clipped == 0 { EPSILON } else { clipped as f64 };
        logs += 0.25 * (matched / total).ln();
    }
    let (r, c) = (reference.len() as f64, hypothesis.len() as f64);
    let penalty = if c > r { 1.0 } else { (1.0 - r / c).exp() };
    penalty * logs.exp()
}

fn counts(words: &[String], n: usize) -> BTreeMap<&[String], usize> {
    let mut counts = BTreeMap::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}
