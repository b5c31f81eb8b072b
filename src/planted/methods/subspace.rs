//! The trap of the dormant direction: a one-dimensional patch that finds an effect which the component does not have.
//!
//! Along v = (what the decoy writes + what the logit reads and nobody writes)/√2, an interchange moves half of the
//! difference of the first into the second, and so wakes it (Makelov, Lange and Nanda 2023, arXiv 2311.17030). The whole
//! component's effect stands beside it: a subspace that beats its component is to be rejected.

use candle_core::{Result as TensorResult, Tensor};
use serde::{Deserialize, Serialize};

use super::super::error::PlantedError;
use super::super::node::Node;
use super::super::task::Task;
use super::exact::run;
use crate::base::Silent;
use crate::intervene::{Side, TokenPair};
use crate::model::{HookKind, HookPoint, Hooks, NoHooks, Readout};

/// Where a compiled model has its dormant direction.
#[derive(Debug, Clone)]
pub struct Dormant {
    /// The head that writes the direction's visible half.
    pub decoy: Node,
    /// v, `[d]`, in the stream after the decoy's block.
    pub direction_d: Tensor,
    /// The mean effect that its patch has by closed form, noising, in nats.
    pub closed_form: f64,
}

/// Mean effects of noising over a task's pairs, in nats of logit difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DormantEffects {
    /// Of the patch along v, measured.
    pub subspace: f64,
    /// The same by closed form.
    pub closed_form: f64,
    /// Of the whole component, measured.
    pub component: f64,
}

/// Moves the stream, at the last position, to another run's coordinate along one direction.
struct Along<'a> {
    point: HookPoint,
    direction_d: &'a Tensor,
    source_btd: Option<Tensor>,
}

impl Hooks for Along<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.point
    }

    /// The first run is the source, and is left as it is.
    fn at(&mut self, _: HookPoint, resid_btd: Tensor) -> TensorResult<Tensor> {
        let Some(source_btd) = &self.source_btd else {
            self.source_btd = Some(resid_btd.clone());
            return Ok(resid_btd);
        };
        let before = resid_btd.dim(1)?.saturating_sub(1);
        let own = resid_btd.narrow(1, before, 1)?;
        let difference = (source_btd.narrow(1, before, 1)? - &own)?;
        let along = difference.broadcast_mul(self.direction_d)?.sum_keepdim(2)?.broadcast_mul(self.direction_d)?;
        Tensor::cat(&[resid_btd.narrow(1, 0, before)?, (own + along)?], 1)
    }
}

/// Measures the patch along the dormant direction and the whole component; `None` where a task has no such direction.
pub fn dormant_effects(task: &Task) -> Result<Option<DormantEffects>, PlantedError> {
    let Some(Dormant { decoy, direction_d, closed_form }) = &task.dormant else { return Ok(None) };
    let point = HookPoint::new(HookKind::ResidPost, decoy.layer());
    let mut hooks = Along { point, direction_d, source_btd: None };
    outcomes(task, Side::Counterfactual, &mut hooks)?;
    let patched = outcomes(task, Side::Factual, &mut hooks)?;
    let plain = outcomes(task, Side::Factual, &mut NoHooks)?;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let component = run(task, &[decoy.site()], &Silent)?.into_iter().next();
    Ok(Some(DormantEffects {
        subspace: mean(&patched) - mean(&plain),
        closed_form: *closed_form,
        component: component.map_or(0.0, |[noise, _]| mean(&noise)),
    }))
}

/// logit(a) − logit(b) of one side of every pair.
fn outcomes(task: &Task, side: Side, hooks: &mut dyn Hooks) -> Result<Vec<f64>, PlantedError> {
    let last = task.tokens().saturating_sub(1);
    let rows: Vec<(usize, usize)> = (0..task.pairs.len()).map(|row| (row, last)).collect();
    let logits = task.model.forward(&task.ids(side)?, Readout::Rows(&rows), hooks)?.to_vec2::<f32>()?;
    let value = |(pair, logits): (&TokenPair, &Vec<f32>)| {
        let [a, b] = pair.answers(side).map(|answer| answer.first().and_then(|token| logits.get(*token as usize)));
        a.zip(b).map_or(f64::NAN, |(a, b)| f64::from(a - b))
    };
    Ok(task.pairs.iter().zip(&logits).map(value).collect())
}
