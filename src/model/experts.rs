//! A mixture of experts: y = Σ over the chosen experts of w·down(act(gate x)·up x), w the router's softmax over all
//! experts, in some families divided by the sum over the chosen.
//!
//! Cost: each token runs through the chosen experts alone. Which experts these are is decided on the host.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

use super::architecture::{Architecture, Experts};
use super::decoder::tap;
use super::error::ModelError;
use super::hook::{HookKind, Hooks};
use super::layout::{ExpertLayout, LinearPlace};
use super::linear::{Linear, Owners};
use crate::ops::{self, Activation};

#[derive(Debug, Clone)]
struct Expert {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Expert {
    /// `x: [n, d]`, each row of the batch row that `owners` names.
    fn forward(&self, x_nd: &Tensor, activation: Activation, owners: Owners<'_>) -> Result<Tensor> {
        let [gate_nm, up_nm] = [self.gate.forward_for(x_nd, owners)?, self.up.forward_for(x_nd, owners)?];
        self.down.forward_for(&ops::gated(&gate_nm, &up_nm, activation)?, owners)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Mixture {
    router: Linear,
    experts: Vec<Expert>,
    chosen: usize,
    normalized: bool,
}

/// The tokens of one expert, and where in the list of all choices each stands.
#[derive(Clone, Default)]
struct Share {
    tokens: Vec<u32>,
    choices: Vec<u32>,
}

impl Mixture {
    pub fn new(
        router: &LinearPlace,
        experts: &[ExpertLayout],
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let expert = |ExpertLayout { gate, up, down }: &ExpertLayout| {
            let linear = |place| Linear::new(place, tensors);
            Ok(Expert { gate: linear(gate)?, up: linear(up)?, down: linear(down)? })
        };
        let Some(Experts { chosen, normalized, .. }) = architecture.experts else {
            return Err(ModelError::Request("a block of experts in an architecture without any".into()));
        };
        let experts = experts.iter().map(expert).collect::<std::result::Result<_, ModelError>>()?;
        Ok(Self { router: Linear::new(router, tensors)?, experts, chosen, normalized })
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let experts = self.experts.iter_mut().flat_map(|Expert { gate, up, down }| [gate, up, down]);
        [&mut self.router].into_iter().chain(experts).collect()
    }

    /// `[b, t, d]` → `[b, t, d]`.
    pub fn forward(
        &self,
        layer: usize,
        input_btd: &Tensor,
        owners: Owners<'_>,
        activation: Activation,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor> {
        let (_, tokens, _) = input_btd.dims3()?;
        let weights_bte = ops::softmax(&self.router.forward_for(input_btd, owners)?)?;
        let weights_bte = tap(hooks, HookKind::ExpertWeights, layer, weights_bte)?;
        let (x_nd, weights_ne) = (input_btd.flatten(0, 1)?, weights_bte.flatten(0, 1)?);
        let choices = self.choose(&weights_ne)?;
        let weights = self.weights_of(&weights_ne, &choices)?;
        let mut out_nd = x_nd.zeros_like()?;
        for (expert, share) in self.experts.iter().zip(self.shares(&choices)) {
            if share.tokens.is_empty() {
                continue;
            }
            let row = |token: &u32| {
                let row = *token as usize / tokens.max(1);
                match owners {
                    Owners::Batch => row,
                    Owners::Listed(owners) => owners.get(row).copied().unwrap_or(row),
                }
            };
            let rows: Vec<usize> = share.tokens.iter().map(row).collect();
            let count = share.tokens.len();
            let places = Tensor::from_vec(share.tokens, count, x_nd.device())?;
            let choices = Tensor::from_vec(share.choices, count, x_nd.device())?;
            let y_nd = expert.forward(&x_nd.index_select(&places, 0)?, activation, Owners::Listed(&rows))?;
            let weighted_nd = y_nd.broadcast_mul(&weights.index_select(&choices, 0)?.unsqueeze(1)?)?;
            out_nd = out_nd.index_add(&places, &weighted_nd, 0)?;
        }
        out_nd.reshape(input_btd.shape())
    }

    /// The experts with the largest weights, token by token, largest first; the first of equals.
    fn choose(&self, weights_ne: &Tensor) -> Result<Vec<u32>> {
        let rows = weights_ne.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let best = |row: &Vec<f32>| {
            let mut order: Vec<(u32, f32)> = (0u32..).zip(row.iter().copied()).collect();
            order.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            order.into_iter().take(self.chosen).map(|(expert, _)| expert).collect::<Vec<_>>()
        };
        Ok(rows.iter().flat_map(best).collect())
    }

    /// The weight of each choice, `[n · chosen]`.
    fn weights_of(&self, weights_ne: &Tensor, choices: &[u32]) -> Result<Tensor> {
        let (tokens, _) = weights_ne.dims2()?;
        let index = Tensor::from_slice(choices, (tokens, self.chosen), weights_ne.device())?;
        let weights_nc = weights_ne.contiguous()?.gather(&index, 1)?;
        match self.normalized {
            true => weights_nc.broadcast_div(&weights_nc.sum_keepdim(1)?)?.flatten_all(),
            false => weights_nc.flatten_all(),
        }
    }

    fn shares(&self, choices: &[u32]) -> Vec<Share> {
        let mut shares = vec![Share::default(); self.experts.len()];
        for (choice, expert) in choices.iter().enumerate() {
            if let Some(share) = shares.get_mut(*expert as usize) {
                share.tokens.push((choice / self.chosen) as u32);
                share.choices.push(choice as u32);
            }
        }
        shares
    }
}
