//! Strict interchange intervention training (Gupta et al. 2024, arXiv 2407.14494): a model learns an answer, where each
//! variable of the causal model behind it is kept, and that nothing else matters.
//!
//! A step draws pairs of prompts and takes three losses, each a mean squared error of log-odds in nats²:
//!
//! * *behaviour*: the plain answers;
//! * *interchange*: one variable, drawn anew each step, has its node taken from the other prompt, and the answer must
//!   be the causal model's with that variable set;
//! * *strict*: one node outside the pathway, drawn anew each step, is taken from the other prompt, and the answer must
//!   stay as it is.
//!
//! Their weighted sum is one loss with one gradient: a weight is applied once. (The published code multiplies the
//! strict weight in twice.) Cost: six passes of `batch` prompts a step, and their gradient.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::high_level::{Content, Template, Variable};
use super::spec::{LossWeights, SiitSpec};
use crate::base::seed::index;
use crate::base::{Progress, Seed};
use crate::intervene::{JointOutcomes, Side, SourceGradient, TokenPair, joint_outcomes};
use crate::model::LanguageModel;
use crate::tune::gradients::Gradients;
use crate::tune::optimizer::{AdamW, Decay, clip, global_norm, norms};

/// What one step's losses were before their weights, in nats².
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepLosses {
    /// Of plain answers.
    pub behaviour: f64,
    /// Of answers with one variable interchanged.
    pub interchange: f64,
    /// Of answers with an outside node interchanged.
    pub strict: f64,
}

impl StepLosses {
    /// What each loss contributes to the sum whose gradient is taken.
    pub fn weighted(&self, weights: &LossWeights) -> Self {
        Self {
            behaviour: weights.behaviour * self.behaviour,
            interchange: weights.interchange * self.interchange,
            strict: weights.strict * self.strict,
        }
    }
}

/// Trains a model, and returns it with each step's losses. The same spec gives the same model.
pub fn train_strictly(
    spec: &SiitSpec,
    progress: &dyn Progress,
) -> Result<(LanguageModel, Vec<StepLosses>), PlantedError> {
    spec.check()?;
    let parameters = spec.parameters()?;
    let tensors = parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let model = LanguageModel::from_parts(&spec.config(), tensors, None, &candle_core::Device::Cpu)?;
    let mut optimizer = AdamW::new(parameters, |_, var| Decay::by_rank(var), spec.optimizer())?;
    let template = Template::draw(&Seed::new(spec.seed));
    let seed = Seed::new(spec.seed).fork("steps");
    let schedule = spec.schedule();
    let mut log = Vec::with_capacity(spec.steps);
    progress.start("strict interchange training", spec.steps as u64);
    for step in 0..spec.steps {
        if progress.cancelled() {
            return Err(PlantedError::Interrupted);
        }
        let (loss, losses) = step_loss(&model, spec, &template, &seed.fork(&format!("{step}")))?;
        let mut sums = Gradients::new(&optimizer);
        sums.add(&loss, &optimizer)?;
        let (mut gradients, _) = sums.finish(&optimizer)?;
        let norm = global_norm(&norms(&gradients)?);
        if !norm.is_finite() {
            return Err(PlantedError::Request(format!(
                "the gradient of step {step} is not finite; lower learning_rate"
            )));
        }
        clip(&mut gradients, norm, spec.clip)?;
        optimizer.step(&gradients, spec.learning_rate * schedule.share(step, spec.steps))?;
        if (step + 1).is_multiple_of(spec.steps.div_ceil(20)) {
            progress.note(&note(step + 1, &losses, &spec.weights));
        }
        log.push(losses);
        progress.advance(1);
    }
    progress.finish();
    // The variables are let go of: what is returned is a plain model.
    let tensors = model.tensors().iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
    Ok((LanguageModel::from_parts(&spec.config(), tensors, None, &candle_core::Device::Cpu)?, log))
}

fn note(step: usize, losses: &StepLosses, weights: &LossWeights) -> String {
    let StepLosses { behaviour, interchange, strict } = losses.weighted(weights);
    format!("step {step}: weighted losses behaviour {behaviour:.5}, interchange {interchange:.5}, strict {strict:.5}")
}

fn step_loss(
    model: &LanguageModel,
    spec: &SiitSpec,
    template: &Template,
    seed: &Seed,
) -> Result<(Tensor, StepLosses), PlantedError> {
    let mut rng = seed.rng();
    let variable = pick(&Variable::ALL, index(&mut rng, Variable::ALL.len()), Variable::Output);
    let outside = spec.outside();
    let idle = pick(&outside, index(&mut rng, outside.len()), spec.pathway.output);
    let high = &spec.high_level;
    let (moved, moved_contents) = patched(model, spec, template, spec.pathway.node(variable), &seed.fork("variable"))?;
    let (strict, strict_contents) = patched(model, spec, template, idle, &seed.fork("outside"))?;
    let interchange =
        squared(&moved.patched, &moved_contents, |base, source| high.interchanged(base, source, variable))?;
    let unmoved = squared(&strict.patched, &strict_contents, |base, _| high.answer(base))?;
    let plain = [
        squared(&moved.base, &moved_contents, |base, _| high.answer(base))?,
        squared(&moved.source, &moved_contents, |_, source| high.answer(source))?,
        squared(&strict.base, &strict_contents, |base, _| high.answer(base))?,
        squared(&strict.source, &strict_contents, |_, source| high.answer(source))?,
    ];
    let behaviour = Tensor::stack(&plain, 0)?.mean_all()?;
    let value = |loss: &Tensor| Ok::<f64, PlantedError>(f64::from(loss.to_scalar::<f32>()?));
    let losses =
        StepLosses { behaviour: value(&behaviour)?, interchange: value(&interchange)?, strict: value(&unmoved)? };
    let weights = &spec.weights;
    let sum = ((behaviour * weights.behaviour)? + (interchange * weights.interchange)?)?;
    Ok(((sum + (unmoved * weights.strict)?)?, losses))
}

fn pick<T: Copy>(from: &[T], at: usize, otherwise: T) -> T {
    from.get(at).copied().unwrap_or(otherwise)
}

/// Fresh pairs with one node of the base run taken from the source run; gradients reach both runs.
fn patched(
    model: &LanguageModel,
    spec: &SiitSpec,
    template: &Template,
    node: Node,
    seed: &Seed,
) -> Result<(JointOutcomes, Vec<(Content, Content)>), PlantedError> {
    let mut rng = seed.rng();
    let contents: Vec<(Content, Content)> =
        (0..spec.batch).map(|_| (Content::draw(&mut rng), Content::draw(&mut rng))).collect();
    let pairs = contents.iter().enumerate();
    let pairs: Vec<TokenPair> =
        pairs.map(|(at, (base, source))| template.pair(&at.to_string(), base, source)).collect::<Result<_, _>>()?;
    let pairs: Vec<&TokenPair> = pairs.iter().collect();
    let outcomes = joint_outcomes(model, &pairs, &[node.site()], Side::Factual, SourceGradient::Attached)?;
    Ok((outcomes, contents))
}

/// The mean squared difference from what the causal model says.
fn squared(
    found: &Tensor,
    contents: &[(Content, Content)],
    target: impl Fn(&Content, &Content) -> f64,
) -> Result<Tensor, PlantedError> {
    let targets: Vec<f32> = contents.iter().map(|(base, source)| target(base, source) as f32).collect();
    Ok((found - Tensor::from_vec(targets, contents.len(), found.device())?)?.sqr()?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use super::super::shipped::shipped;
    use super::*;

    /// A model that carries its pathway leaves nothing to any of the three losses, whichever nodes are drawn.
    #[test]
    fn an_accepted_model_has_no_losses() {
        for trained in shipped().expect("shipped models") {
            let spec = SiitSpec { batch: 16, ..trained.record.spec.clone() };
            let template = Template::draw(&Seed::new(spec.seed));
            for step in 0..8 {
                let seed = Seed::new(99).fork(&step.to_string());
                let (loss, losses) = step_loss(&trained.model, &spec, &template, &seed).expect("losses");
                let StepLosses { behaviour, interchange, strict } = losses;
                assert!([behaviour, interchange, strict].iter().all(|loss| (0.0..1e-2).contains(loss)), "{losses:?}");
                let sum = losses.weighted(&spec.weights);
                let sum = sum.behaviour + sum.interchange + sum.strict;
                assert!((f64::from(loss.to_scalar::<f32>().expect("a number")) - sum).abs() < 1e-6);
            }
        }
    }
}
