//! Patched runs inside a training step: the same numbers as the engine's, with gradients.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::batch::{RunBatch, RunRow, side_rows};
use super::cache::{ActivationCache, source_runs};
use super::engine::{Job, check};
use super::error::InterveneError;
use super::means::Means;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::plan::{Plan, Side};
use super::site::Site;
use super::wiring::{Placed, Wiring};
use crate::model::{LanguageModel, NoHooks};

/// Whether gradients pass through the donors' activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceGradient {
    /// They do: what the sites are *written* with is trained too.
    Attached,
    /// They do not: only what reads the sites is trained.
    Detached,
}

/// Outcomes of one joint plan on many pairs, `[pairs]` each, differentiable in the model's tracked parameters.
#[derive(Debug, Clone)]
pub struct JointOutcomes {
    /// The receiver's plain run.
    pub base: Tensor,
    /// The donor's plain run.
    pub source: Tensor,
    /// The receiver with the donor's activations at all sites.
    pub patched: Tensor,
}

/// Patches all `sites` at once into the `receiver` side of each pair. The outcome is [`Outcome::Contrast`]. Cost: two
/// passes, one of the donors and one of the receivers' plain and patched rows; the caller keeps `pairs` small enough
/// for its memory.
pub fn joint_outcomes(
    model: &LanguageModel,
    pairs: &[&TokenPair],
    sites: &[Site],
    receiver: Side,
    gradient: SourceGradient,
) -> Result<JointOutcomes, InterveneError> {
    let outcome = Outcome::Contrast;
    let plan = Plan::interchange(receiver, sites);
    let jobs: Vec<Job<'_>> = pairs.iter().map(|pair| Job { pair, plans: std::slice::from_ref(&plan) }).collect();
    check(model, &jobs, outcome)?;
    let donors = source_runs(&jobs, outcome, &|_| [receiver.other()].into());
    let points = sites.iter().map(Site::hook).collect();
    let (cache, source) = ActivationCache::capture(model, &donors, points, outcome, &Means::default())?;
    let cache = match gradient {
        SourceGradient::Attached => cache,
        SourceGradient::Detached => cache.detached(),
    };
    let rows: Vec<Vec<RunRow>> = pairs.iter().map(|pair| side_rows(pair, receiver, outcome)).collect();
    let twice: Vec<&[RunRow]> = rows.iter().chain(&rows).map(Vec::as_slice).collect();
    let batch = RunBatch::new(&twice, outcome, model.device())?;
    let mut wiring = Wiring::new(&cache, model.architecture(), &batch, 0);
    let patched = batch.first_rows.iter().skip(pairs.len());
    for (job, ((&pair, rows), &first_row)) in pairs.iter().zip(&rows).zip(patched).enumerate() {
        wiring.add(&Placed { job, draw: 0, pair, plan: &plan, rows, first_row, start: 0 })?;
    }
    let mut hooks = wiring.hooks(model.device())?;
    let both = batch.run(model, &mut hooks, None)?;
    let n = pairs.len();
    let source = match source {
        Some(source) => source,
        None => batch.run(model, &mut NoHooks, None)?.narrow(0, 0, 0)?,
    };
    Ok(JointOutcomes { base: both.narrow(0, 0, n)?, source, patched: both.narrow(0, n, n)? })
}
