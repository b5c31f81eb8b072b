//! Log-probabilities of chosen tokens at chosen positions of a batch: what training, mediation and scores rest on.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::decoder::Readout;
use super::error::ModelError;
use super::hook::Hooks;
use super::language_model::LanguageModel;
use crate::ops;

/// One row to run: its tokens, and which tokens are predicted where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The tokens that are run.
    pub ids: Vec<u32>,
    /// (position whose logits predict, predicted token).
    pub targets: Vec<(usize, u32)>,
}

/// A batch of token ids, padded at the right with token 0.
pub(super) fn batch(model: &LanguageModel, rows: &[&[u32]]) -> Result<Tensor, ModelError> {
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
pub(super) struct Reads {
    pub positions: Vec<(usize, usize)>,
    index: BTreeMap<(usize, usize), usize>,
}

impl Reads {
    /// The number under which (row, position) is read out.
    pub fn at(&mut self, row: usize, position: usize) -> usize {
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
    let class = |row: &Row| model.architecture().length_class(row.ids.len());
    if let Some([a, b]) = rows.windows(2).find(|pair| matches!(pair, [a, b] if class(a) != class(b))) {
        return Err(ModelError::Request(format!(
            "rows of {} and {} tokens in one batch: this model's rotary frequencies follow the length, so run them apart",
            a.ids.len(),
            b.ids.len()
        )));
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
