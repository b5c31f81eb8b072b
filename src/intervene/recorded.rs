//! Activations of plain runs that several passes make: of what prompts begin with in common, and of each prompt's own rest.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::cache::SourceRun;
use super::error::InterveneError;
use super::fronts::Front;
use crate::model::{HookPoint, KeyValueCache, LanguageModel, Readout, Record, Span};

/// Activations of plain runs, put together from the passes that made them.
pub(crate) struct Recorded {
    rows: usize,
    longest: usize,
    /// `[rows, tokens, ..]` at each point.
    pub activations: BTreeMap<HookPoint, Tensor>,
}

impl Recorded {
    /// Of so many rows of up to `longest` tokens.
    pub fn new(rows: usize, longest: usize) -> Self {
        Self { rows, longest, activations: BTreeMap::new() }
    }

    /// Runs the fronts of one depth, each once, and gives their keys, values and activations to every row that begins
    /// with them.
    pub fn fronts(
        &mut self,
        model: &LanguageModel,
        stored: &mut KeyValueCache,
        runs: &[SourceRun],
        level: &[Front],
        points: &BTreeSet<HookPoint>,
    ) -> Result<(), InterveneError> {
        let mut next = 0;
        let firsts: Vec<usize> = runs
            .iter()
            .map(|run| {
                next += run.rows.len();
                next - run.rows.len()
            })
            .collect();
        let rows_of = |front: &Front| -> Vec<usize> {
            let rows = |&text: &usize| {
                let count = runs.get(text).map_or(0, |run| run.rows.len());
                firsts.get(text).into_iter().flat_map(move |first| *first..first + count)
            };
            front.texts.iter().flat_map(rows).collect()
        };
        let owners: Vec<Vec<usize>> = level.iter().map(rows_of).collect();
        let tokens = level.iter().map(|front| front.end - front.start).max().unwrap_or(0);
        let (mut ids, mut spans) = (Vec::new(), Vec::new());
        for (number, (front, owners)) in level.iter().zip(&owners).enumerate() {
            let row = owners.first().copied().unwrap_or_default();
            spans.push(Span { row, start: front.start, tokens: front.end - front.start });
            let text = front.texts.first().and_then(|&text| runs.get(text)).and_then(|run| run.rows.first());
            ids.extend(text.and_then(|row| row.ids.get(front.start..front.end)).unwrap_or_default());
            ids.resize((number + 1) * tokens, 0);
        }
        let ids_bt = Tensor::from_vec(ids, (level.len(), tokens), model.device())?;
        let mut record = Record::new(points.iter().copied());
        let nothing = Readout::Entries { rows: &[(0, 0)], entries: &[(0, 0)] };
        model.extend(stored, &ids_bt, &spans, nothing, &mut record)?;
        for (span, owners) in spans.iter().zip(&owners) {
            for &row in owners.iter().skip(1) {
                stored.copy(span.row, row, span.start..span.start + span.tokens)?;
            }
        }
        self.put(record.take(), &spans, &owners)
    }

    /// Writes what a pass gave at its own positions to the rows that each of its rows stands for.
    pub fn put(
        &mut self,
        activations: BTreeMap<HookPoint, Tensor>,
        spans: &[Span],
        owners: &[Vec<usize>],
    ) -> Result<(), InterveneError> {
        for (point, activation) in activations {
            let kept = match self.activations.entry(point) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let mut shape = activation.dims().to_vec();
                    shape.splice(..2, [self.rows, self.longest]);
                    entry.insert(Tensor::zeros(shape, activation.dtype(), activation.device())?)
                }
            };
            for (number, (span, owners)) in
                spans.iter().zip(owners).enumerate().filter(|(_, (span, _))| span.tokens > 0)
            {
                let own = activation.narrow(0, number, 1)?.narrow(1, 0, span.tokens)?.contiguous()?;
                for &row in owners {
                    kept.narrow(0, row, 1)?.slice_set(&own, 1, span.start)?;
                }
            }
        }
        Ok(())
    }
}
