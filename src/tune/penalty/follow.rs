//! Follow loss: on *follow* pairs the answer must be what the mechanism says on each side (see [`FollowLoss`]). With
//! cross entropy the labels of both sides are samples of the mechanism under `do()`, in which the cause stands alone;
//! the loss is over the distribution among the answers. Unit: side of a pair (for the other two: pair).

use candle_core::{D, Tensor};

use crate::tune::data::{Batch, PairExample};
use crate::tune::error::TuneError;
use crate::tune::objective::{Onset, StepContext, Term};
use crate::tune::pass::{PairPass, ScoreGroup, log_softmax, squared_change, sum_groups};
use crate::tune::spec::{FollowLoss, TuneSpec};

struct Follow {
    weight: f64,
    loss: FollowLoss,
}

pub(super) fn build(spec: &TuneSpec) -> Box<dyn Term> {
    Box::new(Follow { weight: spec.weights.follow, loss: spec.follow })
}

impl Term for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn onset(&self) -> Onset {
        Onset::Ramped
    }

    fn needs(&self) -> Option<&'static str> {
        Some("follow pairs (for a margin: whose label changes)")
    }

    fn units(&self, batch: &Batch<'_>) -> usize {
        match self.loss {
            FollowLoss::CrossEntropy => 2 * batch.follow.len(),
            FollowLoss::Margin { .. } => batch.follow.iter().filter(|pair| moves(pair)).count(),
            FollowLoss::KeepBase => batch.follow.len(),
        }
    }

    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError> {
        let (pass, pairs) = (context.follow()?, &context.batch.follow);
        match self.loss {
            FollowLoss::CrossEntropy => sum_groups(&pass.groups, |group| cross_entropy(group, pairs)),
            FollowLoss::Margin { nats } => sum_groups(&pass.groups, |group| margin(group, pairs, nats)),
            FollowLoss::KeepBase => {
                let base = PairPass::run(context.base, pairs, &Default::default())?;
                keep_base(pass, &base)
            }
        }
    }
}

fn moves(pair: &PairExample) -> bool {
    matches!(pair.labels, Some([factual, counterfactual]) if factual != counterfactual)
}

fn labels(group: &ScoreGroup, pairs: &[&PairExample]) -> Vec<[usize; 2]> {
    group.members.iter().filter_map(|member| pairs.get(*member)?.labels).collect()
}

/// A constant `[pairs, answers]` that is `value(pair, answer)`.
fn constant(like_pa: &Tensor, value: impl Fn(usize, usize) -> f32) -> Result<Tensor, TuneError> {
    let (pairs, answers) = like_pa.dims2()?;
    let values: Vec<f32> = (0..pairs * answers).map(|at| value(at / answers, at % answers)).collect();
    Ok(Tensor::from_vec(values, (pairs, answers), like_pa.device())?)
}

fn cross_entropy(group: &ScoreGroup, pairs: &[&PairExample]) -> Result<Tensor, TuneError> {
    let labels = labels(group, pairs);
    let side = |scores_pa: &Tensor, side: fn(&[usize; 2]) -> usize| {
        let chosen =
            constant(scores_pa, |pair, answer| f32::from(labels.get(pair).is_some_and(|both| side(both) == answer)))?;
        Ok::<_, TuneError>(log_softmax(scores_pa)?.mul(&chosen)?.sum_all()?.neg()?)
    };
    Ok(side(&group.factual_pa, |both| both[0])?.add(&side(&group.counterfactual_pa, |both| both[1])?)?)
}

/// Σ softplus(m − s), s = (ℓ'_new − ℓ'_old) − (ℓ_new − ℓ_old), as max(z, 0) + ln(1 + e^−|z|).
fn margin(group: &ScoreGroup, pairs: &[&PairExample], nats: f64) -> Result<Tensor, TuneError> {
    let labels = labels(group, pairs);
    let signs = constant(&group.factual_pa, |pair, answer| match labels.get(pair) {
        Some([old, new]) if old != new => f32::from(*new == answer) - f32::from(*old == answer),
        _ => 0.0,
    })?;
    let counts = signs.abs()?.sum(D::Minus1)?.affine(0.5, 0.0)?;
    let short = group.counterfactual_pa.sub(&group.factual_pa)?.mul(&signs)?.sum(D::Minus1)?.affine(-1.0, nats)?;
    let softplus = short.relu()?.add(&short.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?)?;
    Ok(softplus.mul(&counts)?.sum_all()?)
}

fn keep_base(tuned: &PairPass, base: &PairPass) -> Result<Tensor, TuneError> {
    let movement = |group: &ScoreGroup| group.counterfactual_pa.sub(&group.factual_pa);
    let mut bases = base.groups.iter();
    sum_groups(&tuned.groups, |group| match bases.next() {
        Some(base) => Ok(squared_change(&movement(group)?, &movement(base)?.detach())?.sum_all()?),
        None => Err(TuneError::state("follow", "the base's answers are grouped differently".into())),
    })
}
