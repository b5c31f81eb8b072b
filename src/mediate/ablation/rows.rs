//! Runs of an ablation plan, written as they are finished.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::expand::{Cell, Shared};
use super::spec::AblationPlan;
use super::table::AblationTable;
use crate::base::Digest;
use crate::base::files::Column;
use crate::intervene::{Job, LAST, Operations, Outcome, Plan, ReuseEngine, Site, SiteKind, TokenPair};
use crate::mediate::error::MediateError;
use crate::mediate::journal::{self, PAIRS_AT_ONCE, Started, journal_path};
use crate::mediate::sweep::{Runner, receiver};
use crate::model::{Architecture, LanguageModel};
use crate::stats::PatchDirection;

/// What of a set was patched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
pub enum Measure {
    /// All of its sites.
    Joint,
    /// One of them.
    Single {
        /// Which.
        site: Site,
    },
    /// All of them, with everything that could answer held at the receiver's own values.
    Direct,
}

/// One line of an ablation's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// The pair's id.
    pub id: String,
    /// The set's name.
    pub set: String,
    /// What its sites received.
    pub intervention: String,
    /// `noise` or `denoise`.
    pub direction: PatchDirection,
    /// What of it was patched.
    #[serde(flatten)]
    pub measure: Measure,
    /// The receiver's plain outcome.
    pub base: f64,
    /// The other side's plain outcome.
    pub source: f64,
    /// The receiver's outcome under the intervention.
    pub patched: f64,
    /// `patched` − `base`.
    pub effect: f64,
    /// What the outcome is.
    pub outcome: Outcome,
}

impl AblationRow {
    /// The columns of a table of such rows.
    pub fn columns() -> Vec<Column> {
        let mut columns = ["id", "set", "intervention", "direction", "measure"].map(Column::text).to_vec();
        columns.push(Column::text("site").or_null());
        columns.extend(["base", "source", "patched", "effect"].map(Column::number));
        columns.push(Column::text("outcome"));
        columns
    }
}

/// Runs a plan into a file, one [`AblationRow`] a pair, set, intervention, direction and measure, in the order of the
/// pairs, as Parquet where the name ends in `.parquet` and else as JSONL. `adapter` is the digest of the adapter on the
/// model. After a stop the finished pairs are in [`journal_path`] and the same call goes on behind them. Gives the
/// table of effects; rows of a few pairs are held at a time.
pub fn ablate_to_file(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    plan: &AblationPlan,
    adapter: Option<&Digest>,
    output: &Path,
) -> Result<AblationTable, MediateError> {
    let shared = Shared::new(plan, pairs, runner.model)?;
    let path = journal_path(output);
    let request = journal::request(runner.model, adapter, pairs, &format!("{plan:?}"));
    let mut started = Started::open::<AblationRow>(&path, &request)?;
    let open = started.open_parts(pairs);
    let architecture = runner.model.architecture();
    let runs = pairs.first().map(|pair| shared.cells(pair, architecture)).transpose()?.map_or(0, |cells| cells.len());
    let waiting: usize = open.iter().map(|part| part.len()).sum();
    runner.progress.start("ablations", (waiting * (runs + 2 * plan.directions.len())) as u64);
    for part in open {
        for (pair, rows) in part.iter().zip(rows_of(runner, &shared, part)?) {
            started.add(pair, &rows)?;
        }
    }
    runner.progress.finish();
    let mut table = AblationTable::default();
    journal::publish(&path, pairs, output, &AblationRow::columns(), |row| table.add(row))?;
    Ok(table)
}

/// What a plan costs on these pairs, without running it but for the embeddings that noise is measured on.
pub fn ablation_operations(
    engine: &ReuseEngine,
    model: &LanguageModel,
    pairs: &[TokenPair],
    plan: &AblationPlan,
) -> Result<Operations, MediateError> {
    let shared = Shared::new(plan, pairs, model)?;
    let mut counted = Operations::default();
    for part in pairs.chunks(PAIRS_AT_ONCE) {
        let (_, plans) = prepared(&shared, part, model.architecture())?;
        let jobs: Vec<Job<'_>> = part.iter().zip(&plans).map(|(pair, plans)| Job { pair, plans }).collect();
        counted += engine.operations(model, &jobs, plan.outcome)?;
    }
    Ok(counted)
}

/// Cells and plans, pair by pair.
type Prepared = (Vec<Vec<Cell>>, Vec<Vec<Plan>>);

/// The cells of each pair, and their plans behind the plain ones.
fn prepared(shared: &Shared<'_>, part: &[TokenPair], architecture: &Architecture) -> Result<Prepared, MediateError> {
    let cells: Vec<Vec<Cell>> =
        part.iter().map(|pair| shared.cells(pair, architecture)).collect::<Result<_, MediateError>>()?;
    let plans = cells.iter().map(|cells| {
        let mut plans = plain(shared.plan, architecture);
        plans.extend(cells.iter().map(|cell| cell.plan.clone()));
        plans
    });
    let plans = plans.collect();
    Ok((cells, plans))
}

/// Each direction's receiver and its donor.
fn plain(plan: &AblationPlan, architecture: &Architecture) -> Vec<Plan> {
    let both = plan.directions.iter().flat_map(|&direction| {
        let side = receiver(direction);
        // A divergence is from the receiver's own run: the donor's is that of a receiver that ends as the donor does.
        let donor = match plan.outcome {
            Outcome::Kl => {
                let end = Site::at_slot(SiteKind::ResidPost, architecture.n_layers.saturating_sub(1), LAST);
                Plan::interchange(side, &[end])
            }
            _ => Plan::nothing(side.other()),
        };
        [Plan::nothing(side), donor]
    });
    both.collect()
}

fn rows_of(runner: Runner<'_>, shared: &Shared<'_>, part: &[TokenPair]) -> Result<Vec<Vec<AblationRow>>, MediateError> {
    let (cells, plans) = prepared(shared, part, runner.model.architecture())?;
    let jobs: Vec<Job<'_>> = part.iter().zip(&plans).map(|(pair, plans)| Job { pair, plans }).collect();
    let outcomes = runner.outcomes(&jobs, shared.plan.outcome)?;
    let mut all = Vec::with_capacity(part.len());
    for ((pair, cells), outcomes) in part.iter().zip(cells).zip(outcomes) {
        let outcome = shared.plan.outcome.resolve(pair)?;
        let plain = shared.plan.directions.iter().zip(outcomes.chunks(2));
        let plain: BTreeMap<bool, &[f64]> =
            plain.map(|(direction, values)| (*direction == PatchDirection::Noise, values)).collect();
        let patched = outcomes.iter().skip(2 * shared.plan.directions.len());
        let rows = cells.into_iter().zip(patched).filter_map(|(cell, &patched)| {
            let [base, source] = **plain.get(&(cell.direction == PatchDirection::Noise))? else { return None };
            let set = shared.sets.get(cell.set)?.name.clone();
            let (intervention, direction, measure) = (cell.change, cell.direction, cell.measure);
            let effect = patched - base;
            let id = pair.id.clone();
            Some(AblationRow { id, set, intervention, direction, measure, base, source, patched, effect, outcome })
        });
        all.push(rows.collect());
    }
    Ok(all)
}
