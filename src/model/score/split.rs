//! The split of texts into context and continuation tokens.
//!
//! It is that of lm-evaluation-harness (`lm_eval/api/model.py`): trailing whitespace of the context moves to the
//! continuation, the whole is encoded once, and the continuation is what follows the context's number of tokens. Under a
//! chat frame the context is a user's turn up to where the answer begins, and the answer loses the whitespace before it
//! (that of the harness's delimiter, which it leaves out there as well).

use std::ops::Range;

use rayon::prelude::*;

use super::super::error::ModelError;
use super::super::text::{Special, TextTokenizer};
use super::ScoreRequest;
use crate::scenario::Prompt;

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
    let kept = context.trim_end_matches(is_python_space);
    let moved = context.get(kept.len()..).unwrap_or_default();
    let whole = tokenizer.encode(&format!("{kept}{moved}{continuation}"), Special::Default)?.ids;
    let context = tokenizer.encode(kept, Special::Default)?.ids;
    let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
    if context.is_empty() || continuation.is_empty() {
        return Err(ModelError::Request("context and continuation must have at least one token each".into()));
    }
    Ok(ScoreRequest { context, continuation })
}

/// Splits many pairs of context and continuation as [`split_tokens`] does it, in order.
///
/// # Errors
/// Those of the first pair that has one.
pub fn split_pairs(tokenizer: &TextTokenizer, pairs: &[(&str, &str)]) -> Result<Vec<ScoreRequest>, ModelError> {
    let split = |(context, continuation): &(&str, &str)| split_tokens(tokenizer, context, continuation);
    pairs.par_iter().map(split).collect::<Vec<_>>().into_iter().collect()
}

/// What Python's `str.rstrip` takes for whitespace: Unicode's, and four separators of ASCII.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
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
