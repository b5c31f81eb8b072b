//! Continuing a text, greedily or by sampling. Every new token is one pass over all before it.

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::decoder::Readout;
use super::error::ModelError;
use super::hook::NoHooks;
use super::language_model::LanguageModel;

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// The most likely token.
    Greedy,
    /// A draw at a temperature, from the `top_k` most likely and the `top_p` share of the probability where given.
    Sample {
        /// Logits are divided by it.
        temperature: f64,
        /// At most so many candidates.
        top_k: Option<usize>,
        /// The most likely candidates that together have this probability.
        top_p: Option<f64>,
        /// The seed of the draws.
        seed: u64,
    },
}

impl Choice {
    fn processor(&self) -> LogitsProcessor {
        let Choice::Sample { temperature, top_k, top_p, seed } = *self else {
            return LogitsProcessor::from_sampling(0, Sampling::ArgMax);
        };
        let sampling = match (top_k, top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        LogitsProcessor::from_sampling(seed, sampling)
    }
}

/// When a continuation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At the model's end-of-text token (which is not returned), or at the limit.
    AtEnd,
    /// At the limit alone.
    AtLimit,
}

/// Up to `limit` tokens that continue `prompt`; fewer where the model's longest sequence is reached.
pub fn generate(
    model: &LanguageModel,
    prompt: &[u32],
    limit: usize,
    choice: &Choice,
    stop: Stop,
) -> Result<Vec<u32>, ModelError> {
    let mut processor = choice.processor();
    let mut ids = prompt.to_vec();
    let architecture = model.architecture();
    while ids.len() - prompt.len() < limit && ids.len() < architecture.max_positions {
        let last = ids.len().saturating_sub(1);
        let ids_bt = Tensor::from_slice(&ids, (1, ids.len()), model.device())?;
        let logits = model.forward(&ids_bt, Readout::Rows(&[(0, last)]), &mut NoHooks)?;
        let token = processor.sample(&logits.squeeze(0)?)?;
        if stop == Stop::AtEnd && architecture.eos.contains(&token) {
            break;
        }
        ids.push(token);
    }
    Ok(ids.split_off(prompt.len()))
}
