//! The engine that computes nothing twice.
//!
//! Patching (layer l, position p) changes nothing below l and nothing before p. So the plain run of each side is made
//! once, with its keys, values and streams stored, and a patched run begins at the stored stream before block l, at
//! position p, over the stored keys and values of what stands before it. A plan that can change nothing (an interchange
//! where both prompts are still the same) is answered by the plain run. All of it is exact: [`NaiveEngine`] stays as the
//! oracle.
//!
//! Cost, in block·positions a row of T tokens and L blocks: (L − l)(T − p) in place of L·T, which over a sweep of all
//! layers and positions is a fourth; and one pass a side.

use super::cache::ActivationCache;
use super::cost::Operations;
use super::engine::{Job, NaiveEngine, SweepEngine, check};
use super::error::InterveneError;
use super::means::Means;
use super::outcome::Outcome;
use super::plain::{PlainRuns, Run, rows_of, to_keep};
use crate::base::Progress;
use crate::model::{LanguageModel, worthwhile_tokens};

/// Starts every patched run at the first block and position that the plan can change.
#[derive(Debug, Clone, Copy)]
pub struct ReuseEngine {
    /// Most tokens of one batch; at least one run is in every batch. How many fill a batch best is chosen by what a
    /// pass costs on the model.
    pub batch_tokens: usize,
    /// Bytes that the stored runs of one group of pairs may take.
    pub cache_bytes: usize,
}

impl Default for ReuseEngine {
    fn default() -> Self {
        Self { batch_tokens: 8192, cache_bytes: 512 << 20 }
    }
}

impl SweepEngine for ReuseEngine {
    fn outcomes(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError> {
        check(model, jobs, outcome)?;
        // Rotary frequencies that follow the text's length leave nothing to continue.
        let served = |job: &Job<'_>| {
            let longest = rows_of(job, outcome).map(|row| row.ids.len()).max().unwrap_or(0);
            longest < 2 || model.cache_serves(1, longest)
        };
        if !jobs.iter().all(served) {
            let naive = NaiveEngine { batch_tokens: self.batch_tokens, cache_bytes: self.cache_bytes };
            return naive.outcomes(model, jobs, outcome, progress);
        }
        let means = Means::capture(model, jobs, self.batch_tokens)?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        let mut rest = jobs;
        while !rest.is_empty() {
            let (group, later) = rest.split_at(self.group(model, rest, outcome)?);
            let plain = PlainRuns::store(model, group, outcome, &means)?;
            outcomes.extend(self.patched(model, group, outcome, &plain, progress)?);
            rest = later;
        }
        Ok(outcomes)
    }
}

impl ReuseEngine {
    /// What these jobs cost, without running them.
    pub fn operations(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
    ) -> Result<Operations, InterveneError> {
        check(model, jobs, outcome)?;
        let mut counted = Operations::default();
        let mut rest = jobs;
        while !rest.is_empty() {
            let (group, later) = rest.split_at(self.group(model, rest, outcome)?);
            counted += Operations::of(model, group, outcome)?;
            rest = later;
        }
        Ok(counted)
    }

    fn patched(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        plain: &PlainRuns,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, InterveneError> {
        let mut outcomes: Vec<Vec<f64>> = jobs.iter().map(|job| vec![0.0; job.plans.len()]).collect();
        let mut work = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            for (place, plan) in job.plans.iter().enumerate() {
                let run = Run::new((number, place), job.pair, plan, outcome, plain.family())?;
                match run.begin {
                    Some(_) => work.extend((0..plan.draws()).map(|draw| Run { draw, ..run.clone() })),
                    None => {
                        put(&mut outcomes, &run, plain.outcome((number, plan.receiver)), 1)?;
                        progress.advance(1);
                    }
                }
            }
        }
        work.sort_by_key(|run| (run.from(), run.order, run.tokens()));
        let most = worthwhile_tokens(model).min(self.batch_tokens);
        for alike in work.chunk_by(|a, b| a.from() == b.from()) {
            // Batches of about one size: a small rest would cost a pass of its own.
            let tokens: usize = alike.iter().map(Run::tokens).sum();
            let each = tokens.div_ceil(tokens.div_ceil(most.max(1)).max(1));
            let mut rest = alike;
            while !rest.is_empty() {
                if progress.cancelled() {
                    return Err(InterveneError::Interrupted);
                }
                let (batch, later) = rest.split_at(fitting(rest, each, most));
                for (run, value) in batch.iter().zip(plain.run(model, batch, outcome)?) {
                    put(&mut outcomes, run, value, run.plan.draws())?;
                }
                progress.advance(batch.iter().filter(|run| run.draw == 0).count() as u64);
                rest = later;
            }
        }
        Ok(outcomes)
    }

    /// How many of the next jobs have their plain runs stored together.
    fn group(&self, model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome) -> Result<usize, InterveneError> {
        let architecture = model.architecture();
        let keys = 2 * architecture.n_layers * architecture.n_kv_heads * architecture.head_dim * 4;
        let kept = to_keep(model, jobs, outcome)?;
        let (mut rows, mut longest) = (0, 0);
        let fits = |job: &&Job<'_>| {
            for row in rows_of(job, outcome) {
                rows += 1;
                longest = longest.max(row.ids.len());
            }
            let bytes = (keys + ActivationCache::bytes_a_token(model, &kept, longest)).max(1);
            rows * longest <= self.batch_tokens.max(1).min(self.cache_bytes / bytes)
        };
        Ok(jobs.iter().take_while(fits).count().max(1))
    }
}

/// How many of the next runs fill a batch of about `each` tokens, and at most `most`; at least one.
fn fitting(runs: &[Run<'_>], each: usize, most: usize) -> usize {
    let mut tokens = 0;
    let fits = |run: &&Run<'_>| {
        let open = tokens < each;
        tokens += run.tokens();
        open && tokens <= most
    };
    runs.iter().take_while(fits).count().max(1)
}

/// Adds one of `draws` outcomes that are averaged.
fn put(outcomes: &mut [Vec<f64>], run: &Run<'_>, value: f64, draws: u32) -> Result<(), InterveneError> {
    if !value.is_finite() {
        let (pair, plan) = (run.pair.id.clone(), run.plan.to_string());
        return Err(InterveneError::NotFinite { pair, plan, value });
    }
    if let Some(place) = outcomes.get_mut(run.job).and_then(|values| values.get_mut(run.number)) {
        *place += value / f64::from(draws);
    }
    Ok(())
}
