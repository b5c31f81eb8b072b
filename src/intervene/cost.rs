//! What a sweep costs in theory: multiply–accumulates, with reuse and without.
//!
//! Counted are the products with weights and those of attention (scores and weighted values). Norms, activations and
//! copies are not. A pass over T tokens from position p of a prompt costs, a block, T·W + 2·h·k·Σ(keys seen), with W the
//! weights of the block that a token meets.

use super::batch::{RunRow, side_rows};
use super::begin::{Begin, From};
use super::engine::Job;
use super::error::InterveneError;
use super::outcome::Outcome;
use super::plain::rows_of;
use crate::model::LanguageModel;

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
        let weights = Weights::of(model);
        let mut counted = Self::default();
        for job in jobs {
            let plain = rows_of(job, outcome).map(|row| weights.pass(&row, Begin::default(), outcome));
            counted.reused += plain.sum::<u64>();
            for plan in job.plans {
                let rows = side_rows(job.pair, plan.receiver, outcome);
                let begin = Begin::of(plan, job.pair, &rows)?;
                let draws = u64::from(plan.draws());
                for row in &rows {
                    counted.naive += draws * weights.whole(row);
                    counted.reused += draws * begin.map_or(0, |begin| weights.pass(row, begin, outcome));
                }
            }
        }
        Ok(counted)
    }
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
    /// Of queries, keys and values.
    into_heads: u64,
    /// Of the rest of a block.
    behind_heads: u64,
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
        let modules = model.linear_modules();
        let blocks = modules.iter().filter(|module| !module.is_output_embedding);
        let all = blocks.map(|module| {
            let weights = (module.in_features * module.out_features) as u64;
            match architecture.experts {
                Some(experts) if module.name.contains("experts.") => {
                    weights * experts.chosen as u64 / (experts.number as u64).max(1)
                }
                _ => weights,
            }
        });
        let a_block = all.sum::<u64>() / layers.max(1);
        let into_heads = d * (h + 2 * g) * k;
        Self {
            layers,
            into_heads,
            behind_heads: a_block.saturating_sub(into_heads),
            heads: h * k,
            logit: d,
            vocabulary: architecture.vocab_size as u64,
        }
    }

    /// Scores and weighted values of queries from `start` on, in a text of `tokens`.
    fn attention(&self, start: u64, tokens: u64) -> u64 {
        let keys = (tokens * (tokens + 1) - start * (start + 1)) / 2;
        2 * self.heads * keys
    }

    /// A full pass.
    fn whole(&self, row: &RunRow) -> u64 {
        let tokens = row.ids.len() as u64;
        let block = tokens * (self.into_heads + self.behind_heads) + self.attention(0, tokens);
        self.layers * block + row.read_positions() as u64 * self.logit * self.vocabulary
    }

    /// A pass from a place and a position on: the last block behind its heads only where it is read.
    fn pass(&self, row: &RunRow, begin: Begin, outcome: Outcome) -> u64 {
        let (end, start) = (row.ids.len() as u64, begin.position as u64);
        let tokens = end.saturating_sub(start);
        let reads = row.read_positions() as u64;
        let mut sum = 0;
        for layer in begin.from.layer() as u64..self.layers {
            if From::heads(layer as usize) != begin.from {
                sum += tokens * self.into_heads + self.attention(start, end);
            }
            let behind = if layer + 1 == self.layers { reads } else { tokens };
            sum += behind * self.behind_heads;
        }
        let entries = match row.needs_normalizer(outcome) {
            true => reads * self.vocabulary,
            false => 2,
        };
        sum + entries * self.logit
    }
}
