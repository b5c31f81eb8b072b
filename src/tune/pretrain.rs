//! Training all parameters of a model from scratch on plain text, next token by next token.
//!
//! Loss: mean cross entropy in nats over every token but the first of each text. Rows are padded on the right, and
//! padding carries no loss. The same spec, texts and start give the same parameters.

use candle_core::Var;
use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::gradients::{GradientAudit, Gradients};
use super::optimizer::{AdamW, AdamWSpec, Decay, clip, global_norm, norms};
use super::order::Order;
use super::schedule::{Decline, Schedule, Warmup};
use super::text::{text_loss, text_units};
use crate::base::{Progress, Seed};
use crate::model::LanguageModel;

/// How a model is trained from scratch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainSpec {
    /// The seed of the order of texts.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// Texts a step.
    pub batch: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// AdamW's constants; decay applies to matrices and leaves biases and norm gains out.
    pub optimizer: AdamWSpec,
    /// The learning rate over steps.
    pub schedule: Schedule,
    /// The largest global norm of the gradient; none for no clipping.
    pub clip: Option<f64>,
}

impl Default for PretrainSpec {
    fn default() -> Self {
        Self {
            seed: 0,
            steps: 1000,
            batch: 64,
            learning_rate: 3e-3,
            optimizer: AdamWSpec { beta2: 0.98, weight_decay: 0.01, ..AdamWSpec::default() },
            schedule: Schedule { warmup: Warmup::Ratio(0.05), decline: Decline::Cosine { floor: 0.05 } },
            clip: Some(1.0),
        }
    }
}

impl PretrainSpec {
    /// Refuses settings without a meaning.
    pub fn check(&self) -> Result<(), TuneError> {
        for (field, value) in [
            ("steps", self.steps as f64),
            ("batch", self.batch as f64),
            ("learning_rate", self.learning_rate),
            ("clip", self.clip.unwrap_or(1.0)),
        ] {
            if !value.is_finite() || value <= 0.0 {
                return Err(TuneError::spec(field, format!("{value} is not above 0")));
            }
        }
        self.optimizer.check()?;
        self.schedule.check()
    }
}

/// Trains `parameters`, the variables among `model.tensors()`, and returns the loss of each step. The model must have
/// been made from those variables, so that it sees them move.
pub fn pretrain(
    model: &LanguageModel,
    parameters: Vec<(String, Var)>,
    texts: &[Vec<u32>],
    spec: &PretrainSpec,
    progress: &dyn Progress,
) -> Result<Vec<f64>, TuneError> {
    spec.check()?;
    if let Some(at) = texts.iter().position(|text| text_units(text) == 0) {
        return Err(TuneError::example(&format!("text {at}"), "it has no token to predict"));
    }
    if texts.is_empty() {
        return Err(TuneError::example("texts", "there are none"));
    }
    let mut optimizer = AdamW::new(parameters, |_, var| Decay::by_rank(var), spec.optimizer)?;
    let mut audit = GradientAudit::new(&optimizer);
    let mut order = Order::new(Seed::new(spec.seed).fork("pretrain"), "texts", texts.len());
    let mut losses = Vec::with_capacity(spec.steps);
    progress.start("pretrain", spec.steps as u64);
    for step in 0..spec.steps {
        if progress.cancelled() {
            let saved = "nothing was kept".to_owned();
            return Err(TuneError::Interrupted { arm: ARM.into(), done: step, steps: spec.steps, saved });
        }
        let batch: Vec<&[u32]> =
            order.step(step, spec.batch).into_iter().filter_map(|at| Some(texts.get(at)?.as_slice())).collect();
        let loss = pretrain_step(model, &batch, spec, step, &mut optimizer, &mut audit)?;
        losses.push(loss);
        progress.advance(1);
        if (step + 1).is_multiple_of(spec.steps.div_ceil(20)) {
            progress.note(&format!("step {}: loss {loss:.4}", step + 1));
        }
    }
    progress.finish();
    Ok(losses)
}

const ARM: &str = "pretrain";

fn pretrain_step(
    model: &LanguageModel,
    batch: &[&[u32]],
    spec: &PretrainSpec,
    step: usize,
    optimizer: &mut AdamW,
    audit: &mut GradientAudit,
) -> Result<f64, TuneError> {
    let not_finite = |term: &str, value| {
        let kept = "the parameters are as they were before the step".to_owned();
        TuneError::NotFinite { arm: ARM.into(), step, term: term.into(), value, kept }
    };
    let units: usize = batch.iter().map(|text| text_units(text)).sum();
    let loss = (text_loss(model, batch)? / units as f64)?;
    let value = f64::from(loss.to_scalar::<f32>()?);
    if !value.is_finite() {
        return Err(not_finite("loss", value));
    }
    let mut sums = Gradients::new(optimizer);
    sums.add(&loss, optimizer)?;
    let (mut gradients, absent) = sums.finish(optimizer)?;
    let norms = norms(&gradients)?;
    audit.observe(ARM, step, optimizer, &absent, &norms)?;
    let norm = global_norm(&norms);
    if !norm.is_finite() {
        return Err(not_finite("gradient", norm));
    }
    if let Some(limit) = spec.clip {
        clip(&mut gradients, norm, limit)?;
    }
    optimizer.step(&gradients, spec.learning_rate * spec.schedule.share(step, spec.steps))?;
    Ok(value)
}
