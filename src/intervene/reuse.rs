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

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, Tensor};

use super::batch::{RunBatch, RunRow, side_rows};
use super::cache::{ActivationCache, SourceKey, SourceRun, source_runs};
use super::engine::{Job, NaiveEngine, SweepEngine, check, points};
use super::error::InterveneError;
use super::means::Means;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::places::{Place, places};
use super::plan::{Plan, Side};
use super::site::{Site, SiteKind};
use super::wiring::{Placed, Wiring};
use crate::base::Progress;
use crate::model::{HookKind, HookPoint, KeyValueCache, LanguageModel, Prefix, Readout, Span, Start};

/// Starts every patched run at the first block and position that the plan can change.
#[derive(Debug, Clone, Copy)]
pub struct ReuseEngine {
    /// Tokens of one batch, padding included; at least one run is in every batch.
    pub batch_tokens: usize,
    /// Bytes that the stored runs of one group of pairs may take.
    pub cache_bytes: usize,
}

impl Default for ReuseEngine {
    fn default() -> Self {
        Self { batch_tokens: 4096, cache_bytes: 512 << 20 }
    }
}

/// Block·positions that a sweep runs, and that the naive engine would have run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// With reuse, the plain runs included.
    pub reused: u64,
    /// One full pass a plan.
    pub naive: u64,
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
            let (group, later) = rest.split_at(self.group(model, rest, outcome));
            let plain = PlainRuns::store(model, group, outcome, &means)?;
            outcomes.extend(self.patched(model, group, outcome, &plain, progress)?);
            rest = later;
        }
        Ok(outcomes)
    }
}

impl ReuseEngine {
    /// What these jobs cost.
    pub fn operations(
        &self,
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
    ) -> Result<Operations, InterveneError> {
        check(model, jobs, outcome)?;
        let layers = model.architecture().n_layers;
        let mut counted = Operations::default();
        for job in jobs {
            counted.reused += rows_of(job, outcome).map(|row| (layers * row.ids.len()) as u64).sum::<u64>();
            for plan in job.plans {
                let rows = side_rows(job.pair, plan.receiver, outcome);
                let begin = Begin::of(plan, job.pair, &rows)?;
                for row in &rows {
                    let draws = u64::from(plan.draws());
                    counted.naive += draws * (layers * row.ids.len()) as u64;
                    counted.reused += draws
                        * begin.map_or(0, |begin| (layers - begin.layer) * (row.ids.len() - begin.position)) as u64;
                }
            }
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
                let run = Run::new((number, place), job.pair, plan, outcome)?;
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
        let mut rest = work.as_slice();
        while !rest.is_empty() {
            if progress.cancelled() {
                return Err(InterveneError::Interrupted);
            }
            let (batch, later) = rest.split_at(self.fitting(rest));
            for (run, value) in batch.iter().zip(plain.run(model, batch, outcome)?) {
                put(&mut outcomes, run, value, run.plan.draws())?;
            }
            progress.advance(batch.iter().filter(|run| run.draw == 0).count() as u64);
            rest = later;
        }
        Ok(outcomes)
    }

    /// How many of the next jobs have their plain runs stored together.
    fn group(&self, model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome) -> usize {
        let architecture = model.architecture();
        let keys = 2 * architecture.n_layers * architecture.n_kv_heads * architecture.head_dim * 4;
        let kept = to_keep(jobs, &points(jobs));
        let (mut rows, mut longest) = (0, 0);
        let fits = |job: &&Job<'_>| {
            for row in rows_of(job, outcome) {
                rows += 1;
                longest = longest.max(row.ids.len());
            }
            let bytes = (keys + ActivationCache::bytes_a_token(model, &kept, longest)).max(1);
            rows * longest <= self.batch_tokens.max(1).min(self.cache_bytes / bytes)
        };
        jobs.iter().take_while(fits).count().max(1)
    }

    /// How many of the next runs, all from the same block on, fill a batch.
    fn fitting(&self, runs: &[Run<'_>]) -> usize {
        let (mut rows, mut longest) = (0, 0);
        let from = runs.first().map(Run::from);
        let fits = |run: &&Run<'_>| {
            rows += run.rows.len();
            longest = longest.max(run.tokens());
            Some(run.from()) == from && rows * longest <= self.batch_tokens
        };
        runs.iter().take_while(fits).count().max(1)
    }
}

/// The first block and position that a plan can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Begin {
    layer: usize,
    position: usize,
    /// Whether it changes embeddings, so that even they are made anew.
    embeds: bool,
}

impl Begin {
    /// `None` where the plan can change nothing. `rows` are the receiver's.
    fn of(plan: &Plan, pair: &TokenPair, rows: &[RunRow]) -> Result<Option<Self>, InterveneError> {
        let mut begin: Option<Self> = None;
        let front = pair.shared_front();
        for (site, intervention) in &plan.cells {
            for row in rows {
                let places = places(pair, plan.receiver, (site, intervention), row)?;
                let aligned = places.sources.iter().flatten().all(|source| source.own == source.donor);
                let changes = |place: &&Place| {
                    let same = place.own < front || made_of_one_token(site) && same_token(pair, plan.receiver, **place);
                    !(intervention.reads_donor() && aligned && place.own == place.donor && same)
                };
                if let Some(position) = places.positions.iter().filter(changes).map(|place| place.own).min() {
                    let earlier = begin.unwrap_or(Self { layer: usize::MAX, position: usize::MAX, embeds: false });
                    begin = Some(Self {
                        layer: site.layer.min(earlier.layer),
                        position: position.min(earlier.position),
                        embeds: site.kind.is_embedding() || earlier.embeds,
                    });
                }
            }
        }
        Ok(begin)
    }
}

/// Whether what stands at a position of this site depends on that position's token alone.
fn made_of_one_token(site: &Site) -> bool {
    use SiteKind::{Embed, K, PosEmbed, Q, ResidPre, V};
    site.layer == 0 && matches!(site.kind, Embed | PosEmbed | ResidPre | Q | K | V)
}

fn same_token(pair: &TokenPair, receiver: Side, place: Place) -> bool {
    let token = |side: Side, position: usize| pair.side(side).ids.get(position);
    place.own == place.donor && token(receiver, place.own) == token(receiver.other(), place.donor)
}

/// One plan on one pair and one draw of its noise, with its rows.
#[derive(Clone)]
struct Run<'a> {
    job: usize,
    number: usize,
    draw: u32,
    pair: &'a TokenPair,
    plan: &'a Plan,
    rows: Vec<RunRow>,
    begin: Option<Begin>,
    order: Option<HookPoint>,
}

impl<'a> Run<'a> {
    fn new(
        (job, number): (usize, usize),
        pair: &'a TokenPair,
        plan: &'a Plan,
        outcome: Outcome,
    ) -> Result<Self, InterveneError> {
        let order = plan.cells.iter().map(|(site, _)| site.hook()).min();
        let rows = side_rows(pair, plan.receiver, outcome);
        // What is read first stands at the prompt's last position.
        let last = pair.side(plan.receiver).ids.len().saturating_sub(1);
        let begin = Begin::of(plan, pair, &rows)?;
        let begin = begin.map(|begin| Begin { position: begin.position.min(last), ..begin });
        Ok(Self { job, number, draw: 0, pair, plan, rows, begin, order })
    }

    /// The block that it starts before, embeddings before all of them.
    fn from(&self) -> (bool, usize) {
        let begin = self.begin.unwrap_or_default();
        (!begin.embeds, begin.layer)
    }

    fn position(&self) -> usize {
        self.begin.unwrap_or_default().position
    }

    /// Tokens of its longest row.
    fn tokens(&self) -> usize {
        self.rows.iter().map(|row| row.ids.len()).max().unwrap_or(0).saturating_sub(self.position())
    }
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

/// The sides that a job runs plainly: receivers, and the donors of what is interchanged.
fn sides_of(job: &Job<'_>) -> BTreeSet<Side> {
    let donors = job.plans.iter().filter(|plan| plan.cells.iter().any(|(_, what)| what.reads_donor()));
    let receivers = job.plans.iter().map(|plan| plan.receiver);
    donors.map(|plan| plan.receiver.other()).chain(receivers).collect()
}

fn rows_of(job: &Job<'_>, outcome: Outcome) -> impl Iterator<Item = RunRow> {
    source_runs(std::slice::from_ref(job), outcome, &sides_of).into_iter().flat_map(|run| run.rows)
}

/// What the plain runs keep: what plans read from donors, and the streams that patched runs begin at.
fn to_keep(jobs: &[Job<'_>], read: &BTreeSet<HookPoint>) -> BTreeSet<HookPoint> {
    let cells =
        jobs.iter().flat_map(|job| job.plans).filter_map(|plan| plan.cells.iter().map(|(site, _)| site.layer).min());
    cells.map(|layer| HookPoint::new(HookKind::ResidPre, layer)).chain(read.iter().copied()).collect()
}

/// The plain runs of a group of pairs with all that patched runs continue.
struct PlainRuns {
    kept: ActivationCache,
    stored: KeyValueCache,
    outcomes: BTreeMap<SourceKey, f64>,
}

impl PlainRuns {
    fn store(model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome, means: &Means) -> Result<Self, InterveneError> {
        let runs: Vec<SourceRun> = source_runs(jobs, outcome, &sides_of);
        let rows = runs.iter().map(|run| run.rows.len()).sum();
        let longest = runs.iter().flat_map(|run| &run.rows).map(|row| row.ids.len()).max().unwrap_or(0);
        let mut stored = model.cache(rows, longest)?;
        let points = to_keep(jobs, &points(jobs));
        let (kept, values) = ActivationCache::capture_by(model, &runs, points, outcome, &mut |batch, hooks| {
            let spans = spans(batch, &(0..rows).collect::<Vec<_>>());
            Ok(model.extend(&mut stored, &batch.ids_bt, &spans, Readout::Rows(&batch.readout), hooks)?)
        })?;
        let values = match values {
            Some(values) => values.to_vec1::<f32>()?,
            None => Vec::new(),
        };
        let mut outcomes = BTreeMap::new();
        for (run, value) in runs.iter().zip(values) {
            outcomes.extend(run.keys.iter().map(|key| (key.clone(), f64::from(value))));
        }
        Ok(Self { kept: kept.with_means(means), stored, outcomes })
    }

    /// The outcome of a plain run.
    fn outcome(&self, (job, side): (usize, Side)) -> f64 {
        self.outcomes.get(&SourceKey::Side(job, side)).copied().unwrap_or(f64::NAN)
    }

    /// Runs a batch of patched runs that begin before the same block.
    fn run(&self, model: &LanguageModel, runs: &[Run<'_>], outcome: Outcome) -> Result<Vec<f64>, InterveneError> {
        let laid: Vec<(&[RunRow], usize)> = runs.iter().map(|run| (run.rows.as_slice(), run.position())).collect();
        let batch = RunBatch::starting(&laid, outcome, model.device())?;
        let stored = runs.iter().map(Run::position).max().unwrap_or(0);
        let mut wiring = Wiring::new(&self.kept, model.architecture(), batch.tokens, stored);
        let mut continued = Vec::new();
        for (run, &first_row) in runs.iter().zip(&batch.first_rows) {
            let Run { job, draw, pair, plan, rows, .. } = run;
            wiring.add(&Placed { job: *job, draw: *draw, pair, plan, rows, first_row, start: run.position() })?;
            let (first, _) = self.kept.place(&SourceKey::Side(*job, plan.receiver)).unwrap_or_default();
            continued.extend((0..rows.len()).map(|offset| first + offset));
        }
        let spans = spans(&batch, &continued);
        let mut hooks = wiring.hooks(model.device())?;
        let prefix = Some(Prefix { cache: &self.stored, spans: &spans });
        let resid_btd: Tensor;
        let start = match runs.first().map_or((true, 0), Run::from) {
            (false, _) => Start::Tokens(&batch.ids_bt),
            (true, layer) => {
                resid_btd = self.stream(layer, &spans, batch.tokens)?;
                Start::Residual { layer, resid_btd: &resid_btd }
            }
        };
        let logits_nv = model.resume(start, prefix, Readout::Rows(&batch.readout), &mut hooks)?;
        let keys: Vec<(usize, Side)> = runs.iter().map(|run| (run.job, run.plan.receiver)).collect();
        let reference = self.kept.log_probs(&keys)?;
        let values = batch.outcomes(&logits_nv, reference.as_ref())?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// The stored stream before a block, `[b, t, d]`, each row from its start on; padding repeats a row's last token.
    fn stream(&self, layer: usize, spans: &[Span], tokens: usize) -> Result<Tensor, InterveneError> {
        let point = HookPoint::new(HookKind::ResidPre, layer);
        let (_, width) = self.kept.extent(point)?;
        let places = spans.iter().flat_map(|span| {
            let last = span.start + span.tokens.saturating_sub(1);
            (0..tokens).map(move |token| (span.row * width + (span.start + token).min(last)) as u32)
        });
        let rows = self.kept.unit_rows(point, places.collect())?;
        let model_width = rows.dim(D::Minus1)?;
        Ok(rows.reshape((spans.len(), tokens, model_width))?)
    }
}

/// Row i of a batch continues stored row `rows[i]`.
fn spans(batch: &RunBatch, rows: &[usize]) -> Vec<Span> {
    let span =
        |(stretch, &row): (&super::batch::Stretch, &usize)| Span { row, start: stretch.start, tokens: stretch.tokens };
    batch.stretches.iter().zip(rows).map(span).collect()
}
