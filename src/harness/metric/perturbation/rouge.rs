//! ROUGE-L (Lin 2004) as rouge_score computes it: runs of small ASCII letters and digits, stemmed where longer than three letters.

use super::stem::stem;

/// 2PR/(P + R) with P and R the longest common subsequence over the lengths of either text; 0 where they share nothing. Symmetric.
pub fn rouge_l(first: &str, second: &str) -> f64 {
    let (a, b) = (tokens(first), tokens(second));
    let common = longest_common(&a, &b) as f64;
    let (recall, precision) = (common / a.len().max(1) as f64, common / b.len().max(1) as f64);
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

fn tokens(text: &str) -> Vec<String> {
    let lowered = text.to_lowercase();
    let words = lowered.split(|c: char| !matches!(c, 'a'..='z' | '0'..='9')).filter(|word| !word.is_empty());
    words.map(|word| if word.len() > 3 { stem(word) } else { word.to_owned() }).collect()
}

fn longest_common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for left in a {
        let mut diagonal = 0;
        let mut before = 0;
        for (cell, right) in row.iter_mut().skip(1).zip(b) {
            let above = *cell;
            *cell = if left == right { diagonal + 1 } else { above.max(before) };
            (diagonal, before) = (above, *cell);
        }
    }
    row.last().copied().unwrap_or(0)
}
