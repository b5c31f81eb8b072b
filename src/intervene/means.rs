//! Means of activations over reference sets: captured once a call, whatever the number of pairs and plans.
//!
//! Cost: one pass over the prompts of each set. Prompts of one length run together, so that nothing is padded. Sums are
//! taken in double precision.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, DType, Tensor};

use super::engine::Job;
use super::error::InterveneError;
use super::plan::Plan;
use super::source::{NamedPrompt, Reference};
use crate::base::Digest;
use crate::model::{HookKind, HookPoint, LanguageModel, Readout, Record};

/// Over what a mean is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Averaged {
    /// Prompts and positions.
    Everything,
    /// Prompts, at each position.
    Prompts,
}

/// The means that plans read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Means {
    held: BTreeMap<(Digest, HookPoint), Mean>,
}

#[derive(Debug, Clone)]
struct Mean {
    /// `[t, units, w]`, of a pattern `[h, t, s]`.
    by_position: Tensor,
    /// `[units, w]`; of a pattern without meaning.
    overall: Tensor,
    tokens: usize,
}

impl Means {
    /// Runs every reference set that the jobs name, once.
    pub fn capture(model: &LanguageModel, jobs: &[Job<'_>], batch_tokens: usize) -> Result<Self, InterveneError> {
        let mut wanted: BTreeMap<&Digest, (&Reference, BTreeSet<HookPoint>)> = BTreeMap::new();
        for (site, intervention) in jobs.iter().flat_map(|job| job.plans).flat_map(|plan: &Plan| &plan.cells) {
            if let Some(reference) = intervention.reference() {
                let entry = wanted.entry(reference.digest()).or_insert_with(|| (reference, BTreeSet::new()));
                entry.1.insert(site.hook());
            }
        }
        let mut held = BTreeMap::new();
        for (digest, (reference, points)) in wanted {
            for (point, mean) in means(model, reference, &points, batch_tokens)? {
                held.insert((digest.clone(), point), mean);
            }
        }
        Ok(Self { held })
    }

    fn of(&self, reference: &Digest, point: HookPoint) -> Result<&Mean, InterveneError> {
        let missing = || candle_core::Error::Msg(format!("the mean at {point} was not captured for this plan"));
        Ok(self.held.get(&(reference.clone(), point)).ok_or_else(missing)?)
    }

    /// Tokens of the longest prompt of a captured set.
    pub fn tokens(&self, reference: &Digest, point: HookPoint) -> Result<usize, InterveneError> {
        Ok(self.of(reference, point)?.tokens)
    }

    /// Rows `[n, w]` by unit (position·units + unit under [`Averaged::Prompts`]), or elements `[n, 1]` of a pattern.
    pub fn rows(
        &self,
        (reference, point): (&Digest, HookPoint),
        averaged: Averaged,
        at: Vec<u32>,
    ) -> Result<Tensor, InterveneError> {
        let mean = self.of(reference, point)?;
        let from = match averaged {
            Averaged::Everything => &mean.overall,
            Averaged::Prompts => &mean.by_position,
        };
        let width = if point.kind == HookKind::Pattern { 1 } else { from.dim(D::Minus1)? };
        let at = Tensor::from_slice(&at, at.len(), from.device())?;
        Ok(from.reshape(((), width))?.index_select(&at, 0)?)
    }
}

fn means(
    model: &LanguageModel,
    reference: &Reference,
    points: &BTreeSet<HookPoint>,
    batch_tokens: usize,
) -> Result<BTreeMap<HookPoint, Mean>, InterveneError> {
    let longest = reference.longest();
    let mut by_length: BTreeMap<usize, Vec<&NamedPrompt>> = BTreeMap::new();
    for prompt in reference.prompts() {
        by_length.entry(prompt.ids().len()).or_default().push(prompt);
    }
    let mut sums: BTreeMap<HookPoint, Tensor> = BTreeMap::new();
    for (tokens, prompts) in by_length {
        for batch in prompts.chunks((batch_tokens / tokens.max(1)).max(1)) {
            let ids: Vec<u32> = batch.iter().flat_map(|prompt| prompt.ids()).copied().collect();
            let ids_bt = Tensor::from_vec(ids, (batch.len(), tokens), model.device())?;
            let mut record = Record::new(points.iter().copied());
            model.forward(&ids_bt, Readout::Rows(&[(0, tokens - 1)]), &mut record)?;
            for (point, activation) in record.take() {
                let sum = summed(point, &activation, longest)?;
                let so_far = match sums.get(&point) {
                    Some(earlier) => (earlier + sum)?,
                    None => sum,
                };
                sums.insert(point, so_far);
            }
        }
    }
    let reach = |position: usize| reference.prompts().iter().filter(|prompt| prompt.ids().len() > position).count();
    let counts: Vec<f64> = (0..longest).map(|position| reach(position) as f64).collect();
    let total: f64 = counts.iter().sum();
    let counts = Tensor::from_vec(counts, (longest, 1), model.device())?;
    let mut made = BTreeMap::new();
    for (point, sum) in sums {
        let counts = if point.kind == HookKind::Pattern { counts.unsqueeze(0)? } else { counts.unsqueeze(1)? };
        let by_position = sum.broadcast_div(&counts)?.to_dtype(DType::F32)?;
        let overall = (sum.sum(0)? / total)?.to_dtype(DType::F32)?;
        made.insert(point, Mean { by_position, overall, tokens: longest });
    }
    Ok(made)
}

/// The sum over a batch, padded to `longest` positions: `[t, units, w]`, of a pattern `[h, t, s]`.
fn summed(point: HookPoint, activation: &Tensor, longest: usize) -> Result<Tensor, InterveneError> {
    let sum = activation.to_dtype(DType::F64)?.sum(0)?;
    if point.kind == HookKind::Pattern {
        let missing = longest - sum.dim(1)?.min(longest);
        return Ok(sum.pad_with_zeros(1, 0, missing)?.pad_with_zeros(2, 0, missing)?);
    }
    let sum = if sum.rank() == 2 { sum.unsqueeze(1)? } else { sum };
    let missing = longest - sum.dim(0)?.min(longest);
    Ok(sum.pad_with_zeros(0, 0, missing)?)
}
