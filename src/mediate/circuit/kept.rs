//! Finished circuit runs, kept so that work that was stopped goes on from them.
//!
//! A line holds one pair's outcomes under one list of masks, which are run together: what goes on batches as an
//! unbroken run would have, and so gives the same bytes. Runs are found by what they answer, so that lists of masks
//! that come up again are not run again either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::digest::Hasher;
use crate::base::files::Journal;
use crate::base::{Digest, Progress};
use crate::intervene::path::{Ablation, EdgeMask, PathRunner};
use crate::intervene::{Outcome, Side, TokenPair};
use crate::mediate::MediateError;
use crate::mediate::attribution::EdgeScores;
use crate::mediate::journal::{hash_pair, same_request};
use crate::model::LanguageModel;

/// A journal of circuit runs that belongs to one request.
pub struct KeptRuns {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    journal: Journal,
    /// The request, until it is written before the first line: one that fails before that stands in nobody's way.
    request: Option<Digest>,
    runs: BTreeMap<Digest, Vec<f64>>,
    scores: Option<EdgeScores>,
}

impl Inner {
    fn append(&mut self, line: &Line) -> Result<(), MediateError> {
        if let Some(request) = self.request.take() {
            self.journal.append(&Line::Request(request))?;
        }
        Ok(self.journal.append(line)?)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Request(Digest),
    Scores(Box<EdgeScores>),
    Run { of: Digest, outcomes: Vec<f64> },
}

impl KeptRuns {
    /// Opens or makes the journal of a request, which is the digest of the models with their adapters, the pairs, the
    /// circuit where there is one, and what is asked. A journal of another request is refused.
    pub fn open(path: &Path, request: &Digest) -> Result<Self, MediateError> {
        let (mut runs, mut scores, mut fresh) = (BTreeMap::new(), None, true);
        let journal = Journal::replay(path, |line: Line| {
            fresh = false;
            match line {
                Line::Request(found) => same_request(path, &found, request)?,
                Line::Scores(found) => scores = Some(*found),
                Line::Run { of, outcomes } => drop(runs.insert(of, outcomes)),
            }
            Ok::<(), MediateError>(())
        })?;
        let request = fresh.then(|| request.clone());
        Ok(Self { path: path.to_path_buf(), inner: Mutex::new(Inner { journal, request, runs, scores }) })
    }

    /// Where the journal stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The scores of the request's edges, made by `make` where they are not here yet.
    pub(super) fn scores(
        &self,
        make: impl FnOnce() -> Result<EdgeScores, MediateError>,
    ) -> Result<EdgeScores, MediateError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scores) = &inner.scores {
            return Ok(scores.clone());
        }
        let scores = make()?;
        inner.append(&Line::Scores(Box::new(scores.clone())))?;
        inner.scores = Some(scores.clone());
        Ok(scores)
    }

    /// One outcome a mask of one pair, made by `make` where they are not here yet.
    fn outcomes(
        &self,
        of: Digest,
        make: impl FnOnce() -> Result<Vec<f64>, MediateError>,
    ) -> Result<Vec<f64>, MediateError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcomes) = inner.runs.get(&of) {
            return Ok(outcomes.clone());
        }
        let outcomes = make()?;
        inner.append(&Line::Run { of: of.clone(), outcomes: outcomes.clone() })?;
        inner.runs.insert(of, outcomes.clone());
        Ok(outcomes)
    }
}

/// A model that is run, and the digest of the adapter on it.
pub type Subject<'a> = (&'a LanguageModel, Option<&'a Digest>);

/// The digest of a request: `what` is the text of everything that is neither model nor pairs.
pub fn circuit_request(subjects: &[Subject<'_>], pairs: &[&[TokenPair]], what: &str) -> Digest {
    let mut hasher = Hasher::default();
    subjects.iter().for_each(|subject| hash_subject(&mut hasher, *subject));
    hasher.part("circuit", what.as_bytes());
    for pairs in pairs {
        hasher.part("pairs", &pairs.len().to_le_bytes());
        pairs.iter().for_each(|pair| hash_pair(&mut hasher, pair));
    }
    hasher.finish()
}

fn hash_subject(hasher: &mut Hasher, (model, adapter): Subject<'_>) {
    hasher.part("model", model.digest().as_str().as_bytes());
    hasher.part("adapter", adapter.map(Digest::as_str).unwrap_or_default().as_bytes());
}

/// What an evaluator's runs go through.
pub(super) struct Runs<'a> {
    pub runner: &'a PathRunner<'a>,
    pub pairs: &'a [TokenPair],
    pub ablation: Ablation<'a>,
    pub outcome: Outcome,
    pub progress: &'a dyn Progress,
    /// The journal, and what the runs have in common, digested. The means of an ablation follow from the request.
    pub keep: Option<(&'a KeptRuns, Hasher)>,
}

impl<'a> Runs<'a> {
    /// The same through a journal; `adapter` is that of the runner's model.
    pub fn keeping(self, kept: &'a KeptRuns, adapter: Option<&Digest>) -> Self {
        let mut hasher = Hasher::default();
        hash_subject(&mut hasher, (self.runner.model(), adapter));
        hasher.part("ablation", self.ablation.name().as_bytes());
        hasher.part("outcome", self.outcome.name().as_bytes());
        Self { keep: Some((kept, hasher)), ..self }
    }

    /// One outcome a mask, for every pair. What is kept is not run.
    pub fn outcomes(
        &self,
        masks: &[EdgeMask],
        side: Side,
        ablation: Ablation<'_>,
    ) -> Result<Vec<Vec<f64>>, MediateError> {
        let how = (ablation, self.outcome);
        let run = |pairs: &[TokenPair]| self.runner.outcomes(pairs, masks, side, how, self.progress);
        let Some((kept, hasher)) = &self.keep else { return Ok(run(self.pairs)?) };
        let hasher = digest_masks(hasher, side, masks);
        let of_pair = |pair: &TokenPair| {
            kept.outcomes(digest_pair(&hasher, pair), || Ok(run(std::slice::from_ref(pair))?.pop().unwrap_or_default()))
        };
        self.pairs.iter().map(of_pair).collect()
    }
}

/// Adds the side that runs and the masks.
fn digest_masks(how: &Hasher, side: Side, masks: &[EdgeMask]) -> Hasher {
    let mut hasher = how.clone();
    hasher.part("side", format!("{side:?}").as_bytes());
    for mask in masks {
        let shares: Vec<u8> = mask.graph().edges().flat_map(|edge| mask.share(edge).to_le_bytes()).collect();
        hasher.part("mask", &shares);
    }
    hasher
}

/// Adds the pair.
fn digest_pair(masks: &Hasher, pair: &TokenPair) -> Digest {
    let mut hasher = masks.clone();
    hash_pair(&mut hasher, pair);
    hasher.finish()
}
