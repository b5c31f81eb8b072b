//! Examples before a question.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Document;
use crate::harness::fewshot::{Sampler, SamplerKind};

/// A pool of examples and the stream that they are drawn with.
pub(super) struct Shots {
    sampler: Sampler,
    /// The example's text by its document.
    texts: BTreeMap<String, String>,
    pool: Pool,
}

#[derive(PartialEq)]
enum Pool {
    /// The questions themselves: each is left out of its own examples.
    Same,
    /// Another file.
    Other,
}

impl Shots {
    /// Examples from among the questions.
    pub(super) fn of_same<'a>(kind: SamplerKind, pool: impl Iterator<Item = &'a Document>, seed: u64) -> Self {
        Self::new(kind, pool, seed, Pool::Same)
    }

    /// Examples from another file.
    pub(super) fn of_others<'a>(kind: SamplerKind, pool: impl Iterator<Item = &'a Document>, seed: u64) -> Self {
        Self::new(kind, pool, seed, Pool::Other)
    }

    fn new<'a>(kind: SamplerKind, pool: impl Iterator<Item = &'a Document>, seed: u64, same: Pool) -> Self {
        let mut texts = BTreeMap::new();
        let mut docs = Vec::new();
        for document in pool {
            texts.insert(key(&document.doc), document.shot());
            docs.push(document.doc.clone());
        }
        Self { sampler: Sampler::new(kind, docs, seed), texts, pool: same }
    }

    /// The text of `count` examples for a question.
    pub(super) fn before(&mut self, document: &Document, count: usize) -> Result<String, String> {
        let without = (self.pool == Pool::Same).then_some(&document.doc);
        let drawn = self.sampler.sample(count, without)?;
        Ok(drawn.iter().filter_map(|doc| self.texts.get(&key(doc))).map(String::as_str).collect())
    }
}

fn key(doc: &Map<String, Value>) -> String {
    Value::Object(doc.clone()).to_string()
}
