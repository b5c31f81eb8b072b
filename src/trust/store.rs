//! Finished scores, kept by content: a score hangs on the checkpoint and the token ids, so whatever asks for the same
//! tokens on the same checkpoint again (another metric, another task, a resumed run) reads it instead of running the
//! model. One file serves many checkpoints and runs, one after the other.
//!
//! The journal is append-only, one line a pass: a kill at any byte loses the pass in flight and nothing else. Passes are
//! laid out from the whole request list before the journal is consulted, so a resumed run makes the passes that are left
//! as an unbroken one would have made them, and gives the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TrustError;
use crate::base::FileError;
use crate::base::digest::{Digest, Hasher};
use crate::base::files::Journal;
use crate::model::{LanguageModel, Score};

/// What the lines of a journal hold; another number is refused.
const VERSION: u32 = 2;

/// One line of the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    scores: Vec<Entry>,
}

/// A key, whether every token is the most likely one, and ln p of each token.
#[derive(Serialize, Deserialize)]
struct Entry(String, bool, Vec<f32>);

/// Finished scores in memory, and in a journal where one was opened.
#[derive(Default)]
pub struct ScoreStore {
    journal: Option<Journal>,
    finished: BTreeMap<String, Score>,
}

impl ScoreStore {
    /// Keeps scores in memory alone.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens or makes a journal and takes up what is finished in it. Fails before any model runs where the folder cannot
    /// be written, another process has the journal open, or it was written by another version.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let mut finished = BTreeMap::new();
        let mut number = 0;
        let journal = Journal::replay_alone(path, |Line { version, scores }| {
            number += 1;
            if version != VERSION {
                let message = format!("scores of version {version}, this is version {VERSION}; remove the file");
                return Err(FileError::MalformedLine { path: path.to_path_buf(), line: number, message });
            }
            for Entry(key, is_greedy, logprobs) in scores {
                finished.entry(key).or_insert_with(|| Score::of(logprobs, is_greedy));
            }
            Ok(())
        })?;
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

    /// The score of a key.
    pub fn get(&self, key: &str) -> Option<&Score> {
        self.finished.get(key)
    }

    /// Adds the scores of a pass; a key that is finished keeps the score that it has.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn add(&mut self, scores: Vec<(String, Score)>) -> Result<(), TrustError> {
        let mut new: BTreeMap<String, Score> = BTreeMap::new();
        for (key, score) in scores {
            if !self.finished.contains_key(&key) {
                new.entry(key).or_insert(score);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        if let Some(journal) = &mut self.journal {
            let entry = |(key, score): (&String, &Score)| Entry(key.clone(), score.is_greedy, score.logprobs.clone());
            journal.append(&Line { version: VERSION, scores: new.iter().map(entry).collect() })?;
        }
        self.finished.extend(new);
        Ok(())
    }
}

/// Builds the keys of one checkpoint's scores.
#[derive(Clone)]
pub struct Keys(Hasher);

impl Keys {
    /// For a model, which its digest, precision and kind of device name, and its adapter by its digest.
    pub fn of(model: &LanguageModel, adapter: Option<&Digest>) -> Self {
        let device = match model.device().is_cpu() {
            true => "cpu",
            false => "accelerator",
        };
        Self::of_parts(&[
            ("model", model.digest().as_str()),
            ("precision", &model.precision()),
            ("device", device),
            ("adapter", adapter.map_or("", Digest::as_str)),
        ])
    }

    fn of_parts(parts: &[(&str, &str)]) -> Self {
        let mut hasher = Hasher::default();
        for (name, part) in parts {
            hasher.part(name, part.as_bytes());
        }
        Self(hasher)
    }

    /// The key of a context with its continuation, as token ids. Texts have none of their own: two tokenizers that give
    /// the same ids ask for the same number.
    pub fn key(&self, context: &[u32], continuation: &[u32]) -> String {
        let bytes = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
        let mut hasher = self.0.clone();
        hasher.part("context", &bytes(context));
        hasher.part("continuation", &bytes(continuation));
        // 128 bits: as good as the whole against accidents, half as long in every line of the journal.
        hasher.finish().as_str().chars().skip(7).take(32).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("counterpath-store-{}-{name}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn score(at: usize) -> Score {
        Score::of(vec![-0.1 * at as f32, -1.0 / 3.0, -1e-7 * at as f32], at.is_multiple_of(2))
    }

    #[test]
    fn a_journal_cut_at_any_byte_loses_its_last_pass_alone() {
        let path = scratch("cut");
        let mut store = ScoreStore::open(&path).expect("journal");
        for pass in 0..3 {
            let scores = (0..4).map(|at| (format!("key {pass}.{at}"), score(4 * pass + at))).collect();
            store.add(scores).expect("added");
        }
        drop(store);
        let whole = std::fs::read(&path).expect("journal");
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        for cut in ends[0]..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("cut");
            let passes = ends.iter().filter(|end| **end <= cut).count();
            let mut store = ScoreStore::open(&path).expect("journal");
            assert_eq!(store.len(), 4 * passes, "cut at {cut} of {}", whole.len());
            for pass in 0..passes {
                for at in 0..4 {
                    assert_eq!(store.get(&format!("key {pass}.{at}")), Some(&score(4 * pass + at)), "to the bit");
                }
            }
            // What was lost is added again: the file is the same as if it had never been cut.
            for pass in passes..3 {
                let scores = (0..4).map(|at| (format!("key {pass}.{at}"), score(4 * pass + at))).collect();
                store.add(scores).expect("added");
            }
            drop(store);
            assert_eq!(std::fs::read(&path).expect("journal"), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_finished_score_stays() {
        let mut store = ScoreStore::in_memory();
        store.add(vec![("k".into(), score(1)), ("k".into(), score(2))]).expect("added");
        store.add(vec![("k".into(), score(3)), ("l".into(), score(3))]).expect("added");
        assert_eq!((store.get("k"), store.get("l"), store.len()), (Some(&score(1)), Some(&score(3)), 2));
    }

    #[test]
    fn one_writer_at_a_time_and_one_version() {
        let path = scratch("writers");
        let store = ScoreStore::open(&path).expect("journal");
        let error = ScoreStore::open(&path).err().expect("refused").to_string();
        assert!(error.contains("another") && error.contains("writers.jsonl"), "{error}");
        drop(store);
        assert!(ScoreStore::open(&path).expect("journal").is_empty());
        std::fs::write(&path, b"{\"version\":1,\"scores\":[]}\n").expect("older");
        let error = ScoreStore::open(&path).err().expect("refused").to_string();
        assert!(error.contains("line 1") && error.contains("version 1"), "{error}");
    }

    #[test]
    fn keys_tell_apart_what_changes_a_number() {
        let parts = [("model", "m"), ("precision", "F32"), ("device", "cpu"), ("adapter", "")];
        let keys = |changed: Option<usize>| {
            let mut parts = parts;
            if let Some(part) = changed {
                parts[part].1 = "other";
            }
            Keys::of_parts(&parts)
        };
        let plain = keys(None).key(&[1, 2], &[3]);
        assert_eq!(plain, keys(None).key(&[1, 2], &[3]));
        assert_ne!(plain, keys(None).key(&[1], &[2, 3]), "another split");
        assert!((0..4).all(|part| keys(Some(part)).key(&[1, 2], &[3]) != plain));
        assert_eq!(plain.len(), 32);
    }
}
