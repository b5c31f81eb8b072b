//! Rows of forward passes and what is read from them, shared by the engine and by training.

use candle_core::{D, DType, Device, Tensor};

use super::error::InterveneError;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::plan::Side;
use crate::model::{Hooks, LanguageModel, Readout};
use crate::ops;

/// One row: a prompt, with the part of a continuation that has to be fed.
#[derive(Debug, Clone)]
pub(crate) struct RunRow {
    /// Prompt and continuation tokens.
    pub ids: Vec<u32>,
    /// How many of them are the prompt.
    pub prompt: usize,
    /// What is read.
    reads: Vec<Read>,
}

/// One entry of one position's output, with its weight in the outcome.
#[derive(Debug, Clone, Copy)]
struct Read {
    position: usize,
    token: u32,
    weight: f32,
}

/// The rows that answer one side of a pair: one where both answers are single tokens (or one distribution is read),
/// else one an answer. Row i of one side belongs to row i of the other.
pub(crate) fn side_rows(pair: &TokenPair, side: Side, outcome: Outcome) -> Vec<RunRow> {
    prompt_rows(&pair.side(side).ids, pair.answers(side), outcome)
}

/// The rows of any prompt with the contrasted answers behind it.
pub(crate) fn prompt_rows(prompt: &[u32], [a, b]: [&[u32]; 2], outcome: Outcome) -> Vec<RunRow> {
    let last = prompt.len().saturating_sub(1);
    let weight = |answer: &[u32], sign: f32| match outcome {
        Outcome::LogOddsPerToken => sign / answer.len().max(1) as f32,
        _ => sign,
    };
    let plain = |reads| RunRow { ids: prompt.to_vec(), prompt: prompt.len(), reads };
    let whole = |answer: &[u32], sign: f32| {
        let fed = answer.split_last().map(|(_, fed)| fed).unwrap_or_default();
        let weight = weight(answer, sign);
        let reads = answer.iter().zip(last..).map(|(&token, position)| Read { position, token, weight });
        RunRow { ids: [prompt, fed].concat(), prompt: prompt.len(), reads: reads.collect() }
    };
    match (outcome, a, b) {
        (Outcome::Kl, ..) => vec![plain(vec![Read { position: last, token: 0, weight: 0.0 }])],
        (Outcome::Probability, ..) => vec![whole(a, 1.0)],
        (_, &[a], &[b]) => {
            let read = |token, weight| Read { position: last, token, weight };
            vec![plain(vec![read(a, 1.0), read(b, -1.0)])]
        }
        _ => vec![whole(a, 1.0), whole(b, -1.0)],
    }
}

/// The runs of one forward pass, right-padded, and how their outputs become one number a run.
pub(crate) struct RunBatch {
    /// The tokens of each row from its start on.
    pub ids_bt: Tensor,
    /// Tokens of a padded row.
    pub tokens: usize,
    /// Each row's own tokens, and the position of its text at which it starts.
    pub stretches: Vec<Stretch>,
    /// First row of each run.
    pub first_rows: Vec<usize>,
    /// (row, position from the row's start) of every output that is read.
    pub readout: Vec<(usize, usize)>,
    picks: Vec<Pick>,
    normalized: bool,
    outcome: Outcome,
}

/// What of a text a row of a batch runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// Its first position.
    pub start: usize,
    /// How many tokens.
    pub tokens: usize,
}

/// One output entry, the run that it belongs to, and its weight.
struct Pick {
    readout: u32,
    token: u32,
    weight: f32,
    run: u32,
}

impl RunBatch {
    /// Lays the rows of `runs` below each other.
    pub(crate) fn new(runs: &[&[RunRow]], outcome: Outcome, device: &Device) -> Result<Self, InterveneError> {
        let whole: Vec<(&[RunRow], usize)> = runs.iter().map(|&rows| (rows, 0)).collect();
        Self::starting(&whole, outcome, device)
    }

    /// The same with a position for each run at which its rows start. Nothing is read before it.
    pub(crate) fn starting(
        runs: &[(&[RunRow], usize)],
        outcome: Outcome,
        device: &Device,
    ) -> Result<Self, InterveneError> {
        let mut rows: Vec<(usize, &RunRow, Stretch)> = Vec::new();
        for (run, &(of_run, start)) in runs.iter().enumerate() {
            rows.extend(
                of_run.iter().map(|row| (run, row, Stretch { start, tokens: row.ids.len().saturating_sub(start) })),
            );
        }
        let tokens = rows.iter().map(|(.., stretch)| stretch.tokens).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * tokens);
        let (mut readout, mut picks) = (Vec::new(), Vec::new());
        for (number, (run, row, stretch)) in rows.iter().enumerate() {
            ids.extend(row.ids.iter().skip(stretch.start));
            ids.resize((number + 1) * tokens, 0);
            for read in &row.reads {
                let place = (number, read.position.saturating_sub(stretch.start));
                if readout.last() != Some(&place) {
                    readout.push(place);
                }
                let readout = readout.len() as u32 - 1;
                picks.push(Pick { readout, token: read.token, weight: read.weight, run: *run as u32 });
            }
        }
        let mut next = 0;
        let first_rows = runs
            .iter()
            .map(|(rows, _)| {
                next += rows.len();
                next - rows.len()
            })
            .collect();
        // One position, weights +1 and −1: the normalizer cancels exactly and is not computed.
        let one_token =
            runs.iter().all(|(rows, _)| rows.len() == 1 && rows.iter().all(|row| row.ids.len() == row.prompt));
        let normalized = !(one_token && outcome != Outcome::Probability);
        let ids_bt = Tensor::from_vec(ids, (rows.len(), tokens), device)?;
        let stretches = rows.iter().map(|(.., stretch)| *stretch).collect();
        Ok(Self { ids_bt, tokens, stretches, first_rows, readout, picks, normalized, outcome })
    }

    /// Runs the pass and reads one number a run, `[runs]`, differentiable where the model's parameters are tracked.
    /// `reference` holds each run's plain log-probabilities `[runs, v]`, which [`Outcome::Kl`] needs.
    pub(crate) fn run(
        &self,
        model: &LanguageModel,
        hooks: &mut dyn Hooks,
        reference: Option<&Tensor>,
    ) -> Result<Tensor, InterveneError> {
        self.outcomes(&model.forward(&self.ids_bt, Readout::Rows(&self.readout), hooks)?, reference)
    }

    /// One number a run, of the logits `[reads, v]` that a pass gave at [`RunBatch::readout`].
    pub(crate) fn outcomes(&self, logits_nv: &Tensor, reference: Option<&Tensor>) -> Result<Tensor, InterveneError> {
        let logits_nv = logits_nv.to_dtype(DType::F32)?;
        match (self.outcome, reference) {
            (Outcome::Kl, Some(reference_nv)) => {
                let difference_nv = (reference_nv - log_softmax(&logits_nv)?)?;
                Ok((reference_nv.exp()? * difference_nv)?.sum(D::Minus1)?)
            }
            (Outcome::Kl, None) => Ok(Tensor::zeros(self.first_rows.len(), DType::F32, logits_nv.device())?),
            _ => self.pick(&logits_nv),
        }
    }

    /// Log-probabilities of logits, row by row.
    pub(crate) fn distributions(logits_nv: &Tensor) -> Result<Tensor, InterveneError> {
        log_softmax(&logits_nv.to_dtype(DType::F32)?)
    }

    fn pick(&self, logits_nv: &Tensor) -> Result<Tensor, InterveneError> {
        let (n, vocabulary) = logits_nv.dims2()?;
        let device = logits_nv.device();
        let column = |of: &dyn Fn(&Pick) -> u32| {
            Tensor::from_vec(self.picks.iter().map(of).collect::<Vec<_>>(), self.picks.len(), device)
        };
        let picked = if self.normalized {
            let places: Vec<(usize, u32)> = self.picks.iter().map(|pick| (pick.readout as usize, pick.token)).collect();
            ops::logprobs_at(logits_nv, &places)?
        } else {
            let places = column(&|pick| pick.readout * vocabulary as u32 + pick.token)?;
            logits_nv.reshape(n * vocabulary)?.index_select(&places, 0)?
        };
        let weights: Vec<f32> = self.picks.iter().map(|pick| pick.weight).collect();
        let weighted = (picked * Tensor::from_vec(weights, self.picks.len(), device)?)?;
        let zeros = Tensor::zeros(self.first_rows.len(), DType::F32, device)?;
        let runs = zeros.index_add(&column(&|pick| pick.run)?, &weighted, 0)?;
        Ok(if self.outcome == Outcome::Probability { runs.exp()? } else { runs })
    }
}

fn log_softmax(logits_nv: &Tensor) -> Result<Tensor, InterveneError> {
    Ok(logits_nv.broadcast_sub(&logits_nv.log_sum_exp(D::Minus1)?.unsqueeze(D::Minus1)?)?)
}
