//! What a sweep costs in theory: multiply–accumulates, with reuse and without.
//!
//! Counted are the products with weights and those of attention (scores and weighted values). Norms, activations and
//! copies are not. A pass over T tokens from position p of a prompt costs, a block, T·W + 2·h·k·Σ(keys seen), with W the
//! weights of the block that a token meets.

use super::batch::{RunRow, side_rows};
use super::begin::{Begin, Family, From, Stage};
use super::cache::source_runs;
use super::engine::Job;
use super::error::InterveneError;
use super::outcome::Outcome;
use super::pair::TokenPair;
use super::places::places;
use super::plain::{fronts, sides_of, to_keep};
use super::plan::Plan;
use super::site::{Part, SiteKind};
use crate::model::{HookKind, LanguageModel, weights_of_a_block};

/// Multiply–accumulates that a sweep takes, and that the naive engine would have taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// With reuse, the plain runs included.
    pub reused: u64,
    /// One full pass a plan and row, unembedding what is read.
    pub naive: u64,
}

impl Operations {
    pub(super) fn of(model: &LanguageModel, jobs: &[Job<'_>], outcome: Outcome) -> Result<Self, InterveneError> {
        let (weights, family) = (Weights::of(model), Family::of(model));
        let mut counted = Self::default();
        let kept = to_keep(model, jobs, outcome)?;
        let runs = source_runs(jobs, outcome, &sides_of);
        let shared = fronts(&runs, &kept);
        let end = weights.end(kept.iter().map(|point| (point.layer, point.kind)));
        for front in shared.levels.iter().flatten() {
            counted.reused += weights.blocks(From::default(), (front.start, front.end), 0, end);
        }
        for (run, &position) in runs.iter().zip(&shared.starts) {
            let begin = Begin { position, ..Begin::default() };
            counted.reused += run.rows.iter().map(|row| weights.pass(row, begin, end, outcome)).sum::<u64>();
        }
        for job in jobs {
            for plan in job.plans {
                let rows = side_rows(job.pair, plan.receiver, outcome);
                let begin = Begin::of(plan, job.pair, &rows, family)?;
                let end = weights.end(plan.cells.iter().map(|(site, _)| (site.layer, site.kind.hook())));
                let draws = u64::from(plan.draws());
                for row in &rows {
                    counted.naive += draws * weights.whole(row);
                    if let Some(begin) = begin {
                        let changed = changed(plan, job.pair, row, begin, model)?;
                        counted.reused += draws * (changed + weights.pass(row, begin, end, outcome));
                    }
                }
            }
        }
        Ok(counted)
    }
}

/// Products of a plan's changes with the projection that they pass on their way to a stored stream.
fn changed(
    plan: &Plan,
    pair: &TokenPair,
    row: &RunRow,
    begin: Begin,
    model: &LanguageModel,
) -> Result<u64, InterveneError> {
    let Some(added) = begin.added.filter(|added| added.through().is_some()) else { return Ok(0) };
    let architecture = model.architecture();
    let mut units = 0;
    for (site, what) in &plan.cells {
        if site.layer != added.layer || site.kind != added.kind {
            continue;
        }
        let places = places(pair, plan.receiver, (site, what), row)?;
        let positions = places.positions.iter().filter(|place| place.own >= begin.position).count();
        let width = match (site.kind, &site.part, site.head) {
            (_, Part::Neurons { first, end }, _) => end.saturating_sub(*first),
            (SiteKind::Z, _, None) => architecture.n_heads * architecture.head_dim,
            (SiteKind::Z, _, Some(_)) => architecture.head_dim,
            _ => architecture.d_mlp,
        };
        units += (positions * width) as u64;
    }
    Ok(units * architecture.d_model as u64)
}

impl std::ops::AddAssign for Operations {
    fn add_assign(&mut self, other: Self) {
        self.reused += other.reused;
        self.naive += other.naive;
    }
}

/// Weights that one token meets.
struct Weights {
    layers: u64,
    /// Of queries.
    into_queries: u64,
    /// Of keys and values.
    into_keys: u64,
    /// Of the heads' output projection.
    out_of_heads: u64,
    /// Of the rest of a block.
    mlp: u64,
    /// Width of all heads together.
    heads: u64,
    /// Of one answer token's logit, and of all.
    logit: u64,
    vocabulary: u64,
}

impl Weights {
    fn of(model: &LanguageModel) -> Self {
        let architecture = model.architecture();
        let [layers, h, g, k, d] = [
            architecture.n_layers,
            architecture.n_heads,
            architecture.n_kv_heads,
            architecture.head_dim,
            architecture.d_model,
        ]
        .map(|size| size as u64);
        let a_block = weights_of_a_block(model);
        let [into_queries, into_keys] = [d * h * k, 2 * d * g * k];
        Self {
            layers,
            into_queries,
            into_keys,
            out_of_heads: into_queries,
            mlp: a_block.saturating_sub(2 * into_queries + into_keys),
            heads: h * k,
            logit: d,
            vocabulary: architecture.vocab_size as u64,
        }
    }

    /// Keys that queries from `start` on see, in a text of `tokens`.
    fn keys(&self, start: u64, tokens: u64) -> u64 {
        (tokens * (tokens + 1) - start * (start + 1)) / 2
    }

    /// A full pass.
    fn whole(&self, row: &RunRow) -> u64 {
        let tokens = row.ids.len() as u64;
        let weights = self.into_queries + self.into_keys + self.out_of_heads + self.mlp;
        let block = tokens * weights + 2 * self.heads * self.keys(0, tokens);
        self.layers * block + row.read_positions() as u64 * self.logit * self.vocabulary
    }

    /// Which parts of the last block run at every position, where something looks at these points of it.
    fn end(&self, points: impl Iterator<Item = (usize, HookKind)>) -> End {
        let mut end = End::default();
        for kind in points.filter(|(layer, _)| *layer as u64 + 1 == self.layers).map(|(_, kind)| kind) {
            match kind {
                HookKind::Q | HookKind::K | HookKind::V | HookKind::Pattern | HookKind::Z => end.queries = true,
                HookKind::ResidPre | HookKind::Embed | HookKind::PosEmbed => {}
                _ => (end.queries, end.behind) = (true, true),
            }
        }
        end
    }

    /// A pass from a place and a position on.
    fn pass(&self, row: &RunRow, begin: Begin, end: End, outcome: Outcome) -> u64 {
        let reads = row.read_positions() as u64;
        let entries = match row.needs_normalizer(outcome) {
            true => reads * self.vocabulary,
            false => 2,
        };
        self.blocks(begin.from, (begin.position, row.ids.len()), reads, end) + entries * self.logit
    }

    /// The blocks from a place on over the positions `start..end`: of the last one queries and all that follows them only
    /// where it is read.
    fn blocks(&self, from: From, (start, end): (usize, usize), reads: u64, whole: End) -> u64 {
        let (start, end) = (start as u64, end as u64);
        let tokens = end.saturating_sub(start);
        let mut sum = 0;
        for layer in from.layer as u64..self.layers {
            let last = layer + 1 == self.layers;
            let stage = if layer == from.layer as u64 { from.stage } else { Stage::Stream };
            let (queries, keys) = match last && !whole.queries {
                true => (reads, reads * end),
                false => (tokens, self.keys(start, end)),
            };
            if stage < Stage::Heads {
                sum += tokens * self.into_keys + queries * self.into_queries + 2 * self.heads * keys;
            }
            let behind = if last && !whole.behind { reads } else { tokens };
            if stage < Stage::Middle {
                sum += behind * self.out_of_heads;
            }
            sum += behind * self.mlp;
        }
        sum
    }
}

/// Which parts of the last block run at every position.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    queries: bool,
    behind: bool,
}
