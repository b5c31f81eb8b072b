//! The activations of donor runs, captured once and shared by every plan on the same pairs.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, DType, Tensor};

use super::batch::{RunBatch, RunRow, prompt_rows, side_rows};
use super::engine::Job;
use super::error::InterveneError;
use super::means::Means;
use super::outcome::Outcome;
use super::plan::Side;
use crate::base::Digest;
use crate::model::{Architecture, HookKind, HookPoint, LanguageModel, Record};

/// Activations of plain runs, found by the job's number and the side, and the means that plans read.
#[derive(Debug, Clone, Default)]
pub struct ActivationCache {
    activations: BTreeMap<HookPoint, Tensor>,
    first_rows: BTreeMap<SourceKey, usize>,
    tokens: usize,
    log_probs: Option<Tensor>,
    means: Means,
}

/// Who a plain run belongs to: a job's number, with one of its pair's sides or the prompt that is resampled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SourceKey {
    /// A side of the job's pair.
    Side(usize, Side),
    /// A prompt, with the job's answers behind it.
    Prompt(usize, Digest),
}

/// One plain run to capture.
pub(crate) struct SourceRun {
    /// Everybody that it belongs to.
    pub keys: Vec<SourceKey>,
    /// Its rows.
    pub rows: Vec<RunRow>,
}

/// The plain runs of `sides` of every job, and of the prompts that its plans resample; rows that are the same text run
/// once.
pub(crate) fn source_runs(
    jobs: &[Job<'_>],
    outcome: Outcome,
    sides: &dyn Fn(&Job<'_>) -> BTreeSet<Side>,
) -> Vec<SourceRun> {
    let mut runs: Vec<SourceRun> = Vec::new();
    let mut prompts: BTreeMap<Vec<Vec<u32>>, usize> = BTreeMap::new();
    for (number, job) in jobs.iter().enumerate() {
        for side in sides(job) {
            runs.push(SourceRun {
                keys: vec![SourceKey::Side(number, side)],
                rows: side_rows(job.pair, side, outcome),
            });
        }
        let mut resampled: BTreeMap<&Digest, &[u32]> = BTreeMap::new();
        for (_, intervention) in job.plans.iter().flat_map(|plan| &plan.cells) {
            resampled.extend(intervention.resampled().map(|prompt| (prompt.digest(), prompt.ids())));
        }
        for (digest, ids) in resampled {
            let rows = prompt_rows(ids, job.pair.answers(Side::Factual), outcome);
            let key = SourceKey::Prompt(number, digest.clone());
            let texts: Vec<Vec<u32>> = rows.iter().map(|row| row.ids.clone()).collect();
            match prompts.get(&texts).and_then(|&run| runs.get_mut(run)) {
                Some(run) => run.keys.push(key),
                None => {
                    prompts.insert(texts, runs.len());
                    runs.push(SourceRun { keys: vec![key], rows });
                }
            }
        }
    }
    runs
}

impl ActivationCache {
    /// Runs `runs` in one pass and keeps the activations at `points`; for [`Outcome::Kl`] also the runs' own
    /// next-token distributions. Also gives the runs' plain outcomes, `[runs]`, 0 each for a divergence.
    pub(crate) fn capture(
        model: &LanguageModel,
        runs: &[SourceRun],
        points: BTreeSet<HookPoint>,
        outcome: Outcome,
        means: &Means,
    ) -> Result<(Self, Option<Tensor>), InterveneError> {
        if runs.is_empty() {
            return Ok((Self { means: means.clone(), ..Self::default() }, None));
        }
        let rows: Vec<&[RunRow]> = runs.iter().map(|run| run.rows.as_slice()).collect();
        let batch = RunBatch::new(&rows, outcome, model.device())?;
        let mut record = Record::new(points);
        let logits_nv = model.forward(&batch.ids_bt, batch.readout(), &mut record)?;
        let made = Self::of(runs, record.take(), batch.tokens, means).with_outcomes(outcome, &logits_nv)?;
        Ok((made, Some(batch.outcomes(&logits_nv, None)?)))
    }

    /// The activations of plain runs, row by row, padded to `tokens`.
    pub(crate) fn of(
        runs: &[SourceRun],
        activations: BTreeMap<HookPoint, Tensor>,
        tokens: usize,
        means: &Means,
    ) -> Self {
        let mut first_rows = BTreeMap::new();
        let mut next = 0;
        for run in runs {
            first_rows.extend(run.keys.iter().map(|key| (key.clone(), next)));
            next += run.rows.len();
        }
        Self { activations, first_rows, tokens, log_probs: None, means: means.clone() }
    }

    /// With the runs' own next-token distributions where [`Outcome::Kl`] needs them.
    pub(crate) fn with_outcomes(mut self, outcome: Outcome, logits_nv: &Tensor) -> Result<Self, InterveneError> {
        if outcome == Outcome::Kl {
            self.log_probs = Some(RunBatch::distributions(logits_nv)?);
        }
        Ok(self)
    }

    /// The points that are held.
    pub fn points(&self) -> impl Iterator<Item = HookPoint> + '_ {
        self.activations.keys().copied()
    }

    /// The activation at a point: rows of all captured runs, right-padded.
    pub fn get(&self, point: HookPoint) -> Option<&Tensor> {
        self.activations.get(&point)
    }

    /// Puts another tensor in an activation's place; the shape must be the same.
    pub fn set(&mut self, point: HookPoint, activation: Tensor) -> Result<(), InterveneError> {
        match self.activations.get(&point) {
            Some(old) if old.shape() == activation.shape() => {
                self.activations.insert(point, activation);
                Ok(())
            }
            Some(old) => {
                Err(candle_core::Error::Msg(format!("{point} holds {:?}, not {:?}", old.shape(), activation.shape()))
                    .into())
            }
            None => Err(candle_core::Error::Msg(format!("{point} was not captured")).into()),
        }
    }

    /// The same values, cut off from the graph that made them.
    pub(crate) fn detached(mut self) -> Self {
        for activation in self.activations.values_mut() {
            *activation = activation.detach();
        }
        self
    }

    /// Bytes that one token's activations take at `points`, in a text of `tokens`.
    pub(crate) fn bytes_a_token(model: &LanguageModel, points: &BTreeSet<HookPoint>, tokens: usize) -> usize {
        let width = |point: &HookPoint| width_at(model.architecture(), *point, tokens);
        points.iter().map(width).sum::<usize>() * DType::F32.size_in_bytes()
    }

    /// The means that plans read.
    pub(crate) fn means(&self) -> &Means {
        &self.means
    }

    /// First row of a captured run, and the tokens of a padded row.
    pub(crate) fn place(&self, key: &SourceKey) -> Option<(usize, usize)> {
        self.first_rows.get(key).map(|&row| (row, self.tokens))
    }

    /// A captured activation.
    pub(crate) fn at(&self, point: HookPoint) -> Result<&Tensor, InterveneError> {
        let missing = || candle_core::Error::Msg(format!("{point} was not captured for this plan"));
        Ok(self.activations.get(&point).ok_or_else(missing)?)
    }

    /// Unit rows of a point, `[n, w]`; of a pattern elements, `[n, 1]`.
    pub(crate) fn unit_rows(&self, point: HookPoint, at: Vec<u32>) -> Result<Tensor, InterveneError> {
        let activation = self.at(point)?;
        let width = if point.kind == HookKind::Pattern { 1 } else { activation.dim(D::Minus1)? };
        let at = Tensor::from_slice(&at, at.len(), activation.device())?;
        Ok(activation.reshape(((), width))?.index_select(&at, 0)?)
    }

    /// Plain log-probabilities of the given runs, `[n, v]`; `None` where none were captured.
    pub(crate) fn log_probs(&self, keys: &[(usize, Side)]) -> Result<Option<Tensor>, InterveneError> {
        let Some(log_probs) = &self.log_probs else { return Ok(None) };
        let row = |&(job, side)| self.first_rows.get(&SourceKey::Side(job, side)).map(|&row| row as u32);
        let rows: Vec<u32> = keys.iter().filter_map(row).collect();
        let rows = Tensor::from_slice(&rows, rows.len(), log_probs.device())?;
        Ok(Some(log_probs.index_select(&rows, 0)?))
    }
}

/// Values of one token at a point, in a text of `tokens`.
fn width_at(architecture: &Architecture, point: HookPoint, tokens: usize) -> usize {
    match point.kind {
        HookKind::Z | HookKind::Q => architecture.n_heads * architecture.head_dim,
        HookKind::K | HookKind::V => architecture.n_kv_heads * architecture.head_dim,
        HookKind::Pattern => architecture.n_heads * tokens,
        HookKind::MlpPre | HookKind::MlpPost => architecture.d_mlp,
        _ => architecture.d_model,
    }
}
