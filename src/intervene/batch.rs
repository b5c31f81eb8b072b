//! Rows of forward passes and what is read from them, shared by the engine and by training.

use candle_core::{D, DType, Device, Tensor};

use super::error::InterveneError;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::plan::Side;
use crate::model::{Hooks, LanguageModel, Readout, Stand};
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

impl RunRow {
    /// How many positions are read.
    pub(crate) fn read_positions(&self) -> usize {
        let mut positions: Vec<usize> = self.reads.iter().map(|read| read.position).collect();
        positions.dedup();
        positions.len()
    }

    /// Whether the whole vocabulary is needed where it is read. At one position with weights +1 and −1 the normalizer
    /// cancels exactly.
    pub(crate) fn needs_normalizer(&self, outcome: Outcome) -> bool {
        let contrast = self.reads.iter().map(|read| read.weight).sum::<f32>() == 0.0;
        matches!(outcome, Outcome::Kl | Outcome::Probability) || self.read_positions() != 1 || !contrast
    }
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
    /// How the rows stand in the pass.
    pub stand: Stand,
    /// The first token of each row, counted through the pass.
    pub first_tokens: Vec<usize>,
    /// (row, position) of every output that is read, as the pass names them.
    reads: Vec<(usize, usize)>,
    /// (number of the read, token) of every pick, where those entries alone are needed.
    entries: Option<Vec<(u32, u32)>>,
    picks: Vec<Pick>,
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
        Self::starting(&whole, outcome, Stand::Below, device)
    }

    /// The same with a position for each run at which its rows start. Nothing is read before it.
    pub(crate) fn starting(
        runs: &[(&[RunRow], usize)],
        outcome: Outcome,
        stand: Stand,
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
        let (mut readout, mut picks, mut first_tokens) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (run, row, stretch)) in rows.iter().enumerate() {
            let first = ids.len();
            first_tokens.push(first);
            ids.extend(row.ids.iter().skip(stretch.start));
            if stand == Stand::Below {
                ids.resize((number + 1) * tokens, 0);
            }
            for read in &row.reads {
                let position = read.position.saturating_sub(stretch.start);
                let place = if stand == Stand::Below { (number, position) } else { (0, first + position) };
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
        let normalized = runs.iter().flat_map(|(rows, _)| rows.iter()).any(|row| row.needs_normalizer(outcome));
        let (b, t) = if stand == Stand::Below { (rows.len(), tokens) } else { (1, ids.len()) };
        let ids_bt = Tensor::from_vec(ids, (b, t), device)?;
        let stretches = rows.iter().map(|(.., stretch)| *stretch).collect();
        let entries = (!normalized).then(|| picks.iter().map(|pick: &Pick| (pick.readout, pick.token)).collect());
        let reads = readout;
        Ok(Self { ids_bt, tokens, stretches, first_rows, stand, first_tokens, reads, entries, picks, outcome })
    }

    /// What a pass is to read out: whole distributions, or the answers' entries where they suffice.
    pub(crate) fn readout(&self) -> Readout<'_> {
        match &self.entries {
            Some(entries) => Readout::Entries { rows: &self.reads, entries },
            None => Readout::Rows(&self.reads),
        }
    }

    /// Runs the pass and reads one number a run, `[runs]`, differentiable where the model's parameters are tracked.
    /// `reference` holds each run's plain log-probabilities `[runs, v]`, which [`Outcome::Kl`] needs.
    pub(crate) fn run(
        &self,
        model: &LanguageModel,
        hooks: &mut dyn Hooks,
        reference: Option<&Tensor>,
    ) -> Result<Tensor, InterveneError> {
        self.outcomes(&model.forward(&self.ids_bt, self.readout(), hooks)?, reference)
    }

    /// One number a run, of what a pass gave for [`RunBatch::readout`].
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
        let device = logits_nv.device();
        let column = |of: &dyn Fn(&Pick) -> u32| {
            Tensor::from_vec(self.picks.iter().map(of).collect::<Vec<_>>(), self.picks.len(), device)
        };
        let picked = match self.entries {
            Some(_) => logits_nv.clone(),
            None => {
                let places = self.picks.iter().map(|pick| (pick.readout as usize, pick.token));
                ops::logprobs_at(logits_nv, &places.collect::<Vec<_>>())?
            }
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
