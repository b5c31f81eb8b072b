//! The activations of donor runs, captured once and shared by every plan on the same pairs.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, DType, Tensor};

use super::batch::{RunBatch, RunRow};
use super::error::InterveneError;
use super::outcome::Outcome;
use super::plan::Side;
use crate::model::{HookPoint, Hooks, LanguageModel, Readout, Record};

/// Activations of plain runs, found by the job's number and the side.
#[derive(Debug, Clone)]
pub struct ActivationCache {
    activations: BTreeMap<HookPoint, Tensor>,
    first_rows: BTreeMap<(usize, Side), usize>,
    tokens: usize,
    log_probs: Option<Tensor>,
}

/// One plain run to capture.
pub(crate) struct SourceRun {
    /// The job's number and the side that runs.
    pub key: (usize, Side),
    /// Its rows.
    pub rows: Vec<RunRow>,
}

impl ActivationCache {
    /// Runs `runs` in one pass and keeps the activations at `points`; for [`Outcome::Kl`] also the runs' own
    /// next-token distributions. Also gives the runs' plain outcomes, `[runs]`, 0 each for a divergence.
    pub(crate) fn capture(
        model: &LanguageModel,
        runs: &[SourceRun],
        points: BTreeSet<HookPoint>,
        outcome: Outcome,
    ) -> Result<(Self, Option<Tensor>), InterveneError> {
        Self::capture_by(model, runs, points, outcome, &mut |batch, hooks| {
            Ok(model.forward(&batch.ids_bt, Readout::Rows(&batch.readout), hooks)?)
        })
    }

    /// The same with the pass run by `forward`, which gives the logits that the batch reads.
    pub(crate) fn capture_by(
        model: &LanguageModel,
        runs: &[SourceRun],
        points: BTreeSet<HookPoint>,
        outcome: Outcome,
        forward: &mut dyn FnMut(&RunBatch, &mut dyn Hooks) -> Result<Tensor, InterveneError>,
    ) -> Result<(Self, Option<Tensor>), InterveneError> {
        let mut made = Self { activations: BTreeMap::new(), first_rows: BTreeMap::new(), tokens: 0, log_probs: None };
        if runs.is_empty() {
            return Ok((made, None));
        }
        let rows: Vec<&[RunRow]> = runs.iter().map(|run| run.rows.as_slice()).collect();
        let batch = RunBatch::new(&rows, outcome, model.device())?;
        let mut record = Record::new(points);
        let logits_nv = forward(&batch, &mut record)?;
        if outcome == Outcome::Kl {
            made.log_probs = Some(RunBatch::distributions(&logits_nv)?);
        }
        let outcomes = Some(batch.outcomes(&logits_nv, None)?);
        made.activations = record.take();
        made.tokens = batch.tokens;
        made.first_rows = runs.iter().map(|run| run.key).zip(batch.first_rows).collect();
        Ok((made, outcomes))
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

    /// Bytes that one token's activations take at `points`.
    pub(crate) fn bytes_a_token(model: &LanguageModel, points: &BTreeSet<HookPoint>) -> usize {
        let architecture = model.architecture();
        let heads = architecture.n_heads * architecture.head_dim;
        let width = |point: &HookPoint| match point.kind {
            crate::model::HookKind::Z => heads,
            _ => architecture.d_model,
        };
        points.iter().map(width).sum::<usize>() * DType::F32.size_in_bytes()
    }

    /// First row of a captured run, and the tokens of a padded row.
    pub(crate) fn place(&self, key: (usize, Side)) -> Option<(usize, usize)> {
        self.first_rows.get(&key).map(|&row| (row, self.tokens))
    }

    /// Rows and padded tokens of a captured activation.
    pub(crate) fn extent(&self, point: HookPoint) -> Result<(usize, usize), InterveneError> {
        let activation = self
            .activations
            .get(&point)
            .ok_or_else(|| candle_core::Error::Msg(format!("{point} was not captured for this plan")))?;
        Ok((activation.dim(0)?, activation.dim(1)?))
    }

    /// Unit rows of a point, `[n, w]`.
    pub(crate) fn unit_rows(&self, point: HookPoint, at: Vec<u32>) -> Result<Tensor, InterveneError> {
        let activation = self
            .activations
            .get(&point)
            .ok_or_else(|| candle_core::Error::Msg(format!("{point} was not captured for this plan")))?;
        let width = activation.dim(D::Minus1)?;
        let at = Tensor::from_slice(&at, at.len(), activation.device())?;
        Ok(activation.reshape(((), width))?.index_select(&at, 0)?)
    }

    /// Plain log-probabilities of the given runs, `[n, v]`; `None` where none were captured.
    pub(crate) fn log_probs(&self, keys: &[(usize, Side)]) -> Result<Option<Tensor>, InterveneError> {
        let Some(log_probs) = &self.log_probs else { return Ok(None) };
        let row = |key| self.first_rows.get(key).map(|&row| row as u32);
        let rows: Vec<u32> = keys.iter().filter_map(row).collect();
        let rows = Tensor::from_slice(&rows, rows.len(), log_probs.device())?;
        Ok(Some(log_probs.index_select(&rows, 0)?))
    }
}
