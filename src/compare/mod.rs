//! Records against each other: paired differences item by item, corrected for the number of questions asked.
//!
//! The first record is the baseline; every other is compared with it, candidate − baseline. Both answered the same
//! items, so the same clusters are resampled in both and what makes an item hard cancels. Numbers only: comparing
//! needs no weights. Cost: a bootstrap and a permutation test a metric, milliseconds each.
//!
//! The test is a permutation test: whole clusters trade places between the runs. With C clusters it has no p-value
//! below 2^(1−C), which in a large family leaves nothing to be found however clear it is. Where 2^(1−C) is not below
//! α / (tests in the family), Student's t on clusters (C − 1 degrees of freedom) takes its place. The choice looks at the
//! numbers of clusters and tests alone, never at the data, and each row says which test it had.

mod align;
mod common;
mod draws;
pub mod gate;
mod markdown;
mod pareto;
mod pareto_table;
mod row;
mod settings;
mod table;
mod trade;
mod words;

pub use common::{OnMismatch, align_items};
pub use pareto::{Dominance, Pareto, ParetoObjective, ParetoRun, objective_by_name};
pub use row::{Flips, MetricComparison, Test, Verdict};
pub use settings::{CompareSettings, Margins};
pub use trade::{Change, Cost, Trade};

use serde::{Deserialize, Serialize};

use crate::base::Digest;
use crate::record::RunRecord;
use crate::stats::{benjamini_hochberg, holm};

/// Why records cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// There is nothing to set beside the baseline.
    #[error("a comparison needs at least two records; {0} given")]
    TooFew(usize),
    /// The records scored different items under the same name.
    #[error(
        "eval set `{set}` is not the same in the two records: {first_digest} in `{first}`, {second_digest} in `{second}`; \
         score both checkpoints on the same version of the set"
    )]
    EvalSet {
        /// The eval set.
        set: String,
        /// The baseline's name.
        first: String,
        /// Its digest of the set.
        first_digest: Digest,
        /// The candidate's name.
        second: String,
        /// Its digest of the set.
        second_digest: Digest,
    },
    /// The same metric, defined differently.
    #[error(
        "metric `{metric}` of {population} is defined differently in `{first}` and `{second}` ({what}); \
         score both with the same version of counterpath"
    )]
    Definition {
        /// The metric.
        metric: String,
        /// The population.
        population: String,
        /// The baseline's name.
        first: String,
        /// The candidate's name.
        second: String,
        /// What differs, with both values.
        what: String,
    },
    /// One record lists a metric twice.
    #[error("record `{record}` lists metric `{metric}` of {population} twice; each may stand there once")]
    Twice {
        /// The record.
        record: String,
        /// The metric.
        metric: String,
        /// The population.
        population: String,
    },
    /// Two logs asked different things under the same name.
    #[error(
        "{population} is not the same in `{first}` and `{second}`: {what}; score both on the same prompts ({hint})"
    )]
    Prompts {
        /// The task.
        population: String,
        /// The first run's name.
        first: String,
        /// The other run's name.
        second: String,
        /// What differs, with numbers and an example.
        what: String,
        /// What could be compared nevertheless.
        hint: String,
    },
    /// No metric and population is in both.
    #[error("`{first}` and `{second}` have no metric of the same population in common; nothing can be compared")]
    NothingInCommon {
        /// The baseline's name.
        first: String,
        /// The candidate's name.
        second: String,
    },
}

/// A baseline and what became of it in each candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The baseline's name.
    pub baseline: String,
    /// One entry a candidate, in the order given.
    pub candidates: Vec<CandidateComparison>,
    /// How many headline tests, over all candidates, the Holm correction counts.
    pub family: usize,
    /// The chance of any false "better" or "worse" among the headline metrics.
    pub alpha: f64,
    /// The power at which the minimum detectable effects are stated.
    pub power: f64,
    /// Coverage of the intervals of the differences.
    pub level: f64,
    /// Bootstrap replicates an interval.
    pub replicates: usize,
    /// Random patterns a permutation test, where not all patterns were enumerated.
    pub permutations: usize,
    /// All objectives at once; `None` where fewer than two have a metric that all runs share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pareto: Option<Pareto>,
    /// What was left out or restricted before comparing, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One candidate against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateComparison {
    /// The candidate's name; a number is appended where names repeat.
    pub name: String,
    /// One row a metric and population that both records have, in the baseline's order.
    pub rows: Vec<MetricComparison>,
    /// Metrics that only one of the two records has, and which.
    pub unmatched: Vec<String>,
}

impl CandidateComparison {
    /// The row of a metric (with its variant) on a population.
    pub fn row(&self, metric: &str, population: &str) -> Option<&MetricComparison> {
        self.rows.iter().find(|row| row.metric == metric && row.population == population)
    }
}

impl Comparison {
    /// The table that a terminal shows.
    pub fn table(&self) -> String {
        table::render(self)
    }

    /// The same as Markdown.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }
}

/// How many tests each family has, before any is left out as undefined.
#[derive(Debug, Clone, Copy)]
struct Tests {
    headline: usize,
    exploratory: usize,
}

/// Compares every record after the first with the first.
pub fn compare(records: &[&RunRecord], settings: &CompareSettings) -> Result<Comparison, CompareError> {
    let (baseline, candidates) = match records {
        [baseline, candidates @ ..] if !candidates.is_empty() => (*baseline, candidates),
        _ => return Err(CompareError::TooFew(records.len())),
    };
    let mut matches = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        align::check_eval_sets(baseline, candidate)?;
        matches.push(align::match_scores(baseline, candidate)?);
    }
    let count = |headline: bool| -> usize {
        let pairs = matches.iter().flat_map(|found| &found.pairs);
        pairs.filter(|pair| settings.is_headline(pair.baseline) == headline).count()
    };
    let tests = Tests { headline: count(true), exploratory: count(false) };
    let permutations = settings.permutations(tests.headline);
    let mut compared: Vec<CandidateComparison> = Vec::with_capacity(candidates.len());
    for (candidate, found) in candidates.iter().zip(matches) {
        let rows = found.pairs.iter().map(|pair| row::compare_pair(pair, settings, tests)).collect();
        let name = distinct(&candidate.name, &baseline.name, &compared);
        compared.push(CandidateComparison { name, rows, unmatched: found.unmatched });
    }
    let family = correct(&mut compared, settings.alpha);
    let mut names = vec![baseline.name.clone()];
    names.extend(compared.iter().map(|candidate| candidate.name.clone()));
    Ok(Comparison {
        baseline: baseline.name.clone(),
        candidates: compared,
        family,
        alpha: settings.alpha,
        power: settings.power,
        level: settings.bootstrap.level,
        replicates: settings.bootstrap.replicates,
        permutations,
        pareto: pareto::pareto(records, &names, settings),
        notes: Vec::new(),
    })
}

/// Holm over the headline tests of all candidates, Benjamini–Hochberg over the others; then the verdicts. Returns the
/// size of the headline family.
fn correct(compared: &mut [CandidateComparison], alpha: f64) -> usize {
    let mut family = 0;
    for headline in [true, false] {
        let rows = || compared.iter().flat_map(|candidate| &candidate.rows);
        let p_values: Vec<f64> = rows().filter(|row| row.headline == headline).filter_map(|row| row.p_value).collect();
        let adjusted = if headline { holm(&p_values) } else { benjamini_hochberg(&p_values) };
        if headline {
            family = p_values.len();
        }
        let mut adjusted = adjusted.into_iter();
        let rows = compared.iter_mut().flat_map(|candidate| &mut candidate.rows);
        for row in rows.filter(|row| row.headline == headline) {
            row.adjusted_p = row.p_value.and_then(|_| adjusted.next());
            row.judge(alpha);
        }
    }
    family
}

fn distinct(name: &str, baseline: &str, compared: &[CandidateComparison]) -> String {
    let taken = |name: &str| name == baseline || compared.iter().any(|other| other.name == name);
    if !taken(name) {
        return name.to_owned();
    }
    let numbered = (2usize..).map(|number| format!("{name} ({number})")).find(|numbered| !taken(numbered));
    numbered.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
