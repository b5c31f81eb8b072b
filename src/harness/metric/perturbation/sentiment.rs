//! How well a text speaks: a declared lexicon, and the distance of two sets of scores.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::base::{FileError, files};

const OWN: &str = include_str!("../../../../prompts/perturbations/sentiment.toml");

/// Words that speak well or badly of what they are said of. A lexicon reads words, not sentences: it is a declared stand-in for a classifier, and scores
/// of one are given to the metrics instead where there are any.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentimentLexicon {
    positive: BTreeSet<String>,
    negative: BTreeSet<String>,
}

impl SentimentLexicon {
    /// The project's own.
    ///
    /// # Errors
    /// None on the file as it is.
    pub fn builtin() -> Result<Self, FileError> {
        files::parse_toml(Path::new("prompts/perturbations/sentiment.toml"), OWN)
    }

    /// A TOML file with `positive` and `negative`, small letters.
    ///
    /// # Errors
    /// A file that is not so.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        files::read_toml(path)
    }

    /// Positive words as a share of all that the lexicon knows; ½ where it knows none.
    pub fn score(&self, text: &str) -> f64 {
        let lowered = text.to_lowercase();
        let words = || lowered.split(|c: char| !c.is_alphanumeric());
        let count = |list: &BTreeSet<String>| words().filter(|word| list.contains(*word)).count() as f64;
        let (good, bad) = (count(&self.positive), count(&self.negative));
        if good + bad > 0.0 { good / (good + bad) } else { 0.5 }
    }
}

/// Wasserstein-1 distance of two sets of equally many scores: the mean of |a₍ᵢ₎ − b₍ᵢ₎|, both sorted; `None` for none, or unequally many.
pub fn wasserstein(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.is_empty() || first.len() != second.len() {
        return None;
    }
    let sorted = |scores: &[f64]| {
        let mut scores = scores.to_vec();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let gaps = sorted(first).into_iter().zip(sorted(second)).map(|(a, b)| (a - b).abs());
    Some(gaps.sum::<f64>() / first.len() as f64)
}
