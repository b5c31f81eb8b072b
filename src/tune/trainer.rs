//! One tuning run: from a spec, data and a frozen base to an adapter and its curves.
//!
//! A step draws its window (the same in every arm of a seed), sums the gradient of the objective over micro-batches,
//! clips it, and lets AdamW move the adapter. The same request gives the same bytes, at any number of threads, whole or
//! in sessions. Files in the run's folder: `checkpoint.safetensors` and `losses.jsonl` (one [`StepLog`] a line).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Identity, Spent};
use super::data::{Batch, TuneData};
use super::error::TuneError;
use super::gradients::{GradientAudit, Gradients};
use super::objective::{Objective, ShareError, TermLog};
use super::optimizer::{AdamW, Decay, clip, global_norm, norms};
use super::order::Order;
use super::spec::TuneSpec;
use crate::base::files::{self, Journal};
use crate::base::{Progress, Seed};
use crate::model::{Adapter, LanguageModel};

/// One step's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLog {
    /// The step, from 0.
    pub step: usize,
    /// The learning rate that it was made with.
    pub learning_rate: f64,
    /// The global norm of the gradient, before clipping.
    pub gradient_norm: f64,
    /// The objective: the sum of the weighted terms.
    pub total: f64,
    /// Each term alone.
    pub terms: BTreeMap<String, TermLog>,
}

/// What a run made.
pub struct Outcome {
    /// The adapter, its factors live variables.
    pub adapter: Adapter,
    /// Every step's numbers.
    pub curves: Vec<StepLog>,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
    /// Steps made.
    pub steps: usize,
    /// Tokens of task rows seen.
    pub task_tokens: u64,
}

/// The checkpoint's file name in a run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The log's file name in a run's folder.
pub const LOSSES: &str = "losses.jsonl";
/// Folder of the last adapter with finite losses, written where a run fails on NaN or infinity.
pub const LAST_GOOD: &str = "last_good";

/// Trains an adapter on a frozen model. With a folder, state is kept there, and a run that finds its own state goes on
/// from it. Cancellation keeps the state and returns [`TuneError::Interrupted`].
pub fn train(
    model: &LanguageModel,
    spec: &TuneSpec,
    data: &TuneData,
    run_folder: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Outcome, TuneError> {
    let mut run = Run::new(model, spec, data, run_folder)?;
    progress.start(&format!("tune {}", spec.arm), spec.steps as u64);
    progress.advance(run.spent.steps as u64);
    let result = run.all(progress);
    progress.finish();
    result?;
    let Spent { seconds, steps, task_tokens, .. } = run.spent;
    Ok(Outcome { adapter: run.adapter, curves: run.curves, seconds, steps, task_tokens })
}

struct Orders {
    task: Order,
    invariant: Order,
    follow: Order,
    canary: Order,
}

struct Run<'a> {
    model: &'a LanguageModel,
    tuned: LanguageModel,
    spec: &'a TuneSpec,
    data: &'a TuneData,
    adapter: Adapter,
    optimizer: AdamW,
    objective: Objective,
    orders: Orders,
    audit: GradientAudit,
    last_good: BTreeMap<String, Tensor>,
    identity: Identity,
    spent: Spent,
    curves: Vec<StepLog>,
    files: Option<RunFiles>,
}

struct RunFiles {
    folder: PathBuf,
    losses: Journal,
}

impl<'a> Run<'a> {
    fn new(
        model: &'a LanguageModel,
        spec: &'a TuneSpec,
        data: &'a TuneData,
        folder: Option<&Path>,
    ) -> Result<Self, TuneError> {
        spec.check()?;
        for site in spec.penalty_sites.values().flatten() {
            site.check(model.architecture())?;
        }
        let objective = Objective::new(spec);
        objective.must_have_examples(spec, data)?;
        let seed = Seed::new(spec.seed).fork("tune");
        let adapter = Adapter::init(model, &spec.lora, seed.fork("adapter"))?;
        let optimizer = AdamW::new(adapter.trainable(), |_, _| Decay::Decayed, spec.optimizer)?;
        let order = |name: &str, len| Order::new(seed, name, len);
        let mut run = Self {
            model,
            tuned: model.with_adapter(&adapter)?,
            spec,
            data,
            audit: GradientAudit::new(&optimizer),
            optimizer,
            objective,
            orders: Orders {
                task: order("task", data.task.len()),
                invariant: order("invariant", data.invariant.len()),
                follow: order("follow", data.follow.len()),
                canary: order("canary", data.canaries.len()),
            },
            last_good: copies(&adapter)?,
            adapter,
            identity: Identity { spec: spec.digest()?, data: data.digest(), base: model.digest().clone() },
            spent: Spent { steps: 0, updates: 0, task_tokens: 0, seconds: 0.0 },
            curves: Vec::new(),
            files: None,
        };
        if let Some(folder) = folder {
            run.resume(folder)?;
        }
        Ok(run)
    }

    /// Goes on from the folder's checkpoint, if there is one; log lines that the checkpoint does not know are dropped.
    fn resume(&mut self, folder: &Path) -> Result<(), TuneError> {
        let found = Checkpoint::read(&folder.join(CHECKPOINT), &self.identity, self.model.device())?;
        let path = folder.join(LOSSES);
        if let Some(checkpoint) = found {
            self.adapter.set_tensors(&checkpoint.adapter)?;
            self.optimizer.import_state(&checkpoint.moments, checkpoint.spent.updates)?;
            self.objective.import_state(&checkpoint.terms)?;
            self.spent = checkpoint.spent;
            self.audit = GradientAudit::finished();
            self.last_good = copies(&self.adapter)?;
            let (_, rows) = Journal::open::<StepLog>(&path)?;
            self.curves = rows.into_iter().take_while(|row| row.step < self.spent.steps).collect();
            if self.curves.len() != self.spent.steps {
                return Err(TuneError::state(
                    &path.display().to_string(),
                    format!("lacks steps of the {} in {CHECKPOINT}; remove both to start over", self.spent.steps),
                ));
            }
        }
        files::write_jsonl(&path, &self.curves)?;
        let (losses, _) = Journal::open::<StepLog>(&path)?;
        self.files = Some(RunFiles { folder: folder.to_path_buf(), losses });
        Ok(())
    }

    fn all(&mut self, progress: &dyn Progress) -> Result<(), TuneError> {
        let mut since = Instant::now();
        while self.spent.steps < self.spec.steps {
            if progress.cancelled() {
                self.spent.seconds += since.elapsed().as_secs_f64();
                return Err(self.interrupted());
            }
            let log = self.step()?;
            if let Some(files) = &mut self.files {
                files.losses.append(&log)?;
            }
            self.spent.steps += 1;
            progress.advance(1);
            if self.spent.steps.is_multiple_of(self.spec.steps.div_ceil(5)) {
                progress.note(&line(&self.spec.arm, &log));
            }
            self.curves.push(log);
            if self.spent.steps.is_multiple_of(self.spec.checkpoint_every) || self.spent.steps == self.spec.steps {
                self.spent.seconds += since.elapsed().as_secs_f64();
                since = Instant::now();
                self.save()?;
            }
        }
        Ok(())
    }

    fn interrupted(&self) -> TuneError {
        let saved = match self.save() {
            Err(error) => return error,
            Ok(()) if self.files.is_some() => "the same command goes on from there".to_owned(),
            Ok(()) => "nothing was kept, because the run has no folder".to_owned(),
        };
        TuneError::Interrupted { arm: self.spec.arm.clone(), done: self.spent.steps, steps: self.spec.steps, saved }
    }

    fn save(&self) -> Result<(), TuneError> {
        let Some(files) = &self.files else { return Ok(()) };
        let checkpoint = Checkpoint {
            identity: self.identity.clone(),
            spent: Spent { updates: self.optimizer.updates(), ..self.spent.clone() },
            adapter: self.adapter.tensors(),
            moments: self.optimizer.export_state(),
            terms: self.objective.export_state(),
        };
        checkpoint.write(&files.folder.join(CHECKPOINT))
    }

    /// The examples of a step: `accumulation` times the batch of each kind, those of which no term speaks left out.
    fn window(&mut self, step: usize) -> Batch<'a> {
        let (sizes, parts, data) = (self.spec.batch, self.spec.accumulation, self.data);
        fn draw<'d, T>(all: &'d [T], order: &mut Order, step: usize, size: usize) -> Vec<&'d T> {
            order.step(step, size).into_iter().filter_map(|index| all.get(index)).collect()
        }
        Batch {
            task: draw(&data.task, &mut self.orders.task, step, sizes.task * parts),
            invariant: draw(&data.invariant, &mut self.orders.invariant, step, sizes.invariant * parts),
            follow: draw(&data.follow, &mut self.orders.follow, step, sizes.follow * parts),
            canaries: draw(&data.canaries, &mut self.orders.canary, step, sizes.canary * parts),
        }
    }

    fn step(&mut self) -> Result<StepLog, TuneError> {
        let step = self.spent.steps;
        let window = self.window(step);
        let units = self.objective.units(&window);
        let mut terms = BTreeMap::new();
        let mut sums = Gradients::new(&self.optimizer);
        for part in window.split(self.spec.accumulation) {
            match self.objective.share((&self.tuned, self.model), &part, &units, step, &mut terms) {
                Ok(Some(loss)) => sums.add(&loss, &self.optimizer)?,
                Ok(None) => {}
                Err(ShareError::NotFinite { term, value }) => {
                    return Err(self.not_finite(format!("term `{term}`"), value));
                }
                Err(ShareError::Failed(error)) => return Err(error),
            }
        }
        let (mut gradients, absent) = sums.finish(&self.optimizer)?;
        let norms = norms(&gradients)?;
        let bad = self.optimizer.parameters().zip(&norms).find(|(_, norm)| !norm.is_finite());
        if let Some(((name, _), norm)) = bad {
            return Err(self.not_finite(format!("the gradient of {name}"), *norm));
        }
        self.audit.observe(&self.spec.arm, step, &self.optimizer, &absent, &norms)?;
        let gradient_norm = global_norm(&norms);
        if let Some(limit) = self.spec.clip {
            clip(&mut gradients, gradient_norm, limit)?;
        }
        self.last_good = copies(&self.adapter)?;
        let learning_rate = self.spec.learning_rate * self.spec.schedule.share(step, self.spec.steps);
        self.optimizer.step(&gradients, learning_rate)?;
        self.spent.task_tokens += window.task_tokens();
        let total = terms.values().map(|term| term.weighted).sum();
        Ok(StepLog { step, learning_rate, gradient_norm, total, terms })
    }

    /// Puts back and keeps the last adapter whose losses were finite (the one that entered the step before: the state
    /// that this step began with is the first to fail).
    fn not_finite(&self, term: String, value: f64) -> TuneError {
        let kept =
            self.adapter.set_tensors(&self.last_good).map_err(TuneError::from).and_then(|()| match &self.files {
                Some(files) => {
                    let folder = files.folder.join(LAST_GOOD);
                    self.adapter.save(&folder, "")?;
                    Ok(format!("the last good adapter is in {}", folder.display()))
                }
                None => Ok("nothing was kept, because the run has no folder".to_owned()),
            });
        match kept {
            Ok(kept) => TuneError::NotFinite { arm: self.spec.arm.clone(), step: self.spent.steps, term, value, kept },
            Err(error) => error,
        }
    }
}

/// Copies of the adapter's tensors that later updates do not reach.
fn copies(adapter: &Adapter) -> Result<BTreeMap<String, Tensor>, TuneError> {
    adapter.tensors().into_iter().map(|(name, tensor)| Ok((name, tensor.detach().copy()?))).collect()
}

fn line(arm: &str, log: &StepLog) -> String {
    let terms: Vec<String> = log.terms.iter().map(|(name, term)| format!("{name} {:.4}", term.loss)).collect();
    format!("{arm} step {}: {}", log.step + 1, terms.join(", "))
}
