//! How often an edge comes back when rows are drawn anew.

use rayon::prelude::*;
use serde::Serialize;

use super::{DiscoverError, Mark, Pattern};
use crate::base::Seed;
use crate::base::seed::index;
use crate::causal::refute::rows_of;
use crate::causal::table::Table;

/// A pair of variables over the resamples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeFrequency {
    /// The first.
    pub a: String,
    /// The second.
    pub b: String,
    /// Share of resamples in which they are joined.
    pub adjacent: f64,
    /// Share with `a → b`.
    pub forward: f64,
    /// Share with `b → a`.
    pub backward: f64,
}

/// Repeats a discovery on `resamples` bootstrap samples of the rows; pairs that were ever joined, often ones first. A
/// resample's draws hang on its number, so that the result is the same at any thread count.
pub fn stability(
    table: &Table,
    resamples: usize,
    seed: Seed,
    discover: &(dyn Fn(&Table) -> Result<Pattern, DiscoverError> + Sync),
) -> Result<Vec<EdgeFrequency>, DiscoverError> {
    let run = |number: usize| {
        let mut rng = seed.fork(&number.to_string()).rng();
        let rows: Vec<usize> = (0..table.rows()).map(|_| index(&mut rng, table.rows())).collect();
        discover(&rows_of(table, &rows)?)
    };
    let patterns: Vec<Pattern> = (0..resamples).into_par_iter().map(run).collect::<Result<_, _>>()?;
    let Some(first) = patterns.first() else { return Ok(Vec::new()) };
    let share = |holds: &dyn Fn(&Pattern) -> bool| {
        patterns.iter().filter(|pattern| holds(pattern)).count() as f64 / patterns.len() as f64
    };
    let names = first.names();
    let mut found = Vec::new();
    for (a, left) in names.iter().enumerate() {
        for (b, right) in names.iter().enumerate().skip(a + 1) {
            let adjacent = share(&|pattern| pattern.adjacent(a, b));
            if adjacent > 0.0 {
                found.push(EdgeFrequency {
                    a: left.clone(),
                    b: right.clone(),
                    adjacent,
                    forward: share(&|pattern| pattern.mark(a, b) == Mark::Arrow && pattern.mark(b, a) == Mark::Tail),
                    backward: share(&|pattern| pattern.mark(b, a) == Mark::Arrow && pattern.mark(a, b) == Mark::Tail),
                });
            }
        }
    }
    found.sort_by(|a, b| b.adjacent.total_cmp(&a.adjacent));
    Ok(found)
}
