//! Log-likelihoods of continuations: the base of metrics, effects and training.
//!
//! A continuation's log-likelihood is Σ ln p(token | everything before it), in nats. The split of a text into context
//! and continuation tokens is that of lm-evaluation-harness (`lm_eval/api/model.py`): trailing whitespace of the
//! context moves to the continuation, the whole is encoded once, and the continuation is what follows the context's
//! number of tokens.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use super::decoder::Readout;
use super::error::ModelError;
use super::hook::{Hooks, NoHooks};
use super::language_model::LanguageModel;
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

/// Splits texts into the tokens of a request.
pub fn split_tokens(tokenizer: &TextTokenizer, context: &str, continuation: &str) -> Result<ScoreRequest, ModelError> {
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

/// One row to run: its tokens, and which tokens are predicted where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The tokens that are run.
    pub ids: Vec<u32>,
    /// (position whose logits predict, predicted token).
    pub targets: Vec<(usize, u32)>,
}

/// A batch of token ids, padded at the right with token 0.
fn batch(model: &LanguageModel, rows: &[&[u32]]) -> Result<Tensor, ModelError> {
    let tokens = rows.iter().map(|ids| ids.len()).max().unwrap_or(0);
    let vocab = model.architecture().vocab_size;
    let mut ids = vec![0u32; rows.len() * tokens];
    for (row, padded) in rows.iter().zip(ids.chunks_mut(tokens.max(1))) {
        if let Some(id) = row.iter().find(|id| **id as usize >= vocab) {
            return Err(ModelError::Request(format!("token {id} is not in the vocabulary of {vocab}")));
        }
        if row.is_empty() {
            return Err(ModelError::Request("a row without tokens".into()));
        }
        padded.iter_mut().zip(*row).for_each(|(slot, id)| *slot = *id);
    }
    Ok(Tensor::from_vec(ids, (rows.len(), tokens), model.device())?)
}

/// Positions to read out, each once, however many tokens are wanted there.
#[derive(Default)]
struct Reads {
    positions: Vec<(usize, usize)>,
    index: BTreeMap<(usize, usize), usize>,
}

impl Reads {
    /// The number under which (row, position) is read out.
    fn at(&mut self, row: usize, position: usize) -> usize {
        *self.index.entry((row, position)).or_insert_with(|| {
            self.positions.push((row, position));
            self.positions.len() - 1
        })
    }
}

/// Runs the rows as one batch and returns ln p of every target, rows in order and targets in order within a row:
/// `[total targets]`, f32. Differentiable where anything is tracked. Hooks see row i of `rows` as row i of the batch.
pub fn target_logprobs(model: &LanguageModel, rows: &[Row], hooks: &mut dyn Hooks) -> Result<Tensor, ModelError> {
    let ids: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
    let mut reads = Reads::default();
    let mut picks = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for &(position, token) in &row.targets {
            if position >= row.ids.len() {
                let message = format!("target position {position} in a row of {} tokens", row.ids.len());
                return Err(ModelError::Request(message));
            }
            picks.push((reads.at(number, position), token));
        }
    }
    let logits = model.forward(&batch(model, &ids)?, Readout::Rows(&reads.positions), hooks)?;
    Ok(ops::logprobs_at(&logits, &picks)?)
}

/// One prompt and its answers, laid out as rows: one row with one target an answer where every answer is one token,
/// else one row an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRows {
    /// The rows to run.
    pub rows: Vec<Row>,
    answers: usize,
}

impl AnswerRows {
    /// The rows of a prompt's answers.
    pub fn new(prompt_ids: &[u32], answers: &[Vec<u32>]) -> Self {
        let last = prompt_ids.len().saturating_sub(1);
        if answers.iter().all(|answer| answer.len() == 1) {
            let targets = answers.iter().flatten().map(|token| (last, *token)).collect();
            return Self { rows: vec![Row { ids: prompt_ids.to_vec(), targets }], answers: answers.len() };
        }
        let row = |answer: &Vec<u32>| {
            let targets = answer.iter().enumerate().map(|(offset, token)| (last + offset, *token)).collect();
            let run = answer.iter().take(answer.len().saturating_sub(1));
            Row { ids: prompt_ids.iter().chain(run).copied().collect(), targets }
        };
        Self { rows: answers.iter().map(row).collect(), answers: answers.len() }
    }

    /// Number of answers.
    pub fn answers(&self) -> usize {
        self.answers
    }
}

/// Log-likelihoods of every prompt's answers, `[answers]` a prompt, all prompts run as one batch. Differentiable where
/// anything is tracked. Hooks see the prompts' rows one prompt after another.
pub fn answer_loglikelihoods(
    model: &LanguageModel,
    prompts: &[AnswerRows],
    hooks: &mut dyn Hooks,
) -> Result<Vec<Tensor>, ModelError> {
    let rows: Vec<Row> = prompts.iter().flat_map(|prompt| prompt.rows.iter().cloned()).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let logprobs = target_logprobs(model, &rows, hooks)?;
    let mut start = 0;
    let mut results = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let mut take = |targets: usize| {
            let part = logprobs.narrow(0, start, targets);
            start += targets;
            part
        };
        results.push(match prompt.rows.as_slice() {
            [row] if row.targets.len() == prompt.answers => take(prompt.answers)?,
            rows => {
                let sums = rows.iter().map(|row| take(row.targets.len())?.sum_all());
                Tensor::stack(&sums.collect::<candle_core::Result<Vec<_>>>()?, 0)?
            }
        });
    }
    Ok(results)
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
    let encoded = tokenizer.encode(prompt.text.trim_end(), Special::Default)?;
    let slot =
        |slot: &crate::scenario::Slot| (slot.name.clone(), TextTokenizer::token_range(&encoded, slot.start, slot.end));
    let slots = prompt.slots.iter().map(slot).collect();
    let answers = requests.into_iter().map(|request| request.continuation).collect();
    Ok(TokenizedPrompt { ids: encoded.ids, answers, slots })
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
    let limit = model.architecture().max_positions;
    let mut shared: BTreeMap<Vec<u32>, Vec<Asked>> = BTreeMap::new();
    for (request, asked) in requests.iter().enumerate() {
        let Row { ids, targets } = windowed(asked, limit)?;
        shared.entry(ids).or_default().push(Asked { request, targets });
    }
    let mut rows: Vec<_> = shared.into_iter().collect();
    rows.sort_by_key(|(ids, _)| std::cmp::Reverse(ids.len()));
    let empty = Score { loglikelihood: 0.0, is_greedy: true, num_tokens: 0 };
    let mut scores = vec![empty; requests.len()];
    progress.start("score", requests.len() as u64);
    let mut rest = rows.as_slice();
    while let Some((longest, _)) = rest.first() {
        if progress.cancelled() {
            return Err(ModelError::Interrupted);
        }
        let size = (batch_tokens / longest.len().max(1)).clamp(1, rest.len());
        let (now, later) = rest.split_at(size);
        score_batch(model, now, &mut scores)?;
        progress.advance(now.iter().map(|(_, asked)| asked.len() as u64).sum());
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

fn score_batch(model: &LanguageModel, rows: &[(Vec<u32>, Vec<Asked>)], scores: &mut [Score]) -> Result<(), ModelError> {
    let ids: Vec<&[u32]> = rows.iter().map(|(ids, _)| ids.as_slice()).collect();
    let mut reads = Reads::default();
    let (mut picks, mut owners) = (Vec::new(), Vec::new());
    for (row, (_, asked)) in rows.iter().enumerate() {
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
