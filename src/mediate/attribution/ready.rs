//! A batch of pairs whose clean and corrupted runs are known.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::spec::AttributionSpec;
use crate::intervene::{InterveneError, Outcome, RunBatch, RunRow, Side, TokenPair, check_pairs, side_rows};
use crate::mediate::MediateError;
use crate::model::{
    HookPoint, Hooks, KeyValueCache, LanguageModel, NoHooks, Prefix, Readout, Record, Span, Stand, Start,
};

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
    /// Tokens that run of each row, without padding.
    pub lengths: Vec<usize>,
    /// Tokens at the front of every row that are the same on both sides: no score can be other than 0 there, so their
    /// keys and values are stored once and every pass begins behind them.
    pub front: usize,
    stored: Option<(KeyValueCache, Vec<Span>)>,
    /// Activations of clean rows.
    pub clean_at: BTreeMap<HookPoint, Tensor>,
    /// Activations of corrupted rows.
    pub corrupted_at: BTreeMap<HookPoint, Tensor>,
    /// What each pair's outcome is multiplied by to be the metric.
    pub signs: Vec<f64>,
    /// Plain log-probabilities of the clean rows, for a divergence.
    pub reference: Option<Tensor>,
}

/// Which positions of the pairs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// Those from the first difference on.
    Differing,
    /// All.
    Whole,
}

/// Tokens that every row begins with on both sides, at least one left to run; 0 where the model turns a text's keys by
/// its length.
fn front(model: &LanguageModel, pairs: &[TokenPair], rows: &[Vec<RunRow>]) -> usize {
    let shared = pairs.iter().map(|pair| pair.shared_front().min(pair.factual.ids.len().saturating_sub(1)));
    let front = shared.min().unwrap_or(0);
    let serves = rows.iter().flatten().all(|row| model.cache_serves(front, row.ids.len()));
    if serves { front } else { 0 }
}

/// The keys and values of every row's first `front` tokens.
fn store(
    model: &LanguageModel,
    rows: &[Vec<RunRow>],
    front: usize,
) -> Result<(KeyValueCache, Vec<Span>), MediateError> {
    let count = rows.iter().flatten().count();
    let ids: Vec<u32> = rows.iter().flatten().flat_map(|row| row.ids.iter().take(front)).copied().collect();
    let ids_bt = Tensor::from_vec(ids, (count, front), model.device()).map_err(InterveneError::from)?;
    let mut cache = model.cache(count, front)?;
    let spans: Vec<Span> = (0..count).map(|row| Span { row, start: 0, tokens: front }).collect();
    model.extend(&mut cache, &ids_bt, &spans, Readout::Rows(&[(0, 0)]), &mut NoHooks)?;
    let spans = rows.iter().flatten().zip(0..);
    let spans = spans.map(|(text, row)| Span { row, start: front, tokens: text.ids.len() - front }).collect();
    Ok((cache, spans))
}

fn pass(
    model: &LanguageModel,
    stored: Option<&(KeyValueCache, Vec<Span>)>,
    batch: &RunBatch,
    hooks: &mut dyn Hooks,
) -> Result<Tensor, MediateError> {
    let prefix = stored.map(|(cache, spans)| Prefix { cache, spans, stand: Stand::Below });
    Ok(model.resume(Start::Tokens(&batch.ids_bt), prefix, batch.readout(), hooks)?)
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
        (spec, cover): (&AttributionSpec, Cover),
    ) -> Result<Self, MediateError> {
        check_pairs(model, pairs, spec.outcome)?;
        let rows = |side| pairs.iter().map(|pair| side_rows(pair, side, spec.outcome)).collect::<Vec<_>>();
        let (clean_rows, corrupted_rows) = (rows(Side::Factual), rows(Side::Counterfactual));
        let front = match cover {
            Cover::Whole => 0,
            Cover::Differing => front(model, pairs, &clean_rows),
        };
        let batch = |rows: &[Vec<RunRow>]| {
            let runs: Vec<_> = rows.iter().map(|rows| (rows.as_slice(), front)).collect();
            RunBatch::starting(&runs, spec.outcome, Stand::Below, model.device())
        };
        let pair_of_row = clean_rows.iter().enumerate().flat_map(|(pair, rows)| rows.iter().map(move |_| pair));
        let pair_of_row = pair_of_row.collect();
        let lengths = clean_rows.iter().flatten().map(|row| row.ids.len() - front).collect();
        let stored = (front > 0).then(|| store(model, &clean_rows, front)).transpose()?;
        let (clean, corrupted) = (batch(&clean_rows)?, batch(&corrupted_rows)?);
        let run = |batch: &RunBatch| -> Result<_, MediateError> {
            let mut record = Record::new(points.iter().copied());
            let logits_nv = pass(model, stored.as_ref(), batch, &mut record)?.detach();
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
            front,
            stored,
            clean_at,
            corrupted_at,
            signs,
            reference,
        })
    }

    /// One pass over the tokens that run.
    pub fn pass(&self, model: &LanguageModel, batch: &RunBatch, hooks: &mut dyn Hooks) -> Result<Tensor, MediateError> {
        pass(model, self.stored.as_ref(), batch, hooks)
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
