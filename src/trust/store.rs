//! Finished scores, kept by content: a score hangs on the checkpoint and the token ids, so whatever asks for the same
//! tokens on the same checkpoint again (another metric, a resumed run) reads it instead of running the model.
//!
//! The journal is append-only, one line a finished batch: a kill at any byte loses the batch in flight and nothing else.
//! Batches are cut from the whole request list before the journal is consulted, so a resumed run forms the same batches and
//! gives the same bytes as one that was never stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TrustError;
use crate::base::digest::{Digest, Hasher};
use crate::base::files::Journal;
use crate::base::{FileError, Progress};

/// What the model said to one request: the log-likelihood of each continuation, and whether greedy decoding gives it where
/// that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// log p(continuation | context), nats, one a continuation.
    pub loglikelihoods: Vec<f64>,
    /// Whether every token of the (only) continuation is the most likely one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_greedy: Option<bool>,
}

/// One line of the journal.
#[derive(Serialize, Deserialize)]
struct Batch {
    scores: Vec<(String, Finished)>,
}

/// Finished scores in memory, and in a journal where one was opened.
#[derive(Default)]
pub struct ScoreStore {
    journal: Option<Journal>,
    finished: BTreeMap<String, Finished>,
}

impl ScoreStore {
    /// Keeps scores in memory alone.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens or makes a journal and takes up what is finished in it. Fails before any model runs where the folder cannot
    /// be written.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (journal, batches) = Journal::open::<Batch>(path)?;
        let finished = batches.into_iter().flat_map(|batch| batch.scores).collect();
        Ok(Self { journal: Some(journal), finished })
    }

    /// Number of finished scores.
    pub fn len(&self) -> usize {
        self.finished.len()
    }

    /// Whether nothing is finished.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    fn add(&mut self, scores: Vec<(String, Finished)>) -> Result<(), FileError> {
        let batch = Batch { scores };
        if let Some(journal) = &mut self.journal {
            journal.append(&batch)?;
        }
        self.finished.extend(batch.scores);
        Ok(())
    }
}

/// Builds the keys of one checkpoint's scores.
#[derive(Clone)]
pub struct Keys(Hasher);

impl Keys {
    /// For a checkpoint: the digest of its weights and, where it has one, of its adapter.
    pub fn of(model: &Digest, adapter: Option<&Digest>) -> Self {
        let mut hasher = Hasher::default();
        hasher.part("model", model.as_str().as_bytes());
        hasher.part("adapter", adapter.map_or("", Digest::as_str).as_bytes());
        Self(hasher)
    }

    /// The key of a context with its continuations, as token ids. `kind` separates what was asked for.
    pub fn key<'a>(&self, kind: &str, context: &[u32], continuations: impl IntoIterator<Item = &'a [u32]>) -> String {
        let bytes = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
        let mut hasher = self.0.clone();
        hasher.part(kind, &bytes(context));
        for continuation in continuations {
            hasher.part("continuation", &bytes(continuation));
        }
        // 128 bits: as good as the whole against accidents, half as long in every line of the journal.
        hasher.finish().as_str().chars().skip(7).take(32).collect()
    }
}

/// One thing to score: its key and what the model reads for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// From [`Keys::key`].
    pub key: String,
    /// The longest sequence that is run for it. Jobs that run the same sequence stand side by side in a batch, so that
    /// whoever runs them can share it.
    pub ids: Vec<u32>,
    /// Sequences that are run for it.
    pub rows: usize,
}

/// Runs what is not finished yet, in batches of at most `batch_tokens` padded tokens, and answers in the order of `jobs`.
///
/// Equal keys are run once. The longest jobs run first, so that a batch that does not fit into memory shows at the start.
/// `run` gets indexes into `jobs` and returns their results in that order.
///
/// # Errors
/// What `run` and the journal return; [`TrustError::Interrupted`] between batches once the user asked to stop.
pub fn finish(
    jobs: &[Job],
    batch_tokens: usize,
    store: &mut ScoreStore,
    progress: &dyn Progress,
    mut run: impl FnMut(&[usize]) -> Result<Vec<Finished>, TrustError>,
) -> Result<Vec<Finished>, TrustError> {
    for batch in batches(jobs, batch_tokens) {
        if progress.cancelled() {
            return Err(TrustError::Interrupted);
        }
        let key = |index: usize| jobs.get(index).map(|job| job.key.clone()).unwrap_or_default();
        let missing: Vec<usize> =
            batch.iter().copied().filter(|&index| !store.finished.contains_key(&key(index))).collect();
        if !missing.is_empty() {
            let results = run(&missing)?;
            store.add(missing.iter().map(|&index| key(index)).zip(results).collect())?;
        }
        progress.advance(batch.len() as u64);
    }
    let answer = |job: &Job| store.finished.get(&job.key).cloned();
    jobs.iter().map(|job| answer(job).ok_or_else(|| TrustError::Unscored { item: job.key.clone() })).collect()
}

/// Number of distinct keys: what a progress bar counts.
pub fn distinct(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.key.as_str()).collect::<BTreeSet<_>>().len()
}

/// Indexes of the first job of each key, longest first, cut so that longest × distinct rows stays within `batch_tokens`.
fn batches(jobs: &[Job], batch_tokens: usize) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut order: Vec<(usize, &Job)> =
        jobs.iter().enumerate().filter(|(_, job)| seen.insert(job.key.as_str())).collect();
    order.sort_by(|(_, a), (_, b)| {
        b.ids.len().cmp(&a.ids.len()).then_with(|| a.ids.cmp(&b.ids)).then_with(|| a.key.cmp(&b.key))
    });
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let (mut longest, mut rows) = (0, 0);
    let mut before: Option<&Job> = None;
    for (index, job) in order {
        let shares = before.is_some_and(|before| before.ids == job.ids && before.rows == job.rows);
        let needed = if shares { 0 } else { job.rows };
        if batches.is_empty() || longest * (rows + needed) > batch_tokens {
            batches.push(Vec::new());
            (longest, rows) = (job.ids.len(), 0);
        }
        rows += needed.max(usize::from(rows == 0));
        batches.iter_mut().last().into_iter().for_each(|batch| batch.push(index));
        before = Some(job);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Silent;
    use std::path::PathBuf;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("counterpath-store-{}-{name}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn jobs(lengths: &[usize]) -> Vec<Job> {
        lengths
            .iter()
            .enumerate()
            .map(|(i, &length)| Job { key: format!("k{i}"), ids: vec![7; length], rows: 1 })
            .collect()
    }

    /// Scores each job by its length and remembers what was run.
    fn run_all(
        jobs: &[Job],
        store: &mut ScoreStore,
        fail_at: Option<usize>,
    ) -> (Result<Vec<Finished>, TrustError>, Vec<Vec<usize>>) {
        let mut ran = Vec::new();
        let result = finish(jobs, 20, store, &Silent, |indexes| {
            if Some(ran.len()) == fail_at {
                return Err(TrustError::Interrupted);
            }
            ran.push(indexes.to_vec());
            Ok(indexes
                .iter()
                .map(|&i| Finished { loglikelihoods: vec![-(jobs[i].ids.len() as f64)], is_greedy: None })
                .collect())
        });
        (result, ran)
    }

    #[test]
    fn equal_keys_run_once_and_answers_keep_their_order() {
        let mut jobs = jobs(&[3, 9, 5]);
        jobs.push(jobs[0].clone());
        let (result, ran) = run_all(&jobs, &mut ScoreStore::in_memory(), None);
        let values: Vec<f64> = result.expect("scores").iter().map(|f| f.loglikelihoods[0]).collect();
        assert_eq!(values, [-3.0, -9.0, -5.0, -3.0]);
        // 9 and 5 share a batch of 2 × 9 = 18 tokens; a third row would make 27.
        assert_eq!(ran, [vec![1, 2], vec![0]]);
        assert_eq!(distinct(&jobs), 3);
    }

    #[test]
    fn jobs_that_run_the_same_tokens_share_a_batch() {
        let mut jobs = jobs(&[12, 12, 12, 12]);
        for (index, job) in jobs.iter_mut().enumerate() {
            job.ids = vec![index as u32 % 2; 12];
        }
        let (_, ran) = run_all(&jobs, &mut ScoreStore::in_memory(), None);
        assert_eq!(ran, [vec![0, 2], vec![1, 3]], "two distinct rows of 12 tokens do not fit into 20");
    }

    #[test]
    fn a_stopped_run_resumes_with_the_same_batches() {
        let path = scratch("resume");
        let jobs = jobs(&[3, 9, 5, 8, 7, 2, 10, 4]);
        let (uninterrupted, all) = run_all(&jobs, &mut ScoreStore::in_memory(), None);
        let mut store = ScoreStore::open(&path).expect("journal");
        let (stopped, before) = run_all(&jobs, &mut store, Some(1));
        assert!(matches!(stopped, Err(TrustError::Interrupted)));
        drop(store);
        // A kill in the middle of a line.
        let mut bytes = std::fs::read(&path).expect("journal");
        bytes.extend_from_slice(b"{\"scores\":[[\"k0\",{\"logl");
        std::fs::write(&path, bytes).expect("half a line");
        let mut store = ScoreStore::open(&path).expect("journal");
        assert_eq!(store.len(), before.iter().map(Vec::len).sum::<usize>());
        let (resumed, after) = run_all(&jobs, &mut store, None);
        assert_eq!(resumed.expect("scores"), uninterrupted.expect("scores"));
        assert_eq!([before, after].concat(), all);
    }

    #[test]
    fn keys_tell_checkpoints_and_splits_apart() {
        let digest = Digest::of(b"weights");
        let adapter = Digest::of(b"adapter");
        let (base, tuned) = (Keys::of(&digest, None), Keys::of(&digest, Some(&adapter)));
        let key = |keys: &Keys, context: &[u32], continuation: &[u32]| keys.key("score", context, [continuation]);
        assert_eq!(key(&base, &[1, 2], &[3]), key(&base, &[1, 2], &[3]));
        assert_ne!(key(&base, &[1, 2], &[3]), key(&tuned, &[1, 2], &[3]));
        assert_ne!(key(&base, &[1, 2], &[3]), key(&base, &[1], &[2, 3]));
        assert_ne!(key(&base, &[1, 2], &[3]), base.key("answers", &[1, 2], [&[3u32][..]]));
    }
}
