//! The plain runs of a group of pairs, and what continues them.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{D, DType, Tensor};

use super::batch::{RunBatch, RunRow, side_rows};
use super::begin::{Begin, From};
use super::cache::{ActivationCache, SourceKey, SourceRun, source_runs};
use super::engine::{Job, points};
use super::error::InterveneError;
use super::means::Means;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::patch::PatchHooks;
use super::plan::{Plan, Side};
use super::site::SiteKind;
use super::wiring::{Placed, Wiring};
use crate::model::{HookKind, HookPoint, Hooks, KeyValueCache, LanguageModel, Prefix, Span, Stand, Start};

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
    ) -> Result<Self, InterveneError> {
        let order = plan.cells.iter().map(|(site, _)| site.hook()).min();
        let rows = side_rows(pair, plan.receiver, outcome);
        let begin = Begin::of(plan, pair, &rows)?;
        Ok(Self { job, number, draw: 0, pair, plan, rows, begin, order })
    }

    /// Where its pass goes on from.
    pub fn from(&self) -> From {
        self.begin.unwrap_or_default().from
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
    let layers = model.architecture().n_layers;
    let mut kept = points(jobs);
    for job in jobs {
        for plan in job.plans {
            let rows = side_rows(job.pair, plan.receiver, outcome);
            match Begin::of(plan, job.pair, &rows)?.map(|begin| begin.from) {
                None | Some(From::EMBEDDINGS) => {}
                Some(from) => {
                    kept.insert(stream_before(from.layer(), layers));
                    if from.at_heads() {
                        kept.insert(HookPoint::new(HookKind::Z, from.layer()));
                    }
                }
            }
        }
    }
    Ok(kept)
}

/// The point that holds the stream before a block, or behind the last one.
fn stream_before(layer: usize, layers: usize) -> HookPoint {
    match layer.checked_sub(layers) {
        None => HookPoint::new(HookKind::ResidPre, layer),
        Some(_) => HookPoint::new(HookKind::ResidPost, layers.saturating_sub(1)),
    }
}

/// The plain runs of a group of pairs with all that patched runs continue.
pub(crate) struct PlainRuns {
    kept: ActivationCache,
    stored: KeyValueCache,
    outcomes: BTreeMap<SourceKey, f64>,
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
        let (kept, values) = ActivationCache::capture_by(model, &runs, points, outcome, &mut |batch, hooks| {
            let spans = spans(batch, &(0..rows).collect::<Vec<_>>());
            Ok(model.extend(&mut stored, &batch.ids_bt, &spans, batch.readout(), hooks)?)
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
        let from = runs.first().map(Run::from).unwrap_or_default();
        let (resid_btd, z_bthk);
        let start = match from {
            From::EMBEDDINGS => Start::Tokens(&batch.ids_bt),
            from => {
                let layer = from.layer();
                resid_btd = self.stream(model, layer, (&batch, &spans), &mut hooks)?;
                match from.at_heads() {
                    false => Start::Residual { layer, resid_btd: &resid_btd },
                    true => {
                        z_bthk = self.gather(HookPoint::new(HookKind::Z, layer), &batch, &spans)?;
                        Start::Heads { layer, resid_btd: &resid_btd, z_bthk: &z_bthk }
                    }
                }
            }
        };
        let logits = model.resume(start, prefix, batch.readout(), &mut hooks)?;
        let keys: Vec<(usize, Side)> = runs.iter().map(|run| (run.job, run.plan.receiver)).collect();
        let reference = self.kept.log_probs(&keys)?;
        let values = batch.outcomes(&logits, reference.as_ref())?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// The stream before a block, with what is written to it behind the block before: `[b, t, d]`.
    fn stream(
        &self,
        model: &LanguageModel,
        layer: usize,
        (batch, spans): (&RunBatch, &[Span]),
        hooks: &mut PatchHooks,
    ) -> Result<Tensor, InterveneError> {
        let resid_btd = self.gather(stream_before(layer, model.architecture().n_layers), batch, spans)?;
        let behind = layer.checked_sub(1).map(|layer| HookPoint::new(HookKind::ResidPost, layer));
        match behind.filter(|point| hooks.wants(*point)) {
            Some(point) => Ok(hooks.at(point, resid_btd)?),
            None => Ok(resid_btd),
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
