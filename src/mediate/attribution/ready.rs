//! A batch of pairs whose clean and corrupted runs are known.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::spec::AttributionSpec;
use crate::intervene::{InterveneError, Outcome, RunBatch, Side, TokenPair, check_pairs, side_rows};
use crate::mediate::MediateError;
use crate::model::{HookPoint, LanguageModel, Readout, Record};

/// Pairs of one batch, their rows, and their plain runs' activations.
pub(super) struct Ready {
    /// Number of pairs.
    pub pairs: usize,
    /// The clean rows.
    pub clean: RunBatch,
    /// The corrupted rows, in the same places.
    pub corrupted: RunBatch,
    /// The pair of each row, counted from 0.
    pub pair_of_row: Vec<usize>,
    /// Tokens of each row without padding.
    pub lengths: Vec<usize>,
    /// Activations of clean rows.
    pub clean_at: BTreeMap<HookPoint, Tensor>,
    /// Activations of corrupted rows.
    pub corrupted_at: BTreeMap<HookPoint, Tensor>,
    /// What each pair's outcome is multiplied by to be the metric.
    pub signs: Vec<f64>,
    /// Plain log-probabilities of the clean rows, for a divergence.
    pub reference: Option<Tensor>,
}

/// How many of the next pairs fill a batch.
pub(super) fn fitting(pairs: &[TokenPair], outcome: Outcome, batch_tokens: usize) -> usize {
    let (mut rows, mut longest) = (0, 0);
    let fits = |pair: &&TokenPair| {
        for side in [Side::Factual, Side::Counterfactual] {
            let of_side = side_rows(pair, side, outcome);
            longest = of_side.iter().map(|row| row.ids.len()).fold(longest, usize::max);
            rows += if side == Side::Factual { of_side.len() } else { 0 };
        }
        rows * longest <= batch_tokens
    };
    pairs.iter().take_while(fits).count().max(1)
}

impl Ready {
    /// Runs both sides of `pairs` plainly and keeps the activations at `points`.
    pub fn new(
        model: &LanguageModel,
        pairs: &[TokenPair],
        points: &BTreeSet<HookPoint>,
        spec: &AttributionSpec,
    ) -> Result<Self, MediateError> {
        check_pairs(model, pairs, spec.outcome)?;
        let rows = |side| pairs.iter().map(|pair| side_rows(pair, side, spec.outcome)).collect::<Vec<_>>();
        let batch = |side| {
            let rows = rows(side);
            let runs: Vec<_> = rows.iter().map(Vec::as_slice).collect();
            RunBatch::new(&runs, spec.outcome, model.device())
        };
        let clean_rows = rows(Side::Factual);
        let pair_of_row = clean_rows.iter().enumerate().flat_map(|(pair, rows)| rows.iter().map(move |_| pair));
        let pair_of_row = pair_of_row.collect();
        let lengths = clean_rows.iter().flatten().map(|row| row.ids.len()).collect();
        let (clean, corrupted) = (batch(Side::Factual)?, batch(Side::Counterfactual)?);
        let run = |batch: &RunBatch| -> Result<_, MediateError> {
            let mut record = Record::new(points.iter().copied());
            let logits_nv = model.forward(&batch.ids_bt, Readout::Rows(&batch.readout), &mut record)?.detach();
            let kept = record.take().into_iter().map(|(point, kept)| (point, kept.detach())).collect();
            Ok((logits_nv, kept))
        };
        let (clean_logits, clean_at) = run(&clean)?;
        let (corrupted_logits, corrupted_at) = run(&corrupted)?;
        let reference = (spec.outcome == Outcome::Kl).then(|| RunBatch::distributions(&clean_logits)).transpose()?;
        let values = |batch: &RunBatch, logits| -> Result<Vec<f32>, MediateError> {
            let outcomes = batch.outcomes(logits, reference.as_ref())?;
            Ok(outcomes.to_vec1::<f32>().map_err(InterveneError::from)?)
        };
        let (clean_values, corrupted_values) = (values(&clean, &clean_logits)?, values(&corrupted, &corrupted_logits)?);
        let mut signs = Vec::with_capacity(pairs.len());
        for (pair, (&x, &y)) in pairs.iter().zip(clean_values.iter().zip(&corrupted_values)) {
            let (x, y) = (f64::from(x), f64::from(y));
            if let Some(value) = [x, y].into_iter().find(|value| !value.is_finite()) {
                let plan = "no intervention".to_owned();
                return Err(InterveneError::NotFinite { pair: pair.id.clone(), plan, value }.into());
            }
            signs.push(spec.sign.of(pair, spec.outcome, x, y));
        }
        Ok(Self {
            pairs: pairs.len(),
            clean,
            corrupted,
            pair_of_row,
            lengths,
            clean_at,
            corrupted_at,
            signs,
            reference,
        })
    }

    /// corrupted − clean at a point.
    pub fn difference(&self, point: HookPoint) -> Result<Tensor, MediateError> {
        let (clean, corrupted) = self.at(point)?;
        Ok((corrupted - clean).map_err(InterveneError::from)?)
    }

    /// The clean and the corrupted activation at a point.
    pub fn at(&self, point: HookPoint) -> Result<(&Tensor, &Tensor), MediateError> {
        match (self.clean_at.get(&point), self.corrupted_at.get(&point)) {
            (Some(clean), Some(corrupted)) => Ok((clean, corrupted)),
            _ => Err(InterveneError::from(candle_core::Error::Msg(format!("{point} was not captured"))).into()),
        }
    }
}
