//! Sweeps that survive a stop: rows go to a journal as they are finished, and the same call goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::MediateError;
use super::sweep::{Runner, SiteOutcome, SweepRow, SweepSpec, sweep_part};
use crate::base::digest::Hasher;
use crate::base::files::Journal;
use crate::base::{Digest, files};
use crate::intervene::{Positions, Side, Site, TokenPair};
use crate::model::LanguageModel;

/// Pairs whose rows are computed and kept together.
const PAIRS_AT_ONCE: usize = 16;

/// A line of a journal of rows `R`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line<R> {
    /// The request that the rows answer.
    Request { request: Digest },
    /// A pair is complete: so many rows stand before this line.
    Done { done: String, rows: usize },
    /// A row.
    Row(Box<R>),
}

/// The line behind a finished pair's rows.
pub(super) fn done<R>(id: &str, rows: usize) -> Line<R> {
    Line::Done { done: id.to_owned(), rows }
}

/// Where the journal of an output stands.
pub fn journal_path(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(".journal");
    output.with_file_name(name)
}

/// Runs a sweep into a JSONL file: one [`SweepRow`] a pair, site and direction, in the order of the pairs. `adapter`
/// is the digest of the adapter on the model, where there is one. After a stop or a crash the finished pairs are in
/// [`journal_path`] and the same call goes on behind them; a journal of another request is refused. Gives the runs,
/// also those of earlier calls.
pub fn sweep_to_file(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &SweepSpec,
    adapter: Option<&Digest>,
    output: &Path,
) -> Result<Vec<SiteOutcome>, MediateError> {
    let path = journal_path(output);
    let rows = rows_of(runner, pairs, spec, adapter, &path)?;
    files::write_jsonl(output, &rows.iter().map(|(_, row)| row).collect::<Vec<_>>())?;
    files::remove(&path)?;
    Ok(rows.iter().map(|(pair, row)| run_of(row, *pair)).collect())
}

/// The same sweep with the journal itself as the place where the rows are kept: a finished sweep is only read, one
/// that was stopped goes on.
pub fn sweep_kept(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &SweepSpec,
    adapter: Option<&Digest>,
    journal: &Path,
) -> Result<Vec<SiteOutcome>, MediateError> {
    let rows = rows_of(runner, pairs, spec, adapter, journal)?;
    Ok(rows.iter().map(|(pair, row)| run_of(row, *pair)).collect())
}

/// All rows with their pair's place, in the order of the pairs; those that the journal lacks are computed and added.
fn rows_of(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &SweepSpec,
    adapter: Option<&Digest>,
    journal: &Path,
) -> Result<Vec<(usize, SweepRow)>, MediateError> {
    spec.check(runner.model.architecture())?;
    let request = request(runner.model, adapter, pairs, &format!("{spec:?}"));
    let (mut journal, mut rows) = open::<SweepRow>(journal, &request)?;
    let finished: BTreeSet<String> = rows.iter().map(|row| row.id.clone()).collect();
    // Parts are cut from all pairs, so that a run that goes on batches what is left as an unbroken one would have.
    let open: Vec<&[TokenPair]> =
        pairs.chunks(PAIRS_AT_ONCE).filter(|part| part.iter().any(|pair| !finished.contains(&pair.id))).collect();
    let counts = open.iter().map(|part| super::sweep::count(runner, part, spec));
    runner.progress.start("sweep", counts.sum::<Result<u64, _>>()?);
    for part in open {
        let runs = sweep_part(runner, part, 0, spec)?;
        for (number, pair) in part.iter().enumerate().filter(|(_, pair)| !finished.contains(&pair.id)) {
            let mut written = 0;
            for run in runs.iter().filter(|run| run.pair == number) {
                let row = SweepRow::new(pair, run, spec.outcome)?;
                journal.append(&row)?;
                rows.push(row);
                written += 1;
            }
            journal.append(&done::<SweepRow>(&pair.id, written))?;
        }
    }
    runner.progress.finish();
    let places: BTreeMap<&str, usize> =
        pairs.iter().enumerate().map(|(place, pair)| (pair.id.as_str(), place)).collect();
    let place = |row: &SweepRow| places.get(row.id.as_str()).copied().unwrap_or_default();
    let mut placed: Vec<(usize, SweepRow)> = rows.into_iter().map(|row| (place(&row), row)).collect();
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed)
}

/// Opens the journal and gives the rows of finished pairs.
pub(super) fn open<R: Serialize + DeserializeOwned>(
    path: &Path,
    request: &Digest,
) -> Result<(Journal, Vec<R>), MediateError> {
    let (mut journal, lines) = Journal::open::<Line<R>>(path)?;
    let mut rows: Vec<R> = Vec::new();
    let mut pending: Vec<R> = Vec::new();
    let fresh = lines.is_empty();
    for line in lines {
        match line {
            Line::Request { request: found } if found == *request => {}
            Line::Request { request: found } => {
                let (found, asked) = (found.short().to_owned(), request.short().to_owned());
                return Err(MediateError::OtherSweep { path: path.to_path_buf(), found, asked });
            }
            Line::Row(row) => pending.push(*row),
            // Rows of a pair that was cut off stand before those of the same pair's second run.
            Line::Done { rows: count, .. } => {
                let from = pending.len().saturating_sub(count);
                rows.extend(pending.drain(..).skip(from));
            }
        }
    }
    if fresh {
        journal.append(&Line::<R>::Request { request: request.clone() })?;
    }
    Ok((journal, rows))
}

/// The digest of everything that the rows depend on; `spec` is the text of what is asked.
pub(super) fn request(model: &LanguageModel, adapter: Option<&Digest>, pairs: &[TokenPair], spec: &str) -> Digest {
    let mut hasher = Hasher::default();
    hasher.part("model", model.digest().as_str().as_bytes());
    hasher.part("adapter", adapter.map(Digest::as_str).unwrap_or_default().as_bytes());
    hasher.part("sweep", spec.as_bytes());
    for pair in pairs {
        hasher.part("pair", pair.id.as_bytes());
        for side in [Side::Factual, Side::Counterfactual] {
            let prompt = pair.side(side);
            hasher.part(
                "prompt",
                format!("{:?} {:?} {:?} {:?}", prompt.ids, prompt.answers, prompt.slots, pair.contrast).as_bytes(),
            );
        }
    }
    hasher.finish()
}

fn run_of(row: &SweepRow, pair: usize) -> SiteOutcome {
    let positions = match (&row.slot, row.position) {
        (Some(name), _) => Positions::Slot(name.clone()),
        (None, Some(index)) => Positions::Index(index),
        (None, None) => Positions::All,
    };
    let site = Site { head: row.head, ..Site::at(row.site, row.layer, positions) };
    SiteOutcome { pair, site, direction: row.direction, base: row.base, source: row.source, patched: row.patched }
}
