//! KL anchor: mean KL(p_base ‖ p_θ), in nats, over the full next-token distribution at chosen positions of the task
//! prompts, p_base from the same model with adapters off and without gradient. Its gradient is that of cross entropy
//! against the base's distribution. Unit: anchored position. Cost: one more forward of the task rows.

use candle_core::Tensor;

use crate::tune::data::Batch;
use crate::tune::error::TuneError;
use crate::tune::objective::{Onset, StepContext, Term};
use crate::tune::pass::anchored;
use crate::tune::spec::{AnchorAt, TuneSpec};

struct Anchor {
    weight: f64,
    at: AnchorAt,
}

pub(super) fn build(spec: &TuneSpec) -> Box<dyn Term> {
    Box::new(Anchor { weight: spec.weights.anchor, at: spec.anchor_at })
}

impl Term for Anchor {
    fn name(&self) -> &'static str {
        "anchor"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn onset(&self) -> Onset {
        Onset::AtOnce
    }

    fn needs(&self) -> Option<&'static str> {
        Some("task prompts with an anchored position")
    }

    fn units(&self, batch: &Batch<'_>) -> usize {
        batch.task.iter().map(|example| anchored(example, self.at).len()).sum()
    }

    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError> {
        let task = context.task()?;
        let base_nv = task.base_logprobs_nv(context.base)?.detach();
        let tuned_nv = task.anchored_logprobs_nv()?;
        Ok(base_nv.exp()?.mul(&base_nv.sub(&tuned_nv)?)?.sum_all()?)
    }
}
