//! A norm of the decoder with its gain and bias.

use std::collections::BTreeMap;

use candle_core::{D, DType, Result, Tensor};

use super::architecture::{Architecture, NormKind};
use super::decoder::tap;
use super::error::ModelError;
use super::hook::{HookKind, Hooks};
use super::layout::{NormPlace, named};
use crate::ops;

#[derive(Debug, Clone)]
pub(crate) struct Norm {
    module: String,
    kind: NormKind,
    eps: f64,
    /// `[width]`, or `[h, k]` where each head has a gain of its own.
    gain: Tensor,
    bias: Option<Tensor>,
}

impl Norm {
    pub fn new(
        place: &NormPlace,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let gain = named(tensors, &format!("{}.weight", place.module))?;
        let bias = match place.bias {
            true => Some(named(tensors, &format!("{}.bias", place.module))?),
            false => None,
        };
        Ok(Self { module: place.module.clone(), kind: architecture.norm, eps: architecture.norm_eps, gain, bias })
    }

    pub fn optional(
        place: &Option<NormPlace>,
        architecture: &Architecture,
        tensors: &BTreeMap<String, Tensor>,
    ) -> std::result::Result<Option<Self>, ModelError> {
        place.as_ref().map(|place| Self::new(place, architecture, tensors)).transpose()
    }

    /// The gain or bias that is called `name`.
    pub fn parameter(&mut self, name: &str) -> Option<&mut Tensor> {
        match name.strip_prefix(self.module.as_str())? {
            ".weight" => Some(&mut self.gain),
            ".bias" => self.bias.as_mut(),
            _ => None,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.kind {
            NormKind::Rms => ops::rms_norm(x, &self.gain, self.eps),
            NormKind::RmsOnePlus => ops::rms_norm(x, &(&self.gain + 1.0)?, self.eps),
            NormKind::Layer => self.layer_norm(x),
            NormKind::None => Ok(x.clone()),
        }
    }

    /// The part of the norm of `total: [n, d]` that each of the `parts: [u, n, d]` brings, without the bias: the norm
    /// with its scale held at the total's. Linear in the parts, and their sum is the total's norm if theirs is the total.
    pub fn shares(&self, parts_und: &Tensor, total_nd: &Tensor) -> Result<Tensor> {
        let (parts, total) = match self.kind {
            NormKind::Layer => {
                let centred = |x: &Tensor| x.broadcast_sub(&x.mean_keepdim(D::Minus1)?);
                (centred(parts_und)?, centred(total_nd)?)
            }
            _ => (parts_und.clone(), total_nd.clone()),
        };
        let scale_n1 = (total.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        let gain = match self.kind {
            NormKind::RmsOnePlus => (&self.gain + 1.0)?,
            _ => self.gain.clone(),
        };
        parts.broadcast_div(&scale_n1.unsqueeze(0)?)?.broadcast_mul(&gain.detach())
    }

    /// The bias, where there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    fn layer_norm(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(D::Minus1)?;
        let zeros = || Tensor::zeros(width, DType::F32, x.device())?.to_dtype(x.dtype());
        match (self.gain.rank(), &self.bias) {
            (1, Some(bias)) => ops::layer_norm(x, &self.gain, Some(bias), self.eps),
            (1, None) => ops::layer_norm(x, &self.gain, Some(&zeros()?), self.eps),
            _ => ops::layer_norm(x, &zeros()?.ones_like()?, Some(&zeros()?), self.eps)?.broadcast_mul(&self.gain),
        }
    }

    /// The final norm with its hook: before the gain for an RMS norm, after gain and bias for a layer norm.
    pub fn forward_hooked(&self, x: &Tensor, hooks: &mut dyn Hooks) -> Result<Tensor> {
        let gain = match self.kind {
            NormKind::Layer | NormKind::None => return tap(hooks, HookKind::FinalNormalized, 0, self.forward(x)?),
            NormKind::Rms => self.gain.clone(),
            NormKind::RmsOnePlus => (&self.gain + 1.0)?,
        };
        tap(hooks, HookKind::FinalNormalized, 0, ops::normalize(x, self.eps)?)?.broadcast_mul(&gain)
    }
}
