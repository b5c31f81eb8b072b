//! Canary loss: mean next-token cross entropy, in nats, over the canary texts that a coin put into the tuning data. The
//! same in every arm. Unit: predicted token.

use candle_core::Tensor;

use crate::tune::data::Batch;
use crate::tune::error::TuneError;
use crate::tune::objective::{Onset, StepContext, Term};
use crate::tune::spec::TuneSpec;
use crate::tune::text::{text_loss, text_units};

struct Canary {
    weight: f64,
}

pub(super) fn build(spec: &TuneSpec) -> Box<dyn Term> {
    Box::new(Canary { weight: spec.weights.canary })
}

impl Term for Canary {
    fn name(&self) -> &'static str {
        "canary"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn onset(&self) -> Onset {
        Onset::AtOnce
    }

    fn needs(&self) -> Option<&'static str> {
        None
    }

    fn units(&self, batch: &Batch<'_>) -> usize {
        batch.canaries.iter().map(|text| text_units(&text.ids)).sum()
    }

    fn loss(&self, context: &StepContext<'_>) -> Result<Tensor, TuneError> {
        let texts: Vec<&[u32]> = context.batch.canaries.iter().map(|text| text.ids.as_slice()).collect();
        text_loss(context.model, &texts)
    }
}
