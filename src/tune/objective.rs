//! The objective of a run: a weighted sum of terms, each computed, logged and differentiated alone.
//!
//! ```text
//! L(θ) = Σ_i λ_i · r_i(step) · (Σ_u loss_i,u) / U_i
//! ```
//!
//! u runs over the units of term i (answer tokens, pairs, tokens) in the whole window of a step, U_i is their number,
//! r_i the ramp. A micro-batch contributes its units' sum over the *window's* U_i, so that any split of a window gives
//! the same gradient.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::data::{Batch, TuneData};
use super::error::TuneError;
use super::pass::{PairPass, TaskPass};
use super::penalty;
use super::schedule;
use super::spec::{AnchorAt, TuneSpec};
use crate::model::{HookPoint, LanguageModel};

/// When a term's weight is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onset {
    /// From the first step.
    AtOnce,
    /// In a straight line over the first part of the run ([`TuneSpec::ramp`]).
    Ramped,
}

/// One term of the objective.
pub trait Term {
    /// Its name in logs, specs and errors.
    fn name(&self) -> &'static str;

    /// λ, before the ramp.
    fn weight(&self) -> f64;

    /// When λ is in force.
    fn onset(&self) -> Onset;

    /// The examples that the term cannot do without, in words; none where it may be silent for a whole run.
    fn needs(&self) -> Option<&'static str>;

    /// How many units of a batch count in the term's mean; 0 where it has nothing to say.
    fn units(&self, batch: &Batch<'_>) -> usize;

    /// The activations that the passes over *invariant* pairs must keep for this term.
    fn records(&self) -> Vec<HookPoint> {
        Vec::new()
    }

    /// The *sum* of the term over the units of the context's batch, a scalar that gradients pass through.
    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError>;

    /// What the term remembers between steps, for checkpoints; most remember nothing.
    fn export_state(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::new()
    }

    /// Takes back what [`Term::export_state`] gave.
    fn import_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), TuneError> {
        match state.keys().next() {
            Some(name) => Err(TuneError::state(name, format!("is unknown to term {}", self.name()))),
            None => Ok(()),
        }
    }
}

/// What the terms of one micro-batch share: the models, the batch, and the forward passes that more than one of them
/// reads, each run when it is first asked for.
pub struct StepContext<'a> {
    /// The model with its adapter.
    pub model: &'a LanguageModel,
    /// The frozen base: the same model with adapters off.
    pub base: &'a LanguageModel,
    /// The micro-batch.
    pub batch: &'a Batch<'a>,
    anchor_at: Option<AnchorAt>,
    records: &'a BTreeSet<HookPoint>,
    task: OnceCell<TaskPass>,
    invariant: OnceCell<PairPass>,
    follow: OnceCell<PairPass>,
}

impl<'a> StepContext<'a> {
    fn new(objective: &'a Objective, model: &'a LanguageModel, base: &'a LanguageModel, batch: &'a Batch<'a>) -> Self {
        let Objective { anchor_at, records, .. } = objective;
        Self {
            model,
            base,
            batch,
            anchor_at: *anchor_at,
            records,
            task: OnceCell::new(),
            invariant: OnceCell::new(),
            follow: OnceCell::new(),
        }
    }

    /// The pass over the task rows.
    pub fn task(&self) -> Result<&TaskPass, TuneError> {
        once(&self.task, || TaskPass::run(self.model, &self.batch.task, self.anchor_at))
    }

    /// The pass over both sides of the *invariant* pairs, with the activations that terms asked for.
    pub fn invariant(&self) -> Result<&PairPass, TuneError> {
        once(&self.invariant, || PairPass::run(self.model, &self.batch.invariant, self.records))
    }

    /// The pass over both sides of the *follow* pairs.
    pub fn follow(&self) -> Result<&PairPass, TuneError> {
        once(&self.follow, || PairPass::run(self.model, &self.batch.follow, &BTreeSet::new()))
    }
}

/// `OnceCell::get_or_try_init`, which the standard library has not stabilised.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, TuneError>) -> Result<&T, TuneError> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

/// A term's part in one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermLog {
    /// The mean over the step's units, without weight.
    pub loss: f64,
    /// λ times the ramp.
    pub weight: f64,
    /// Their product.
    pub weighted: f64,
}

/// The terms of one run, those of weight 0 left out.
pub struct Objective {
    terms: Vec<Box<dyn Term>>,
    records: BTreeSet<HookPoint>,
    anchor_at: Option<AnchorAt>,
    steps: usize,
    ramp: f64,
}

impl Objective {
    /// The terms that the spec gives a weight to.
    pub fn new(spec: &TuneSpec) -> Self {
        let terms: Vec<Box<dyn Term>> =
            penalty::TERMS.iter().map(|build| build(spec)).filter(|term| term.weight() > 0.0).collect();
        let records = terms.iter().flat_map(|term| term.records()).collect();
        let anchor_at = (spec.weights.anchor > 0.0).then_some(spec.anchor_at);
        Self { terms, records, anchor_at, steps: spec.steps, ramp: spec.ramp }
    }

    /// The terms.
    pub fn terms(&self) -> &[Box<dyn Term>] {
        &self.terms
    }

    /// Refuses data on which a term of this objective would be silent for the whole run.
    pub fn must_have_examples(&self, spec: &TuneSpec, data: &TuneData) -> Result<(), TuneError> {
        fn drawn<T>(all: &[T], size: usize) -> Vec<&T> {
            all.iter().filter(|_| size > 0).collect()
        }
        let sizes = spec.batch;
        let all = Batch {
            task: drawn(&data.task, sizes.task),
            invariant: drawn(&data.invariant, sizes.invariant),
            follow: drawn(&data.follow, sizes.follow),
            canaries: drawn(&data.canaries, sizes.canary),
        };
        match self
            .terms
            .iter()
            .find_map(|term| term.needs().filter(|_| term.units(&all) == 0).map(|missing| (term, missing)))
        {
            Some((term, missing)) => Err(TuneError::NoExamples {
                arm: spec.arm.clone(),
                term: term.name().into(),
                weight: term.weight(),
                missing,
            }),
            None => Ok(()),
        }
    }

    /// The units of each term in a whole window.
    pub fn units(&self, window: &Batch<'_>) -> Vec<usize> {
        self.terms.iter().map(|term| term.units(window)).collect()
    }

    /// One micro-batch's share of the objective at `step`, ready for `backward`, added to the log. `units` are the
    /// window's. None where no term has anything to say. A term that is not finite is named in the error.
    pub fn share(
        &self,
        models: (&LanguageModel, &LanguageModel),
        batch: &Batch<'_>,
        units: &[usize],
        step: usize,
        log: &mut BTreeMap<String, TermLog>,
    ) -> Result<Option<Tensor>, ShareError> {
        let context = StepContext::new(self, models.0, models.1, batch);
        let mut total: Option<Tensor> = None;
        for (term, units) in self.terms.iter().zip(units) {
            if term.units(batch) == 0 {
                continue;
            }
            let mean = (term.loss(&context)? / *units as f64).map_err(TuneError::from)?;
            let weight = term.weight() * self.onset(term.as_ref(), step);
            let value = f64::from(mean.to_scalar::<f32>().map_err(TuneError::from)?);
            if !value.is_finite() {
                return Err(ShareError::NotFinite { term: term.name(), value });
            }
            let entry = log.entry(term.name().to_owned()).or_insert(TermLog { loss: 0.0, weight, weighted: 0.0 });
            entry.loss += value;
            entry.weighted += weight * value;
            let weighted = (mean * weight).map_err(TuneError::from)?;
            total = Some(match total {
                Some(sum) => sum.add(&weighted).map_err(TuneError::from)?,
                None => weighted,
            });
        }
        Ok(total)
    }

    fn onset(&self, term: &dyn Term, step: usize) -> f64 {
        match term.onset() {
            Onset::AtOnce => 1.0,
            Onset::Ramped => schedule::ramp(step, self.steps, self.ramp),
        }
    }

    /// All terms' states, `<term>/<name>`.
    pub fn export_state(&self) -> BTreeMap<String, Tensor> {
        let states = self.terms.iter().map(|term| (term.name(), term.export_state()));
        states
            .flat_map(|(term, state)| state.into_iter().map(move |(name, tensor)| (format!("{term}/{name}"), tensor)))
            .collect()
    }

    /// Takes back what [`Objective::export_state`] gave.
    pub fn import_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), TuneError> {
        for term in &mut self.terms {
            let prefix = format!("{}/", term.name());
            let own = state
                .iter()
                .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor.clone())));
            term.import_state(&own.collect())?;
        }
        Ok(())
    }
}

/// Why a micro-batch has no share.
pub enum ShareError {
    /// A term is NaN or infinite.
    NotFinite {
        /// Which.
        term: &'static str,
        /// What it is.
        value: f64,
    },
    /// Anything else.
    Failed(TuneError),
}

impl From<TuneError> for ShareError {
    fn from(error: TuneError) -> Self {
        Self::Failed(error)
    }
}
