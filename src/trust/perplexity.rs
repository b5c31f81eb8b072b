//! Likelihood of held-out text: exp(−Σ log p / Σ tokens), each text scored once from its start.
//!
//! Texts longer than the model's positions go through lm-eval's rolling windows: the first window is the prefix token
//! (BOS) and the first tokens, later windows advance by a whole window, the last is pulled back so that it is full, and
//! every token is scored exactly once. The value depends on the tokenizer: compare it between checkpoints of one base.

use super::error::TrustError;
use super::metric::{Evidence, Metric, Sample};
use super::select::Populations;
use crate::model::ScoreRequest;
use crate::stats::{Direction, Objective, Statistic};

pub(super) const PERPLEXITY: Metric = Metric {
    id: "accuracy.perplexity",
    version: 1,
    objective: Objective::Accuracy,
    unit: "perplexity a token",
    direction: Direction::Lower,
    definition: "exp of the mean negative log-likelihood a token of held-out texts, over all their tokens.",
    source: "lm-eval loglikelihood_rolling, with tokens in place of words",
    collect: |evidence: &Evidence<'_>| -> Result<Vec<Sample>, TrustError> {
        let mut populations = Populations::default();
        for text in &evidence.texts {
            let value = (-text.loglikelihood, None, Some(text.tokens as f64));
            populations.add(text.population.clone(), &text.id, &text.cluster, value);
        }
        Ok(populations.samples(&Statistic::ExpRatio))
    },
};

/// The requests whose log-likelihoods add up to that of a text: `prefix` stands before its first token, and no request
/// is longer than `max_length` + 1 tokens, of which the last is never fed to the model.
pub fn rolling_requests(prefix: u32, tokens: &[u32], max_length: usize) -> Vec<ScoreRequest> {
    let mut requests = Vec::new();
    let mut scored = 0;
    while scored < tokens.len() && max_length > 0 {
        let end = tokens.len().min(scored + max_length);
        let continuation = tokens.get(scored..end).unwrap_or_default().to_vec();
        let context = match scored {
            0 => vec![prefix],
            // The window is full: it reaches back over tokens that an earlier one has scored.
            _ => tokens.get(end.saturating_sub(max_length + 1)..scored).unwrap_or_default().to_vec(),
        };
        requests.push(ScoreRequest { context, continuation });
        scored = end;
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(tokens: &[u32], max_length: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
        rolling_requests(99, tokens, max_length).into_iter().map(|r| (r.context, r.continuation)).collect()
    }

    #[test]
    fn windows_are_those_of_lm_eval() {
        // get_rolling_token_windows([1, …, 10], 99, 4, 1) and make_disjoint_window of lm-eval utils.py, stepped by hand.
        let tokens: Vec<u32> = (1..=10).collect();
        assert_eq!(
            windows(&tokens, 4),
            [(vec![99], vec![1, 2, 3, 4]), (vec![4], vec![5, 6, 7, 8]), (vec![6, 7, 8], vec![9, 10]),]
        );
        assert_eq!(windows(&tokens, 10), [(vec![99], tokens.clone())]);
        assert_eq!(windows(&[], 4), []);
    }

    #[test]
    fn every_token_is_scored_once_and_every_window_fits() {
        for length in 0..40u32 {
            let tokens: Vec<u32> = (0..length).collect();
            for max_length in 1..12 {
                let windows = windows(&tokens, max_length);
                let scored: Vec<u32> = windows.iter().flat_map(|(_, continuation)| continuation.clone()).collect();
                assert_eq!(scored, tokens);
                for (context, continuation) in windows {
                    assert!(!context.is_empty() && context.len() + continuation.len() <= max_length + 1);
                }
            }
        }
    }
}
