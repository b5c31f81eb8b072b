//! An affine map behind what a sub-layer adds to the stream, folded into the weights of its output projection.
//!
//! With y = s (W x + b) what the sub-layer adds (s a family's residual scale, else 1), A y + c is the same sub-layer with
//! W′ = A W and b′ = A b + c/s. That is exact where nothing stands between the projection and the stream but s.

use candle_core::{DType, Tensor};

use super::error::ModelError;
use super::hook::{HookKind, HookPoint};
use super::language_model::LanguageModel;
use super::layout::{BlockLayout, LinearPlace, MlpLayout, named};
use crate::ops::WeightLayout;

/// A constant smaller than this in every entry is none.
const NOTHING: f32 = 1e-7;

impl LanguageModel {
    /// This model with A `[d, d]` and c `[d]` behind `blocks.l.hook_attn_out` or `blocks.l.hook_mlp_out`, under a digest
    /// of its own. The error says why, where the weights cannot hold the map: another point, a norm behind the
    /// projection, several experts, no bias for c, or matrices that are kept in fewer bits.
    pub fn fold_output(&self, point: HookPoint, a_dd: &Tensor, c_d: &Tensor) -> Result<LanguageModel, ModelError> {
        let refuse = |reason: &str| Err(ModelError::Request(reason.to_owned()));
        let Some(block) = self.layout().blocks.get(point.layer) else {
            return refuse("the model has no such block");
        };
        let place = match output(block, point.kind) {
            Ok(place) => place,
            Err(reason) => return refuse(reason),
        };
        let c_d = c_d.to_dtype(DType::F32)?;
        if !place.bias && c_d.abs()?.max(0)?.to_scalar::<f32>()? > NOTHING {
            return refuse("its output projection has no bias to hold the map's constant");
        }
        let mut tensors = self.tensors().clone();
        let name = format!("{}.weight", place.module);
        let weight = named(&tensors, &name)?;
        let a_dd = a_dd.to_dtype(DType::F32)?;
        let wide = weight.to_dtype(DType::F32)?;
        let folded = match place.layout {
            WeightLayout::OutIn => a_dd.matmul(&wide)?,
            WeightLayout::InOut => wide.matmul(&a_dd.t()?)?,
        };
        tensors.insert(name, folded.to_dtype(weight.dtype())?);
        if place.bias {
            let name = format!("{}.bias", place.module);
            let bias = named(&tensors, &name)?;
            let turned = a_dd.matmul(&bias.to_dtype(DType::F32)?.unsqueeze(1)?)?.squeeze(1)?;
            let constant = (c_d / self.architecture().residual_scale.unwrap_or(1.0))?;
            tensors.insert(name, (turned + constant)?.to_dtype(bias.dtype())?);
        }
        self.with_tensors(tensors, self.architecture().clone(), self.layout().clone())
    }
}

/// The projection whose output, but for a scale, is what the point carries.
fn output(block: &BlockLayout, kind: HookKind) -> Result<&LinearPlace, &'static str> {
    let norm = "a norm stands between its output projection and the stream";
    match (kind, &block.mlp) {
        (HookKind::AttnOut, _) if block.attention_out_norm.is_some() => Err(norm),
        (HookKind::AttnOut, _) => Ok(&block.attention_out),
        (HookKind::MlpOut, _) if block.mlp_out_norm.is_some() => Err(norm),
        (HookKind::MlpOut, MlpLayout::Plain { down, .. })
        | (HookKind::MlpOut, MlpLayout::Gated { down, .. })
        | (HookKind::MlpOut, MlpLayout::GatedFused { down, .. }) => Ok(down),
        (HookKind::MlpOut, MlpLayout::Experts { .. }) => Err("several experts add to the stream there"),
        _ => Err("no single projection writes there; only hook_attn_out and hook_mlp_out can be folded"),
    }
}
