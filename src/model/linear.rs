//! A linear layer with its low-rank adapters: y = W x + b + Σ s·B(A x).

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::error::ModelError;
use super::layout::{LinearPlace, named};
use crate::ops::{self, FrozenWeight, WeightLayout};

/// One adapter of one layer. `a: [r, in]`, `b: [out, r]`; both may be variables.
#[derive(Debug, Clone)]
pub(crate) struct Lora {
    pub a: Tensor,
    pub b: Tensor,
    pub scale: f64,
}

/// A linear layer of the decoder.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub place: LinearPlace,
    weight: Tensor,
    bias: Option<Tensor>,
    adapters: Vec<Lora>,
}

impl Linear {
    pub fn new(place: &LinearPlace, tensors: &BTreeMap<String, Tensor>) -> std::result::Result<Self, ModelError> {
        let weight = named(tensors, &format!("{}.weight", place.module))?;
        Self::with_weight(place, weight, tensors)
    }

    /// The layer with a weight that is stored elsewhere (a tied head).
    pub fn with_weight(
        place: &LinearPlace,
        weight: Tensor,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let bias = match place.bias {
            true => Some(named(tensors, &format!("{}.bias", place.module))?),
            false => None,
        };
        Ok(Self { place: place.clone(), weight, bias, adapters: Vec::new() })
    }

    pub fn attach(&mut self, lora: Lora) {
        self.adapters.push(lora);
    }

    /// `x: [.., in]` → `[.., out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let layout = self.place.layout;
        let Some((first, others)) = self.adapters.split_first() else {
            return ops::linear(x, &self.weight, self.bias.as_ref(), layout);
        };
        let frozen = FrozenWeight { weight: &self.weight, bias: self.bias.as_ref(), layout };
        let mut y = ops::lora_linear(x, frozen, &first.a, &first.b, first.scale)?;
        for Lora { a, b, scale } in others {
            let low = ops::linear(x, a, None, WeightLayout::OutIn)?;
            y = (y + ops::linear(&(low * *scale)?, b, None, WeightLayout::OutIn)?)?;
        }
        Ok(y)
    }
}
