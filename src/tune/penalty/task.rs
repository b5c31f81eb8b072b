//! Task loss: mean cross entropy, in nats, of the true answer's tokens given the prompt (and the answer's earlier
//! tokens). Prompt tokens carry no loss. Unit: answer token.

use candle_core::Tensor;

use crate::tune::data::Batch;
use crate::tune::error::TuneError;
use crate::tune::objective::{Onset, StepContext, Term};
use crate::tune::spec::TuneSpec;

struct Task {
    weight: f64,
}

pub(super) fn build(spec: &TuneSpec) -> Box<dyn Term> {
    Box::new(Task { weight: spec.weights.task })
}

impl Term for Task {
    fn name(&self) -> &'static str {
        "task"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn onset(&self) -> Onset {
        Onset::AtOnce
    }

    fn needs(&self) -> Option<&'static str> {
        Some("labelled task items")
    }

    fn units(&self, batch: &Batch<'_>) -> usize {
        batch.task.iter().map(|example| example.gold().len()).sum()
    }

    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError> {
        Ok(context.task()?.gold_logprobs_n()?.sum_all()?.neg()?)
    }
}
