//! Log-likelihoods of continuations: the base of metrics, effects and training.
//!
//! A continuation's log-likelihood is Σ ln p(token | everything before it), in nats. How texts are split into tokens
//! stands in [`split_text`]; requests longer than the model's positions lose tokens at their start.
//!
//! All requests of a call are one trie over their tokens: what they begin with in common is run once, whichever of them
//! share it (the options of a question, documents behind the same examples, both sides of a pair). The trie is walked
//! depth first and cut into passes of about one size; a pass holds whole branches one behind the other, and the keys and
//! values of the path that it goes on from, which stand on a stack. So every node is run once, nothing is padded, and what
//! is stored is never more than one text. The last token of a request is predicted and not run; the output head meets
//! the positions that are read, each once, tile by tile of the vocabulary. Cost: one pass over the tokens of the trie.

pub(in crate::model) mod passes;
mod split;
mod trie;
mod work;

use super::bank::AdapterBank;
use super::error::ModelError;
use super::language_model::LanguageModel;
use crate::base::Progress;
pub use split::{TokenizedPrompt, split_pairs, split_text, split_tokens, tokenize_prompt};
pub use work::ScoreWork;

/// Tokens to condition on and tokens to score.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScoreRequest {
    /// At least one token.
    pub context: Vec<u32>,
    /// At least one token.
    pub continuation: Vec<u32>,
}

/// The answer to a [`ScoreRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Σ ln p over the continuation, nats.
    pub loglikelihood: f64,
    /// Whether each of its tokens is the most likely one (the first of equals).
    pub is_greedy: bool,
    /// Tokens of the continuation.
    pub num_tokens: usize,
    /// ln p of each token of the continuation, nats.
    pub logprobs: Vec<f32>,
}

impl Score {
    /// Of the log-probabilities of a continuation's tokens.
    pub fn of(logprobs: Vec<f32>, is_greedy: bool) -> Self {
        let loglikelihood = logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
        Self { loglikelihood, is_greedy, num_tokens: logprobs.len(), logprobs }
    }
}

/// Scores requests in passes of at most `batch_tokens` tokens, answered in the order asked. Every token of the requests'
/// trie runs once.
pub fn score(
    model: &LanguageModel,
    requests: &[ScoreRequest],
    batch_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Score>, ModelError> {
    let asked: Vec<_> = requests.iter().map(|request| (None, request)).collect();
    ScoreWork::new(model, &asked, batch_tokens)?.scores(&|_| Ok(model.clone()), progress)
}

/// Scores requests as [`score`] does, each with the adapter of the bank that it names or with the base alone. A pass is of
/// one adapter: under another one the same tokens have other keys and values.
pub fn score_with_adapters(
    bank: &AdapterBank,
    requests: &[(Option<&str>, ScoreRequest)],
    batch_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Score>, ModelError> {
    let asked: Vec<_> = requests.iter().map(|(adapter, request)| (*adapter, request)).collect();
    ScoreWork::new(bank.base(), &asked, batch_tokens)?.scores(&|adapter| bank.alone(adapter), progress)
}
