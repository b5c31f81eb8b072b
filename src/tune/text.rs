//! Rows with loss on a part of their tokens, and the language-model loss over whole texts.

use candle_core::Tensor;

use super::error::TuneError;
use crate::model::{LanguageModel, NoHooks, Row, target_logprobs};

/// A context and a continuation as one row: the positions whose logits predict the continuation's tokens. Its last
/// token is not fed, because nothing follows it.
pub fn continuation_row(context: &[u32], continuation: &[u32]) -> Row {
    let mut ids = context.to_vec();
    ids.extend(continuation.iter().take(continuation.len().saturating_sub(1)));
    let first = context.len().saturating_sub(1);
    Row { ids, targets: continuation.iter().enumerate().map(|(at, token)| (first + at, *token)).collect() }
}

/// A text as one row in which every token but the first is predicted.
pub fn text_row(ids: &[u32]) -> Row {
    match ids.split_first() {
        Some((first, rest)) => continuation_row(&[*first], rest),
        None => Row { ids: Vec::new(), targets: Vec::new() },
    }
}

/// How many of a text's tokens are predicted.
pub fn text_units(ids: &[u32]) -> usize {
    ids.len().saturating_sub(1)
}

/// Σ of next-token cross entropy over all texts, in nats.
pub fn text_loss(model: &LanguageModel, texts: &[&[u32]]) -> Result<Tensor, TuneError> {
    let rows: Vec<Row> = texts.iter().map(|ids| text_row(ids)).collect();
    Ok(target_logprobs(model, &rows, &mut NoHooks)?.sum_all()?.neg()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_predicted() {
        let row = text_row(&[9, 8, 7]);
        assert_eq!((row.ids, row.targets), (vec![9, 8], vec![(0, 8), (1, 7)]));
        assert_eq!((text_units(&[9]), text_units(&[])), (0, 0));
    }
}
