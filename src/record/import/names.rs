//! What metrics of other harnesses mean, where their logs do not say it.

use super::ImportOptions;
use crate::stats::{Direction, Objective};

/// What is said of a metric.
pub(super) struct Meaning {
    pub(super) objective: Objective,
    pub(super) direction: Direction,
}

/// Smaller is better: likelihoods on the scale of perplexities, errors, distances.
const LOWER: [&str; 10] = [
    "perplexity",
    "word_perplexity",
    "byte_perplexity",
    "bits_per_byte",
    "brier_score",
    "likelihood_diff",
    "ter",
    "wer",
    "cer",
    "ece",
];

/// Larger is better: shares of right answers, overlaps with a reference.
const HIGHER: [&str; 14] = [
    "acc",
    "acc_norm",
    "acc_bytes",
    "acc_mutual_info",
    "exact_match",
    "em",
    "f1",
    "mcc",
    "bleu",
    "chrf",
    "accuracy",
    "match",
    "includes",
    "pass",
];

/// Begins of names that speak of something else than right answers. `pct_stereotype` and bias scores have a best value
/// in the middle, so no better side.
const OBJECTIVES: [(&str, Objective); 8] = [
    ("likelihood_diff", Objective::Fairness),
    ("pct_stereotype", Objective::Fairness),
    ("amb_bias", Objective::Fairness),
    ("disamb_bias", Objective::Fairness),
    ("brier_score", Objective::Calibration),
    ("ece", Objective::Calibration),
    ("consistency", Objective::Robustness),
    ("counterfactual", Objective::Fairness),
];

/// What is known of a metric: what the caller says, then the log, then the tables.
pub(super) fn meaning(metric: &str, plain: &str, logged: Option<Direction>, options: &ImportOptions) -> Meaning {
    let base = plain.split([',', '@']).next().unwrap_or(plain);
    let asked = [metric, plain, base];
    let direction = asked.iter().find_map(|name| options.directions.get(*name)).copied();
    let objective = asked.iter().find_map(|name| options.objectives.get(*name)).copied();
    let listed = || match base {
        base if LOWER.contains(&base) => Direction::Lower,
        base if HIGHER.contains(&base) => Direction::Higher,
        _ => Direction::Descriptive,
    };
    let begins = || OBJECTIVES.iter().find(|(name, _)| base.starts_with(name)).map(|(_, objective)| *objective);
    Meaning {
        objective: objective.or_else(begins).unwrap_or(Objective::Accuracy),
        direction: direction.or(logged).unwrap_or_else(listed),
    }
}
