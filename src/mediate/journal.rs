//! Sweeps that survive a stop: rows go to a journal as they are finished, and the same call goes on where it stopped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::MediateError;
use super::sweep::{Runner, SiteOutcome, SweepRow, SweepSpec, sweep_part};
use crate::base::digest::Hasher;
use crate::base::files::{Column, Journal, RowFile};
use crate::base::{Digest, FileError, files};
use crate::intervene::{Positions, Side, Site, TokenPair};
use crate::model::LanguageModel;

/// Pairs whose rows are computed and kept together.
pub(super) const PAIRS_AT_ONCE: usize = 16;

/// A line of a journal of rows `R`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line<R> {
    /// The request that the rows answer.
    Request { request: Digest },
    /// A pair is complete: so many rows stand before this line.
    Done { done: String, rows: usize },
    /// A row.
    Row(Box<R>),
}

/// Where the journal of an output stands.
pub fn journal_path(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(".journal");
    output.with_file_name(name)
}

/// Runs a sweep into a file: one [`SweepRow`] a pair, site and direction, in the order of the pairs, as Parquet where
/// the name ends in `.parquet` and else as JSONL. `adapter` is the digest of the adapter on the model, where there is one. After a
/// stop or a crash the finished pairs are in [`journal_path`] and the same call goes on behind them; a journal of
/// another request is refused. Gives the number of rows; those of a few pairs are held at a time.
pub fn sweep_to_file(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &SweepSpec,
    adapter: Option<&Digest>,
    output: &Path,
) -> Result<usize, MediateError> {
    let path = journal_path(output);
    fill(runner, pairs, spec, adapter, &path)?;
    publish(&path, pairs, output, &SweepRow::columns(spec.grid), |_: &SweepRow| {})
}

/// The same sweep with the journal itself as the place where the rows are kept: a finished sweep is only read, one
/// that was stopped goes on. Gives the runs, also those of earlier calls.
pub fn sweep_kept(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &SweepSpec,
    adapter: Option<&Digest>,
    journal: &Path,
) -> Result<Vec<SiteOutcome>, MediateError> {
    fill(runner, pairs, spec, adapter, journal)?;
    let mut runs = Vec::new();
    finished_rows(journal, pairs, |pair, row| {
        runs.push(run_of(&row, pair));
        Ok(())
    })?;
    Ok(runs)
}

/// Computes the rows that a journal lacks and adds them.
fn fill(
    runner: Runner<'_>,
    pairs: &[TokenPair],
    spec: &SweepSpec,
    adapter: Option<&Digest>,
    path: &Path,
) -> Result<(), MediateError> {
    spec.check(runner.model.architecture())?;
    let mut started = Started::open::<SweepRow>(path, &request(runner.model, adapter, pairs, &format!("{spec:?}")))?;
    let open = started.open_parts(pairs);
    let counts = open.iter().map(|part| super::sweep::count(runner, part, spec));
    runner.progress.start("sweep", counts.sum::<Result<u64, _>>()?);
    for part in open {
        let runs = sweep_part(runner, part, 0, spec)?;
        for (number, pair) in part.iter().enumerate() {
            let of_pair = runs.iter().filter(|run| run.pair == number);
            let rows: Vec<SweepRow> =
                of_pair.map(|run| SweepRow::new(pair, run, spec.outcome)).collect::<Result<_, _>>()?;
            started.add(pair, &rows)?;
        }
    }
    runner.progress.finish();
    Ok(())
}

/// A journal of rows by pair, and the pairs that are finished in it.
pub(super) struct Started {
    journal: Journal,
    /// The request, until it is written before the first row: one that fails before that stands in nobody's way.
    request: Option<Digest>,
    finished: BTreeSet<String>,
}

impl Started {
    /// Opens the journal of a request; one of another request is refused.
    pub fn open<R: Serialize + DeserializeOwned>(path: &Path, request: &Digest) -> Result<Self, MediateError> {
        let mut finished = BTreeSet::new();
        let mut fresh = true;
        let journal = Journal::replay(path, |line: Line<R>| {
            fresh = false;
            match line {
                Line::Request { request: found } => same_request(path, &found, request)?,
                Line::Done { done, .. } => drop(finished.insert(done)),
                Line::Row(_) => {}
            }
            Ok::<(), MediateError>(())
        })?;
        Ok(Self { journal, request: fresh.then(|| request.clone()), finished })
    }

    /// Parts of the pairs in which one is not finished. They are cut from all pairs, so that a run that goes on batches
    /// what is left as an unbroken one would have.
    pub fn open_parts<'a>(&self, pairs: &'a [TokenPair]) -> Vec<&'a [TokenPair]> {
        let open = |part: &&[TokenPair]| part.iter().any(|pair| !self.finished.contains(&pair.id));
        pairs.chunks(PAIRS_AT_ONCE).filter(open).collect()
    }

    /// Adds a pair's rows, unless they are there.
    pub fn add<R: Serialize>(&mut self, pair: &TokenPair, rows: &[R]) -> Result<(), MediateError> {
        if self.finished.contains(&pair.id) {
            return Ok(());
        }
        if let Some(request) = self.request.take() {
            self.journal.append(&Line::<R>::Request { request })?;
        }
        rows.iter().try_for_each(|row| self.journal.append(row))?;
        Ok(self.journal.append(&Line::<R>::Done { done: pair.id.clone(), rows: rows.len() })?)
    }
}

/// Refuses a journal of another request.
pub(super) fn same_request(path: &Path, found: &Digest, asked: &Digest) -> Result<(), MediateError> {
    if found == asked {
        return Ok(());
    }
    let (found, asked) = (found.short().to_owned(), asked.short().to_owned());
    Err(MediateError::OtherRequest { path: path.to_path_buf(), found, asked })
}

/// Writes the rows of a complete journal into a file, shows each to `each`, and removes the journal. Gives their number.
pub(super) fn publish<R: Serialize + DeserializeOwned>(
    journal: &Path,
    pairs: &[TokenPair],
    output: &Path,
    columns: &[Column],
    mut each: impl FnMut(&R),
) -> Result<usize, MediateError> {
    let mut file = RowFile::create(output, columns)?;
    let mut rows = 0;
    finished_rows(journal, pairs, |_, row: R| {
        rows += 1;
        each(&row);
        Ok(file.push(&row)?)
    })?;
    file.finish()?;
    files::remove(journal)?;
    Ok(rows)
}

/// Hands out the rows of finished pairs with their pair's place, in the order of the pairs.
fn finished_rows<R: DeserializeOwned>(
    path: &Path,
    pairs: &[TokenPair],
    mut each: impl FnMut(usize, R) -> Result<(), MediateError>,
) -> Result<(), MediateError> {
    let mut pending: Vec<R> = Vec::new();
    let mut expected = pairs.iter().enumerate();
    Journal::replay(path, |line: Line<R>| {
        match line {
            Line::Request { .. } => {}
            Line::Row(row) => pending.push(*row),
            Line::Done { done, rows } => {
                let Some((place, _)) = expected.next().filter(|(_, pair)| pair.id == done) else {
                    let message = format!("pair {done:?} does not stand in its place; remove the file");
                    return Err(FileError::Malformed { path: path.to_path_buf(), message }.into());
                };
                // Rows of a pair that was cut off stand before those of the same pair's second run.
                let from = pending.len().saturating_sub(rows);
                pending.drain(..).skip(from).try_for_each(|row| each(place, row))?;
            }
        }
        Ok::<(), MediateError>(())
    })?;
    Ok(())
}

/// The digest of everything that the rows depend on; `spec` is the text of what is asked.
pub(super) fn request(model: &LanguageModel, adapter: Option<&Digest>, pairs: &[TokenPair], spec: &str) -> Digest {
    let mut hasher = Hasher::default();
    hasher.part("model", model.digest().as_str().as_bytes());
    hasher.part("adapter", adapter.map(Digest::as_str).unwrap_or_default().as_bytes());
    hasher.part("sweep", spec.as_bytes());
    pairs.iter().for_each(|pair| hash_pair(&mut hasher, pair));
    hasher.finish()
}

/// Adds a pair: its prompts, answers, slots, what is contrasted and which way it is read.
pub(super) fn hash_pair(hasher: &mut Hasher, pair: &TokenPair) {
    hasher.part("pair", format!("{} {:?}", pair.id, pair.orientation).as_bytes());
    for side in [Side::Factual, Side::Counterfactual] {
        let prompt = pair.side(side);
        hasher.part(
            "prompt",
            format!("{:?} {:?} {:?} {:?}", prompt.ids, prompt.answers, prompt.slots, pair.contrast).as_bytes(),
        );
    }
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
