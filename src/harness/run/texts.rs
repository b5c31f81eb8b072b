//! Finished texts, kept by content as scores are: a text hangs on the checkpoint, the prompt's tokens and how it was generated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::question::Generation;
use crate::base::FileError;
use crate::base::files::Journal;
use crate::trust::Checkpoint;
use crate::trust::store::Keys;

/// Finished texts in memory, and in a journal where one was opened.
#[derive(Default)]
pub struct TextStore {
    journal: Option<Journal>,
    finished: BTreeMap<String, String>,
}

/// One line of the journal.
#[derive(Serialize, Deserialize)]
struct Batch {
    texts: Vec<(String, String)>,
}

impl TextStore {
    /// Opens or makes a journal and takes up what is finished in it.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (journal, batches) = Journal::open::<Batch>(path)?;
        Ok(Self { journal: Some(journal), finished: batches.into_iter().flat_map(|batch| batch.texts).collect() })
    }

    /// A finished text.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.finished.get(key).map(String::as_str)
    }

    /// Keeps finished texts.
    pub fn add(&mut self, texts: Vec<(String, String)>) -> Result<(), FileError> {
        let batch = Batch { texts };
        if let Some(journal) = &mut self.journal {
            journal.append(&batch)?;
        }
        self.finished.extend(batch.texts);
        Ok(())
    }

    /// The jobs that are not finished, each key once, in their order.
    pub fn missing<'a>(&self, jobs: &'a [TextJob]) -> Vec<&'a TextJob> {
        let mut seen = BTreeSet::new();
        jobs.iter().filter(|job| !self.finished.contains_key(&job.key) && seen.insert(&job.key)).collect()
    }
}

/// A text to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct TextJob {
    /// What it is kept under.
    pub key: String,
    /// The prompt.
    pub ids: Vec<u32>,
    /// How.
    pub generation: Generation,
}

impl TextJob {
    /// A job; `repeat` tells sampled answers to one prompt apart.
    pub fn new(checkpoint: Checkpoint<'_>, ids: Vec<u32>, generation: &Generation, repeat: &str) -> Self {
        let keys = Keys::of(checkpoint.model, checkpoint.adapter);
        let how = format!("{}\u{0}{repeat}", settings(generation));
        let how: Vec<u32> = how.bytes().map(u32::from).collect();
        Self { key: keys.key(&ids, &how), ids, generation: generation.clone() }
    }

    /// What jobs of one batch have in common.
    pub fn settings(&self) -> String {
        settings(&self.generation)
    }
}

fn settings(generation: &Generation) -> String {
    format!("{:?} {} {}", generation.until, generation.max_tokens, generation.temperature)
}
