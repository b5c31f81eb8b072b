//! One forward and backward pass with taps.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Result, Tensor, Var};

use super::ready::Ready;
use super::spec::Method;
use crate::intervene::{InterveneError, RunBatch};
use crate::mediate::MediateError;
use crate::model::{HookKind, HookPoint, Hooks, LanguageModel};
use crate::ops::GradientTap;

/// A point of the method's path: whose tokens run, and what is put in.
pub(super) struct Step {
    /// Whether the corrupted tokens run; else the clean ones.
    corrupted: bool,
    /// What is put on the line between clean and corrupted, and where on it.
    line: Option<(HookPoint, f64)>,
}

impl Step {
    /// The points of a method's path on a model of `layers` blocks. All count alike.
    pub fn of(method: Method, layers: usize) -> Vec<Self> {
        let input = HookPoint::new(HookKind::Embed, 0);
        let shares = method.shares();
        match method {
            Method::Gradient | Method::InformationFlow => vec![Self { corrupted: false, line: None }],
            Method::CleanCorrupted => {
                vec![Self { corrupted: false, line: None }, Self { corrupted: true, line: None }]
            }
            Method::IntegratedInputs { .. } => {
                shares.into_iter().map(|share| Self { corrupted: false, line: Some((input, share)) }).collect()
            }
            Method::IntegratedActivations { .. } => {
                let blocks = (0..layers).flat_map(|layer| [HookKind::Z, HookKind::MlpOut].map(|kind| (kind, layer)));
                let points = [input].into_iter().chain(blocks.map(|(kind, layer)| HookPoint::new(kind, layer)));
                let on_line = |point| shares.iter().map(move |share| (point, *share));
                points.flat_map(on_line).map(|line| Self { corrupted: false, line: Some(line) }).collect()
            }
        }
    }

    /// What a method needs of the plain runs to take its steps.
    pub fn needs(method: Method, layers: usize) -> BTreeSet<HookPoint> {
        Self::of(method, layers).into_iter().filter_map(|step| step.line).map(|(point, _)| point).collect()
    }
}

/// The hooks of a pass: what is put in, what is tapped, what is kept.
struct Tapped<'a> {
    put: Option<(HookPoint, Tensor)>,
    taps: &'a BTreeMap<HookPoint, GradientTap>,
    keep: &'a BTreeSet<HookPoint>,
    kept: BTreeMap<HookPoint, Tensor>,
}

/// Every pass is made differentiable from here on.
const ROOT: HookPoint = HookPoint { kind: HookKind::Embed, layer: 0 };

impl Hooks for Tapped<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        let put = self.put.as_ref().is_some_and(|(place, _)| *place == point);
        point == ROOT || put || self.taps.contains_key(&point) || self.keep.contains(&point)
    }

    fn at(&mut self, point: HookPoint, activation: Tensor) -> Result<Tensor> {
        let put = self.put.as_ref().filter(|(place, _)| *place == point).map(|(_, value)| value.clone());
        let activation = match put {
            Some(value) => Var::from_tensor(&value)?.into_inner(),
            None if point == ROOT => Var::from_tensor(&activation.detach())?.into_inner(),
            None => activation,
        };
        if self.keep.contains(&point) {
            self.kept.insert(point, activation.detach());
        }
        match self.taps.get(&point) {
            Some(tap) => tap.on(&activation),
            None => Ok(activation),
        }
    }
}

impl Ready {
    /// Takes one step: a forward pass, and a backward pass of Σ L over the batch that shows its gradients to the taps.
    /// Gives the activations at `keep`.
    pub fn step(
        &self,
        model: &LanguageModel,
        step: &Step,
        taps: &BTreeMap<HookPoint, GradientTap>,
        keep: &BTreeSet<HookPoint>,
    ) -> std::result::Result<BTreeMap<HookPoint, Tensor>, MediateError> {
        let put = match step.line {
            None => None,
            Some((point, share)) => {
                let (clean, corrupted) = self.at(point)?;
                let value = || corrupted + ((clean - corrupted)? * share)?;
                Some((point, value().map_err(InterveneError::from)?))
            }
        };
        let batch: &RunBatch = if step.corrupted { &self.corrupted } else { &self.clean };
        let mut hooks = Tapped { put, taps, keep, kept: BTreeMap::new() };
        let logits_nv = self.pass(model, batch, &mut hooks)?;
        let outcomes = batch.outcomes(&logits_nv, self.reference.as_ref())?;
        let weights: Vec<f32> = self.signs.iter().map(|sign| -*sign as f32).collect();
        let backward = || {
            let weights = Tensor::from_vec(weights, self.pairs, outcomes.device())?;
            (&outcomes * weights)?.sum_all()?.backward().map(drop)
        };
        backward().map_err(InterveneError::from)?;
        Ok(hooks.kept)
    }
}
