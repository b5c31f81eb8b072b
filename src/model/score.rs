//! Log-likelihoods of continuations: the base of metrics, effects and training.
//!
//! A continuation's log-likelihood is Σ ln p(token | everything before it), in nats. The split of a text into context
//! and continuation tokens is that of lm-evaluation-harness (`lm_eval/api/model.py`): trailing whitespace of the
//! context moves to the continuation, the whole is encoded once, and the continuation is what follows the context's
//! number of tokens. Under a chat frame the context is a user's turn up to where the answer begins, and the answer loses
//! the whitespace before it (that of the harness's delimiter, which it leaves out there as well).

use std::collections::BTreeMap;
use std::ops::Range;

use super::bank::AdapterBank;
use super::decoder::Readout;
use super::error::ModelError;
use super::hook::NoHooks;
use super::language_model::LanguageModel;
use super::targets::{Reads, Row, batch};
use super::text::{Special, TextTokenizer};
use crate::base::Progress;
use crate::ops;
use crate::scenario::Prompt;

/// Tokens to condition on and tokens to score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreRequest {
    /// At least one token.
    pub context: Vec<u32>,
    /// At least one token.
    pub continuation: Vec<u32>,
}

/// The answer to a [`ScoreRequest`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Σ ln p over the continuation, nats.
    pub loglikelihood: f64,
    /// Whether each of its tokens is the most likely one (the first of equals).
    pub is_greedy: bool,
    /// Tokens of the continuation.
    pub num_tokens: usize,
}

/// Splits a prompt and an answer into the tokens of a request; the prompt is a user's turn where the tokenizer has a
/// chat frame.
pub fn split_tokens(tokenizer: &TextTokenizer, context: &str, continuation: &str) -> Result<ScoreRequest, ModelError> {
    match tokenizer.chat_frame().filter(|_| !context.is_empty()) {
        None => split_text(tokenizer, context, continuation),
        Some(frame) => split_turn(tokenizer, &frame.wrap(tokenizer, context)?.0, continuation.trim_start()),
    }
}

/// Splits a running text, which no chat frame is put around.
pub fn split_text(tokenizer: &TextTokenizer, context: &str, continuation: &str) -> Result<ScoreRequest, ModelError> {
    if context.is_empty() {
        return split_without_context(tokenizer, continuation);
    }
    let kept = context.trim_end();
    let moved = context.get(kept.len()..).unwrap_or_default();
    let whole = tokenizer.encode(&format!("{kept}{moved}{continuation}"), Special::Default)?.ids;
    let context = tokenizer.encode(kept, Special::Default)?.ids;
    let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
    if context.is_empty() || continuation.is_empty() {
        return Err(ModelError::Request("context and continuation must have at least one token each".into()));
    }
    Ok(ScoreRequest { context, continuation })
}

/// The split between a user's turn and the answer. The turn's end belongs to the context, its line breaks too, as they
/// do when the model answers; where the answer would change the tokens of that end, the rule for texts holds.
fn split_turn(tokenizer: &TextTokenizer, turn: &str, answer: &str) -> Result<ScoreRequest, ModelError> {
    let encode = |text: &str| Ok::<_, ModelError>(tokenizer.encode(text, Special::None)?.ids);
    let whole = encode(&format!("{turn}{answer}"))?;
    let mut context = encode(turn)?;
    if !whole.starts_with(&context) {
        context = encode(turn.trim_end())?;
    }
    let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
    if context.is_empty() || continuation.is_empty() {
        return Err(ModelError::Request("context and continuation must have at least one token each".into()));
    }
    Ok(ScoreRequest { context, continuation })
}

fn split_without_context(tokenizer: &TextTokenizer, continuation: &str) -> Result<ScoreRequest, ModelError> {
    let prefix = tokenizer.bos().or(tokenizer.eos()).ok_or_else(|| {
        ModelError::Request("the context is empty and the tokenizer has no BOS or EOS token; give a context".into())
    })?;
    let mut continuation = tokenizer.encode(continuation, Special::None)?.ids;
    if continuation.first() == Some(&prefix) {
        continuation.remove(0);
    }
    if continuation.is_empty() {
        return Err(ModelError::Request("the continuation has no token".into()));
    }
    Ok(ScoreRequest { context: vec![prefix], continuation })
}

/// A prompt in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedPrompt {
    /// The prompt's tokens.
    pub ids: Vec<u32>,
    /// The tokens of each answer.
    pub answers: Vec<Vec<u32>>,
    /// The tokens of each slot; an empty range where a slot has no text of its own.
    pub slots: Vec<(String, Range<usize>)>,
}

/// Tokenizes a prompt, its answers split off as [`split_tokens`] does it, and finds the tokens of its slots.
pub fn tokenize_prompt(tokenizer: &TextTokenizer, prompt: &Prompt) -> Result<TokenizedPrompt, ModelError> {
    let requests = prompt.answers.iter().map(|answer| split_tokens(tokenizer, &prompt.text, answer));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let encoded = tokenizer.encode_prompt(prompt.text.trim_end())?;
    let ids = requests.first().map_or_else(|| encoded.ids.clone(), |request| request.context.clone());
    if requests.iter().any(|request| request.context != ids) {
        let message = "the answers change the tokens at the end of the prompt, each in its own way; give answers that begin alike";
        return Err(ModelError::Request(message.into()));
    }
    let slot =
        |slot: &crate::scenario::Slot| (slot.name.clone(), TextTokenizer::token_range(&encoded, slot.start, slot.end));
    let slots = prompt.slots.iter().map(slot).collect();
    let answers = requests.into_iter().map(|request| request.continuation).collect();
    Ok(TokenizedPrompt { ids, answers, slots })
}

/// The part of a request that is run: the last `limit` tokens before its final one.
fn windowed(request: &ScoreRequest, limit: usize) -> Result<Row, ModelError> {
    let ScoreRequest { context, continuation } = request;
    if context.is_empty() || continuation.is_empty() {
        return Err(ModelError::Request("context and continuation must have at least one token each".into()));
    }
    if continuation.len() > limit {
        let message = format!("a continuation of {} tokens; this model takes at most {limit}", continuation.len());
        return Err(ModelError::Request(message));
    }
    let whole: Vec<u32> = context.iter().chain(continuation).copied().collect();
    let start = whole.len().saturating_sub(limit + 1);
    let ids: Vec<u32> = whole.get(start..whole.len() - 1).unwrap_or_default().to_vec();
    let first = ids.len() - continuation.len();
    let targets = continuation.iter().enumerate().map(|(offset, token)| (first + offset, *token)).collect();
    Ok(Row { ids, targets })
}

/// Scores requests in batches of at most `batch_tokens` tokens (padding included), the longest first, answered in the
/// order asked. Requests that run the same tokens share one row. One pass over each distinct row.
pub fn score(
    model: &LanguageModel,
    requests: &[ScoreRequest],
    batch_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Score>, ModelError> {
    let choices = requests.iter().map(|request| (None, request));
    score_rows(model, choices, batch_tokens, progress, &|_| Ok(model.clone()))
}

/// Scores requests as [`score`] does, each with the adapter of the bank that it names or with the base alone. Requests
/// with different adapters share batches.
pub fn score_with_adapters(
    bank: &AdapterBank,
    requests: &[(Option<&str>, ScoreRequest)],
    batch_tokens: usize,
    progress: &dyn Progress,
) -> Result<Vec<Score>, ModelError> {
    let choices = requests.iter().map(|(adapter, request)| (*adapter, request));
    score_rows(bank.base(), choices, batch_tokens, progress, &|chosen| bank.rows(chosen))
}

/// Makes the model whose rows go through these adapters.
type Choose<'a> = &'a dyn Fn(&[Option<&str>]) -> Result<LanguageModel, ModelError>;

/// Scores requests by the model that `choose` makes for the adapters of a batch's rows.
fn score_rows<'a>(
    base: &LanguageModel,
    requests: impl ExactSizeIterator<Item = (Option<&'a str>, &'a ScoreRequest)>,
    batch_tokens: usize,
    progress: &dyn Progress,
    choose: Choose<'_>,
) -> Result<Vec<Score>, ModelError> {
    let architecture = base.architecture();
    let count = requests.len();
    let mut shared: BTreeMap<_, Vec<Asked>> = BTreeMap::new();
    for (request, (adapter, asked)) in requests.enumerate() {
        let Row { ids, targets } = windowed(asked, architecture.max_positions)?;
        shared.entry((ids, adapter)).or_default().push(Asked { request, targets });
    }
    let row = |((ids, adapter), asked)| SharedRow { ids, adapter, asked };
    let mut rows: Vec<_> = shared.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.ids.len()));
    let empty = Score { loglikelihood: 0.0, is_greedy: true, num_tokens: 0 };
    let mut scores = vec![empty; count];
    progress.start("score", count as u64);
    let mut rest = rows.as_slice();
    while let Some(SharedRow { ids: longest, .. }) = rest.first() {
        if progress.cancelled() {
            return Err(ModelError::Interrupted);
        }
        let class = architecture.length_class(longest.len());
        let alike = rest.iter().take_while(|row| architecture.length_class(row.ids.len()) == class).count();
        let size = (batch_tokens / longest.len().max(1)).clamp(1, alike);
        let (now, later) = rest.split_at(size);
        let chosen: Vec<_> = now.iter().map(|row| row.adapter).collect();
        score_batch(&choose(&chosen)?, now, &mut scores)?;
        progress.advance(now.iter().map(|row| row.asked.len() as u64).sum());
        rest = later;
    }
    progress.finish();
    Ok(scores)
}

/// What one request wants of the row that it shares.
struct Asked {
    /// The request's number.
    request: usize,
    targets: Vec<(usize, u32)>,
}

/// Tokens that run once for every request that wants something of them.
struct SharedRow<'a> {
    ids: Vec<u32>,
    adapter: Option<&'a str>,
    asked: Vec<Asked>,
}

fn score_batch(model: &LanguageModel, rows: &[SharedRow<'_>], scores: &mut [Score]) -> Result<(), ModelError> {
    let ids: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
    let mut reads = Reads::default();
    let (mut picks, mut owners) = (Vec::new(), Vec::new());
    for (row, SharedRow { asked, .. }) in rows.iter().enumerate() {
        for Asked { request, targets } in asked {
            picks.extend(targets.iter().map(|&(position, token)| (reads.at(row, position), token)));
            owners.extend(std::iter::repeat_n(*request, targets.len()));
        }
    }
    let logits = model.forward(&batch(model, &ids)?, Readout::Rows(&reads.positions), &mut NoHooks)?;
    let logprobs = ops::logprobs_at(&logits.detach(), &picks)?.to_vec1::<f32>()?;
    let greedy = ops::argmax_rows(&logits)?;
    for (((at, token), logprob), request) in picks.into_iter().zip(logprobs).zip(owners) {
        if let Some(score) = scores.get_mut(request) {
            score.loglikelihood += f64::from(logprob);
            score.is_greedy &= greedy.get(at) == Some(&token);
            score.num_tokens += 1;
        }
    }
    Ok(())
}
