//! Engines: what carries plans out.
//!
//! [`NaiveEngine`] is the oracle: one full forward pass a plan and answer, no reuse of anything but the donor's
//! activations. Cost: one pass of the prompt (and fed answer tokens) a plan and row, plus one a donor.

use std::collections::BTreeSet;

use super::batch::{RunBatch, RunRow, side_rows};
use super::cache::{ActivationCache, SourceRun, source_runs};
use super::error::InterveneError;
use super::intervention::Intervention;
use super::means::Means;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::plan::{Plan, Side};
use super::wiring::{Placed, Wiring};
use crate::base::Progress;
use crate::model::{HookPoint, LanguageModel};

/// Plans on one pair.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The pair.
    pub pair: &'a TokenPair,
    /// What is to be run on it, each plan by itself.
    pub plans: &'a [Plan],
}

/// Carries plans out on a model. Every engine gives the same numbers to 1e-5.
pub trait SweepEngine: Send + Sync {
    /// One outcome a plan, in the order of jobs and plans. `progress` is advanced by one a plan, and polled for a
    /// request to stop, which ends the call with [`InterveneError::Interrupted`].
    fn outcomes(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError>;
}

/// A full forward pass a plan; plans of many pairs share a batch.
#[derive(Debug, Clone, Copy)]
pub struct NaiveEngine {
    /// Tokens of one batch, padding included; at least one run is in every batch.
    pub batch_tokens: usize,
    /// Bytes that the donors' activations of one batch may take.
    pub cache_bytes: usize,
}

impl Default for NaiveEngine {
    fn default() -> Self {
        Self { batch_tokens: 4096, cache_bytes: 256 << 20 }
    }
}

impl SweepEngine for NaiveEngine {
    fn outcomes(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError> {
        check(model, jobs, outcome)?;
        let means = Means::capture(model, jobs, self.batch_tokens)?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        let mut rest = jobs;
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(self.chunk(model, rest, outcome));
            let cache = self.capture_sources(model, chunk, outcome, &means)?;
            outcomes.extend(self.outcomes_from(model, chunk, outcome, &cache, progress)?);
            rest = later;
        }
        Ok(outcomes)
    }
}

impl NaiveEngine {
    /// Runs the donors of `jobs` and keeps what their plans read, in one pass.
    pub fn capture(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
    ) -> Result<ActivationCache, InterveneError> {
        check(model, jobs, outcome)?;
        self.capture_sources(model, jobs, outcome, &Means::capture(model, jobs, self.batch_tokens)?)
    }

    fn capture_sources(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        means: &Means,
    ) -> Result<ActivationCache, InterveneError> {
        let runs: Vec<SourceRun> = source_runs(jobs, outcome, &|job| sides_to_run(job, outcome));
        Ok(ActivationCache::capture(model, &runs, points(jobs), outcome, means)?.0)
    }

    /// Carries the plans out on activations captured before, for the same jobs.
    pub fn outcomes_from(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        cache: &ActivationCache,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError> {
        let mut outcomes: Vec<Vec<f64>> = jobs.iter().map(|job| vec![0.0; job.plans.len()]).collect();
        let mut work = work(jobs, outcome);
        // Runs that write at the same points share a batch, so that a pass copies few activations.
        work.sort_by_key(|a| (a.order, a.length));
        let mut rest = work.as_slice();
        while !rest.is_empty() {
            if progress.cancelled() {
                return Err(InterveneError::Interrupted);
            }
            let (batch, later) = rest.split_at(self.fitting(rest));
            for (run, value) in batch.iter().zip(run_batch(model, batch, outcome, cache)?) {
                if !value.is_finite() {
                    let (pair, plan) = (run.pair.id.clone(), run.plan.to_string());
                    return Err(InterveneError::NotFinite { pair, plan, value });
                }
                if let Some(place) = outcomes.get_mut(run.job).and_then(|values| values.get_mut(run.number)) {
                    *place += value / f64::from(run.plan.draws());
                }
            }
            progress.advance(batch.iter().filter(|run| run.draw == 0).count() as u64);
            rest = later;
        }
        Ok(outcomes)
    }

    /// How many of the next jobs have their donors captured together.
    fn chunk(&self, model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome) -> usize {
        let points = points(jobs);
        let (mut rows, mut longest) = (0, 0);
        let fits = |job: &&Job<'_>| {
            for run in source_runs(std::slice::from_ref(*job), outcome, &|job| sides_to_run(job, outcome)) {
                rows += run.rows.len();
                longest = run.rows.iter().map(|row| row.ids.len()).fold(longest, usize::max);
            }
            let bytes = ActivationCache::bytes_a_token(model, &points, longest).max(1);
            rows * longest <= self.batch_tokens.min(self.cache_bytes / bytes)
        };
        jobs.iter().take_while(fits).count().max(1)
    }

    /// How many of the next runs fill a batch.
    fn fitting(&self, runs: &[Run<'_>]) -> usize {
        let (mut rows, mut longest) = (0, 0);
        let fits = |run: &&Run<'_>| {
            rows += run.rows.len();
            longest = longest.max(run.length);
            rows * longest <= self.batch_tokens
        };
        runs.iter().take_while(fits).count().max(1)
    }
}

/// One plan on one pair and one draw of its noise, with its rows.
struct Run<'a> {
    job: usize,
    number: usize,
    draw: u32,
    pair: &'a TokenPair,
    plan: &'a Plan,
    rows: Vec<RunRow>,
    length: usize,
    order: Option<HookPoint>,
}

fn work<'a>(jobs: &[Job<'a>], outcome: Outcome) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    for (job, &Job { pair, plans }) in jobs.iter().enumerate() {
        for (number, plan) in plans.iter().enumerate() {
            let rows = side_rows(pair, plan.receiver, outcome);
            let length = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
            let order = plan.cells.iter().map(|(site, _)| site.hook()).min();
            let run = |draw| Run { job, number, draw, pair, plan, rows: rows.clone(), length, order };
            runs.extend((0..plan.draws()).map(run));
        }
    }
    runs
}

fn run_batch(
    model: &LanguageModel,
    runs: &[Run<'_>],
    outcome: Outcome,
    cache: &ActivationCache,
) -> Result<Vec<f64>, InterveneError> {
    let rows: Vec<&[RunRow]> = runs.iter().map(|run| run.rows.as_slice()).collect();
    let batch = RunBatch::new(&rows, outcome, model.device())?;
    let mut wiring = Wiring::new(cache, model.architecture(), &batch, 0);
    for (run, &first_row) in runs.iter().zip(&batch.first_rows) {
        let Run { job, draw, pair, plan, rows, .. } = run;
        wiring.add(&Placed { job: *job, draw: *draw, pair, plan, rows, first_row, start: 0 })?;
    }
    let mut hooks = wiring.hooks(model.device())?;
    let keys: Vec<(usize, Side)> = runs.iter().map(|run| (run.job, run.plan.receiver)).collect();
    let reference = cache.log_probs(&keys)?;
    let values = batch.run(model, &mut hooks, reference.as_ref())?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// The points that the plans of `jobs` read from plain runs.
pub(crate) fn points(jobs: &[Job<'_>]) -> BTreeSet<HookPoint> {
    let cells = jobs.iter().flat_map(|job| job.plans).flat_map(|plan| &plan.cells);
    let read = |what: &Intervention| what.reads_donor() || what.resampled().is_some();
    cells.filter(|(_, intervention)| read(intervention)).map(|(site, _)| site.hook()).collect()
}

/// The sides whose plain run is needed: the donors, and for a divergence the receivers.
pub(crate) fn sides_to_run(job: &Job<'_>, outcome: Outcome) -> BTreeSet<Side> {
    let mut sides = BTreeSet::new();
    for plan in job.plans {
        if plan.cells.iter().any(|(_, intervention)| intervention.reads_donor()) {
            sides.insert(plan.receiver.other());
        }
        if outcome == Outcome::Kl {
            sides.insert(plan.receiver);
        }
    }
    sides
}

/// Refuses plans, outcomes and tokens that the model cannot run, before anything is run.
pub(crate) fn check(model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome) -> Result<(), InterveneError> {
    let architecture = model.architecture();
    for job in jobs {
        outcome.resolve(job.pair)?;
        check_tokens(job.pair, architecture.vocab_size)?;
        for plan in job.plans {
            plan.check(architecture)?;
        }
    }
    Ok(())
}

fn check_tokens(pair: &TokenPair, vocabulary: usize) -> Result<(), InterveneError> {
    for side in [Side::Factual, Side::Counterfactual] {
        let [a, b] = pair.answers(side);
        let largest = [&pair.side(side).ids, a, b].into_iter().flatten().max();
        if let Some(token) = largest.filter(|&&token| token as usize >= vocabulary) {
            let message = format!("token {token} is outside the model's vocabulary of {vocabulary}");
            return Err(InterveneError::Pair { pair: pair.id.clone(), message });
        }
    }
    Ok(())
}
