//! The plain runs of a group of pairs, and what continues them.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, DType, Tensor};

use super::added::Projections;
use super::batch::{RunBatch, RunRow, side_rows};
use super::begin::{Added, Begin, Family, From, Stage};
use super::cache::{ActivationCache, SourceKey, SourceRun, source_runs};
use super::engine::{Job, points};
use super::error::InterveneError;
use super::fronts::Fronts;
use super::means::Means;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::patch::PatchHooks;
use super::plan::{Plan, Side};
use super::recorded::Recorded;
use super::site::SiteKind;
use super::wiring::{Placed, Wiring};
use crate::model::{HookKind, HookPoint, Hooks, KeyValueCache, LanguageModel, Prefix, Record, Span, Stand, Start};

/// One plan on one pair and one draw of its noise, with its rows.
#[derive(Clone)]
pub(crate) struct Run<'a> {
    pub job: usize,
    pub number: usize,
    pub draw: u32,
    pub pair: &'a TokenPair,
    pub plan: &'a Plan,
    pub rows: Vec<RunRow>,
    /// `None` where nothing changes.
    pub begin: Option<Begin>,
    pub order: Option<HookPoint>,
}

impl<'a> Run<'a> {
    pub fn new(
        (job, number): (usize, usize),
        pair: &'a TokenPair,
        plan: &'a Plan,
        outcome: Outcome,
        family: Family,
    ) -> Result<Self, InterveneError> {
        let order = plan.cells.iter().map(|(site, _)| site.hook()).min();
        let rows = side_rows(pair, plan.receiver, outcome);
        let begin = Begin::of(plan, pair, &rows, family)?;
        Ok(Self { job, number, draw: 0, pair, plan, rows, begin, order })
    }

    /// Where its pass goes on from, and what is added there: alike in a batch.
    pub fn from(&self) -> (From, Option<Added>) {
        let begin = self.begin.unwrap_or_default();
        (begin.from, begin.added)
    }

    /// The first position that it runs.
    pub fn position(&self) -> usize {
        self.begin.unwrap_or_default().position
    }

    /// Tokens that its rows run.
    pub fn tokens(&self) -> usize {
        self.rows.iter().map(|row| row.ids.len().saturating_sub(self.position())).sum()
    }
}

/// The sides that a job runs plainly: receivers, and the donors of what is interchanged.
pub(crate) fn sides_of(job: &Job<'_>) -> BTreeSet<Side> {
    let donors = job.plans.iter().filter(|plan| plan.cells.iter().any(|(_, what)| what.reads_donor()));
    let receivers = job.plans.iter().map(|plan| plan.receiver);
    donors.map(|plan| plan.receiver.other()).chain(receivers).collect()
}

pub(crate) fn rows_of(job: &Job<'_>, outcome: Outcome) -> impl Iterator<Item = RunRow> {
    source_runs(std::slice::from_ref(job), outcome, &sides_of).into_iter().flat_map(|run| run.rows)
}

/// What the plain runs keep: what plans read from donors, and what patched runs go on from.
pub(crate) fn to_keep(
    model: &LanguageModel,
    jobs: &[Job<'_>],
    outcome: Outcome,
) -> Result<BTreeSet<HookPoint>, InterveneError> {
    let (layers, family) = (model.architecture().n_layers, Family::of(model));
    let mut kept = points(jobs);
    for job in jobs {
        for plan in job.plans {
            let rows = side_rows(job.pair, plan.receiver, outcome);
            if let Some(begin) = Begin::of(plan, job.pair, &rows, family)? {
                kept.extend(stored_at(begin.from, layers));
                kept.extend((begin.from.stage == Stage::Heads).then(|| HookPoint::new(HookKind::Z, begin.from.layer)));
                kept.extend(begin.added.map(Added::point));
            }
        }
    }
    Ok(kept)
}

/// The point that holds the stream from which a pass goes on; none at the embeddings.
fn stored_at(from: From, layers: usize) -> Option<HookPoint> {
    match from.stage {
        Stage::Embeddings => None,
        Stage::Middle => Some(HookPoint::new(HookKind::ResidMid, from.layer)),
        Stage::Stream | Stage::Heads if from.layer < layers => Some(HookPoint::new(HookKind::ResidPre, from.layer)),
        Stage::Stream | Stage::Heads => Some(HookPoint::new(HookKind::ResidPost, layers.saturating_sub(1))),
    }
}

/// What the prompts of plain runs begin with in common. Nothing is read before a prompt's last token.
pub(crate) fn fronts(runs: &[SourceRun], kept: &BTreeSet<HookPoint>) -> Fronts {
    // A pattern has a column for each position before it.
    if kept.iter().any(|point| point.kind == HookKind::Pattern) {
        return Fronts::none(runs.len());
    }
    fn text(run: &SourceRun) -> (&[u32], usize) {
        let first = run.rows.first();
        let ids = first.and_then(|row| row.ids.get(..row.prompt.saturating_sub(1)));
        (ids.unwrap_or_default(), run.rows.len())
    }
    Fronts::of(&runs.iter().map(text).collect::<Vec<_>>())
}

/// The plain runs of a group of pairs with all that patched runs continue.
pub(crate) struct PlainRuns {
    kept: ActivationCache,
    stored: KeyValueCache,
    outcomes: BTreeMap<SourceKey, f64>,
    family: Family,
    projections: Projections,
}

impl PlainRuns {
    pub fn store(
        model: &LanguageModel,
        jobs: &[Job<'_>],
        outcome: Outcome,
        means: &Means,
    ) -> Result<Self, InterveneError> {
        let runs: Vec<SourceRun> = source_runs(jobs, outcome, &sides_of);
        let rows = runs.iter().map(|run| run.rows.len()).sum();
        let longest = runs.iter().flat_map(|run| &run.rows).map(|row| row.ids.len()).max().unwrap_or(0);
        let mut stored = model.cache(rows, longest)?;
        let points = to_keep(model, jobs, outcome)?;
        let shared = fronts(&runs, &points);
        let mut recorded = Recorded::new(rows, longest);
        for level in &shared.levels {
            recorded.fronts(model, &mut stored, &runs, level, &points)?;
        }
        let laid: Vec<(&[RunRow], usize)> =
            runs.iter().zip(&shared.starts).map(|(run, start)| (run.rows.as_slice(), *start)).collect();
        let batch = RunBatch::starting(&laid, outcome, Stand::Below, model.device())?;
        let spans = spans(&batch, &(0..rows).collect::<Vec<_>>());
        let mut record = Record::new(points);
        let logits = model.extend(&mut stored, &batch.ids_bt, &spans, batch.readout(), &mut record)?;
        match shared.levels.is_empty() {
            true => recorded.activations = record.take(),
            false => {
                let own = spans.iter().map(|span| vec![span.row]).collect::<Vec<_>>();
                recorded.put(record.take(), &spans, &own)?;
            }
        }
        let values = batch.outcomes(&logits, None)?.to_vec1::<f32>()?;
        let mut outcomes = BTreeMap::new();
        for (run, value) in runs.iter().zip(values) {
            outcomes.extend(run.keys.iter().map(|key| (key.clone(), f64::from(value))));
        }
        let kept = ActivationCache::of(&runs, recorded.activations, longest, means).with_outcomes(outcome, &logits)?;
        Ok(Self { kept, stored, outcomes, family: Family::of(model), projections: Projections::default() })
    }

    /// What of a family decides where its passes go on.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The outcome of a plain run.
    pub fn outcome(&self, (job, side): (usize, Side)) -> f64 {
        self.outcomes.get(&SourceKey::Side(job, side)).copied().unwrap_or(f64::NAN)
    }

    /// Runs a batch of patched runs that go on from the same place.
    pub fn run(&self, model: &LanguageModel, runs: &[Run<'_>], outcome: Outcome) -> Result<Vec<f64>, InterveneError> {
        let laid: Vec<(&[RunRow], usize)> = runs.iter().map(|run| (run.rows.as_slice(), run.position())).collect();
        let batch = RunBatch::starting(&laid, outcome, stand(model, runs), model.device())?;
        let stored = runs.iter().map(Run::position).max().unwrap_or(0);
        let mut wiring = Wiring::new(&self.kept, model.architecture(), &batch, stored);
        let mut continued = Vec::new();
        for (run, &first_row) in runs.iter().zip(&batch.first_rows) {
            let Run { job, draw, pair, plan, rows, .. } = run;
            wiring.add(&Placed { job: *job, draw: *draw, pair, plan, rows, first_row, start: run.position() })?;
            let (first, _) = self.kept.place(&SourceKey::Side(*job, plan.receiver)).unwrap_or_default();
            continued.extend((0..rows.len()).map(|offset| first + offset));
        }
        let spans = spans(&batch, &continued);
        let mut hooks = wiring.hooks(model.device())?;
        let prefix = Some(Prefix { cache: &self.stored, spans: &spans, stand: batch.stand });
        let begin = runs.first().and_then(|run| run.begin).unwrap_or_default();
        let stream_btd = self.stream(model, begin, (&batch, &spans), &mut hooks)?;
        let z_bthk;
        let layer = begin.from.layer;
        let start = match (begin.from.stage, &stream_btd) {
            (Stage::Stream, Some(resid_btd)) => Start::Residual { layer, resid_btd },
            (Stage::Middle, Some(mid_btd)) => Start::Middle { layer, mid_btd },
            (Stage::Heads, Some(resid_btd)) => {
                z_bthk = self.gather(HookPoint::new(HookKind::Z, layer), &batch, &spans)?;
                Start::Heads { layer, resid_btd, z_bthk: &z_bthk }
            }
            _ => Start::Tokens(&batch.ids_bt),
        };
        let logits = model.resume(start, prefix, batch.readout(), &mut hooks)?;
        let keys: Vec<(usize, Side)> = runs.iter().map(|run| (run.job, run.plan.receiver)).collect();
        let reference = self.kept.log_probs(&keys)?;
        let values = batch.outcomes(&logits, reference.as_ref())?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// The stream that a pass goes on from, with what is added and written to it there: `[b, t, d]`.
    fn stream(
        &self,
        model: &LanguageModel,
        begin: Begin,
        (batch, spans): (&RunBatch, &[Span]),
        hooks: &mut PatchHooks,
    ) -> Result<Option<Tensor>, InterveneError> {
        let Some(point) = stored_at(begin.from, model.architecture().n_layers) else { return Ok(None) };
        let mut resid_btd = self.gather(point, batch, spans)?;
        if let Some(added) = begin.added {
            let own = self.gather(added.point(), batch, spans)?;
            let differences = hooks.differences(added.point(), &own)?;
            resid_btd = self.projections.plus(model, added, resid_btd, differences)?;
        }
        let behind = begin.from.layer.checked_sub(1).filter(|_| begin.from.stage == Stage::Stream);
        let behind = behind.map(|layer| HookPoint::new(HookKind::ResidPost, layer));
        match behind.filter(|point| hooks.wants(*point)) {
            Some(point) => Ok(Some(hooks.at(point, resid_btd)?)),
            None => Ok(Some(resid_btd)),
        }
    }

    /// What is stored at a point, each row from its start on, `[b, t, ..]`; padding repeats a row's last token.
    fn gather(&self, point: HookPoint, batch: &RunBatch, spans: &[Span]) -> Result<Tensor, InterveneError> {
        let stored = self.kept.at(point)?;
        let capacity = stored.dim(1)?;
        let places = spans.iter().flat_map(|span| {
            let last = span.start + span.tokens.saturating_sub(1);
            let tokens = if batch.stand == Stand::Behind { span.tokens } else { batch.tokens };
            (0..tokens).map(move |token| (span.row * capacity + (span.start + token).min(last)) as u32)
        });
        let places = Tensor::from_iter(places, stored.device())?;
        let rows = stored.flatten(0, 1)?.index_select(&places, 0)?;
        let (b, t) = batch.ids_bt.dims2()?;
        Ok(match stored.rank() {
            3 => rows.reshape((b, t, stored.dim(D::Minus1)?))?,
            _ => rows.reshape((b, t, stored.dim(2)?, stored.dim(D::Minus1)?))?,
        })
    }
}

/// Rows stand behind each other where that can be done, so that nothing is padded.
fn stand(model: &LanguageModel, runs: &[Run<'_>]) -> Stand {
    let cells = runs.iter().flat_map(|run| &run.plan.cells);
    let patterns = cells.into_iter().any(|(site, _)| site.kind == SiteKind::Pattern);
    let plain = model.device().is_cpu() && model.dtype() == DType::F32;
    if plain && !patterns { Stand::Behind } else { Stand::Below }
}

/// Row i of a batch continues stored row `rows[i]`.
fn spans(batch: &RunBatch, rows: &[usize]) -> Vec<Span> {
    let span =
        |(stretch, &row): (&super::batch::Stretch, &usize)| Span { row, start: stretch.start, tokens: stretch.tokens };
    batch.stretches.iter().zip(rows).map(span).collect()
}
