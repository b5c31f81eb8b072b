//! Several runs at once, each on its own threads.
//!
//! A step on a small model has little to split, so threads that share one run mostly wait; runs that do not share are
//! as fast as there are cores. The bytes of each adapter are those of [`train`] alone.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::data::TuneData;
use super::error::TuneError;
use super::spec::TuneSpec;
use super::trainer::{Outcome, train};
use crate::base::Progress;
use crate::model::LanguageModel;

/// The most weights of a model of which one run keeps no second thread busy.
const SMALL: usize = 4_000_000;
/// Stack of a training thread: backward walks the graph by recursion, to the depth of all layers.
const STACK: usize = 64 << 20;

/// How many runs of a model to make at once: one a thread for small models, else one after another on all threads.
pub fn runs_at_once(model: &LanguageModel) -> usize {
    if model.parameter_count() <= SMALL { rayon::current_num_threads() } else { 1 }
}

/// Trains all specs, `at_once` of them at a time on equal shares of the threads, and answers in their order. The state
/// of each is kept in `<folder>/<arm>-<seed>`. A run that fails does not stop the others; cancellation stops all.
pub fn train_all(
    model: &LanguageModel,
    specs: &[TuneSpec],
    data: &TuneData,
    folder: Option<&Path>,
    at_once: usize,
    progress: &dyn Progress,
) -> Result<Vec<Result<Outcome, TuneError>>, TuneError> {
    let at_once = at_once.clamp(1, specs.len().max(1));
    let threads = (rayon::current_num_threads() / at_once).max(1);
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build();
    let pools = (0..at_once).map(|_| pool()).collect::<Result<Vec<_>, _>>();
    let pools = pools.map_err(|error| TuneError::spec("threads", error.to_string()))?;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Outcome, TuneError>)>> = Mutex::new(Vec::new());
    progress.start("tune", specs.iter().map(|spec| spec.steps as u64).sum());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(number) else { break };
            let own = folder.map(|folder| folder.join(format!("{}-{}", spec.arm, spec.seed)));
            let result = train(model, spec, data, own.as_deref(), &Part(progress));
            done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(work));
        }
    });
    progress.finish();
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// One run's progress as a part of the whole.
struct Part<'a>(&'a dyn Progress);

impl Progress for Part<'_> {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, units: u64) {
        self.0.advance(units);
    }
    fn note(&self, line: &str) {
        self.0.note(line);
    }
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
