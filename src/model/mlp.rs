//! The MLP of a block: plain, gated, or a mixture of experts.

use std::collections::BTreeMap;

use candle_core::{D, Result, Tensor};

use super::architecture::Architecture;
use super::decoder::tap;
use super::error::ModelError;
use super::experts::Mixture;
use super::hook::{HookKind, Hooks};
use super::layout::MlpLayout;
use super::linear::{Linear, Owners};
use crate::ops::{self, Activation};

#[derive(Debug, Clone)]
enum Weights {
    Plain { up: Linear, down: Linear },
    Gated { gate: Linear, up: Linear, down: Linear },
    GatedFused { gate_up: Linear, down: Linear },
    Experts(Mixture),
}

#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    weights: Weights,
    activation: Activation,
}

impl Mlp {
    pub fn new(
        layout: &MlpLayout,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let linear = |place| Linear::new(place, tensors);
        let weights = match layout {
            MlpLayout::Plain { up, down } => Weights::Plain { up: linear(up)?, down: linear(down)? },
            MlpLayout::Gated { gate, up, down } => {
                Weights::Gated { gate: linear(gate)?, up: linear(up)?, down: linear(down)? }
            }
            MlpLayout::GatedFused { gate_up, down } => {
                Weights::GatedFused { gate_up: linear(gate_up)?, down: linear(down)? }
            }
            MlpLayout::Experts { router, experts } => {
                Weights::Experts(Mixture::new(router, experts, architecture, tensors)?)
            }
        };
        Ok(Self { weights, activation: architecture.activation })
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        match &mut self.weights {
            Weights::Plain { up, down } => vec![up, down],
            Weights::Gated { gate, up, down } => vec![gate, up, down],
            Weights::GatedFused { gate_up, down } => vec![gate_up, down],
            Weights::Experts(mixture) => mixture.linears_mut(),
        }
    }

    /// Whether every token meets the same weights.
    pub fn is_dense(&self) -> bool {
        !matches!(self.weights, Weights::Experts(_))
    }

    /// The output projection of a dense MLP, `[d, m]`.
    pub fn output_matrix(&self) -> Result<Option<Tensor>> {
        match &self.weights {
            Weights::Plain { down, .. } | Weights::Gated { down, .. } | Weights::GatedFused { down, .. } => {
                Ok(Some(down.matrix()?.0))
            }
            Weights::Experts(_) => Ok(None),
        }
    }

    /// `[b, t, d]` → `[b, t, d]`; the first dimension is of the batch rows that `owners` names.
    pub fn forward(
        &self,
        layer: usize,
        input_btd: &Tensor,
        owners: Owners<'_>,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let (post_btm, down) = match &self.weights {
            Weights::Plain { up, down } => {
                let pre_btm = tap(hooks, HookKind::MlpPre, layer, up.forward_for(input_btd, owners)?)?;
                (ops::activate(&pre_btm, self.activation)?, down)
            }
            Weights::Gated { gate, up, down } => {
                let pre_btm = tap(hooks, HookKind::MlpPre, layer, gate.forward_for(input_btd, owners)?)?;
                (ops::gated(&pre_btm, &up.forward_for(input_btd, owners)?, self.activation)?, down)
            }
            Weights::GatedFused { gate_up, down } => {
                let both = gate_up.forward_for(input_btd, owners)?;
                let width = both.dim(D::Minus1)? / 2;
                let pre_btm = tap(hooks, HookKind::MlpPre, layer, both.narrow(D::Minus1, 0, width)?)?;
                (ops::gated(&pre_btm, &both.narrow(D::Minus1, width, width)?, self.activation)?, down)
            }
            Weights::Experts(mixture) => return mixture.forward(layer, input_btd, owners, self.activation, hooks),
        };
        down.forward_for(&tap(hooks, HookKind::MlpPost, layer, post_btm)?, owners)
    }
}
