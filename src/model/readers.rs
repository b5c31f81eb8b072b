//! What reads an activation: the matrices that stand behind a point of the stream, taken together.
//!
//! With norms at the scale that they have (a norm's gain, and a layer norm's centring, belong to the matrix behind it),
//! everything later reads the stream through the input projections of the blocks that follow and through the head.
//! G = Σ_i M_iᵀ M_i / ‖M_i‖², so that each counts as one, whatever its size: a vector x with xᵀ G x = 0 is read by nobody.

use candle_core::{DType, Tensor};

use super::architecture::NormKind;
use super::error::ModelError;
use super::hook::{HookKind, HookPoint};
use super::language_model::LanguageModel;
use super::layout::{AttentionInput, BlockLayout, LinearPlace, MlpLayout, NormPlace, named};
use crate::ops::WeightLayout;

impl LanguageModel {
    /// G `[w, w]` of a point of the stream, of what a sub-layer adds to it, of one `head`'s output (`hook_z`) or of an
    /// MLP's neurons (`hook_post`), in single precision; `None` at other points. Weights that are kept in fewer bits are an error. Cost: d² for every row
    /// of the matrices, the head's rows included.
    pub fn reader_gram(&self, point: HookPoint, head: Option<usize>) -> Result<Option<Tensor>, ModelError> {
        let parallel = self.architecture().parallel_residual;
        let (attention, mlp, next) = match point.kind {
            HookKind::ResidPre => (true, true, point.layer + 1),
            HookKind::Z | HookKind::AttnOut | HookKind::ResidMid => (false, !parallel, point.layer + 1),
            HookKind::MlpPost | HookKind::MlpOut | HookKind::ResidPost => (false, false, point.layer + 1),
            _ => return Ok(None),
        };
        let layout = self.layout();
        let mut readers: Vec<(Option<&NormPlace>, &LinearPlace)> = Vec::new();
        let own = layout.blocks.get(point.layer);
        own.filter(|_| attention).into_iter().for_each(|block| readers.extend(attention_inputs(block)));
        own.filter(|_| mlp).into_iter().for_each(|block| readers.extend(mlp_inputs(block)));
        for block in layout.blocks.iter().skip(next) {
            readers.extend(attention_inputs(block));
            readers.extend(mlp_inputs(block));
        }
        let d_model = self.architecture().d_model;
        let mut gram_dd = Tensor::zeros((d_model, d_model), DType::F32, self.device())?;
        for (norm, place) in readers {
            gram_dd = (gram_dd + self.share(norm, self.weight(place)?)?)?;
        }
        let head_vd = match layout.tied {
            true => named(self.tensors(), &layout.embedding.0)?.to_dtype(DType::F32)?,
            false => self.weight(&layout.head)?,
        };
        gram_dd = (gram_dd + self.share(Some(&layout.final_norm), head_vd)?)?;
        let Some(block) = own else { return Ok(None) };
        let width = self.architecture().head_dim;
        match (point.kind, head, down(&block.mlp)) {
            (HookKind::Z, Some(head), _) => {
                let columns = self.weight(&block.attention_out)?.narrow(1, head * width, width)?.contiguous()?;
                Ok(Some(self.through(block.attention_out_norm.as_ref(), columns, &gram_dd)?))
            }
            (HookKind::MlpPost, _, Some(down)) => {
                Ok(Some(self.through(block.mlp_out_norm.as_ref(), self.weight(down)?, &gram_dd)?))
            }
            (HookKind::Z | HookKind::MlpPost, ..) => Ok(None),
            _ => Ok(Some(gram_dd)),
        }
    }

    /// The weight of a linear layer, `[out, in]`.
    fn weight(&self, place: &LinearPlace) -> Result<Tensor, ModelError> {
        let weight = named(self.tensors(), &format!("{}.weight", place.module))?.to_dtype(DType::F32)?;
        Ok(match place.layout {
            WeightLayout::OutIn => weight,
            WeightLayout::InOut => weight.t()?.contiguous()?,
        })
    }

    /// MᵀM / ‖M‖² of a matrix `[out, d]` behind a norm; zero where M is.
    fn share(&self, norm: Option<&NormPlace>, weight: Tensor) -> Result<Tensor, ModelError> {
        let behind = match norm {
            None => weight,
            Some(norm) => self.behind(norm, &weight)?,
        };
        let size = behind.sqr()?.sum_all()?.to_scalar::<f32>()?;
        let gram = behind.t()?.contiguous()?.matmul(&behind)?;
        Ok(if size > 0.0 { (gram / f64::from(size))? } else { gram })
    }

    /// M · diag(gain), centred for a layer norm.
    fn behind(&self, norm: &NormPlace, weight: &Tensor) -> Result<Tensor, ModelError> {
        let gain = named(self.tensors(), &format!("{}.weight", norm.module))?.to_dtype(DType::F32)?;
        let gain = if self.architecture().norm == NormKind::RmsOnePlus { (gain + 1.0)? } else { gain };
        let scaled = weight.broadcast_mul(&gain)?;
        Ok(match self.architecture().norm {
            NormKind::Layer => scaled.broadcast_sub(&scaled.mean_keepdim(1)?)?,
            _ => scaled,
        })
    }

    /// Wᵀ G W of columns `[d, w]` of an output projection, behind which an RMS norm may scale what is written.
    fn through(&self, norm: Option<&NormPlace>, columns: Tensor, gram_dd: &Tensor) -> Result<Tensor, ModelError> {
        let columns = match norm {
            None => columns,
            Some(norm) => self.behind(norm, &columns.t()?.contiguous()?)?.t()?.contiguous()?,
        };
        Ok(columns.t()?.contiguous()?.matmul(&gram_dd.matmul(&columns)?)?)
    }
}

/// The one output projection of an MLP; a mixture has several.
fn down(mlp: &MlpLayout) -> Option<&LinearPlace> {
    match mlp {
        MlpLayout::Plain { down, .. } | MlpLayout::Gated { down, .. } | MlpLayout::GatedFused { down, .. } => {
            Some(down)
        }
        MlpLayout::Experts { .. } => None,
    }
}

fn attention_inputs(block: &BlockLayout) -> Vec<(Option<&NormPlace>, &LinearPlace)> {
    let places = match &block.attention {
        AttentionInput::Separate { q, k, v } => vec![q, k, v],
        AttentionInput::Fused(qkv, _) => vec![qkv],
    };
    places.into_iter().map(|place| (block.attention_in_norm.as_ref(), place)).collect()
}

fn mlp_inputs(block: &BlockLayout) -> Vec<(Option<&NormPlace>, &LinearPlace)> {
    let places = match &block.mlp {
        MlpLayout::Plain { up, .. } => vec![up],
        MlpLayout::Gated { gate, up, .. } => vec![gate, up],
        MlpLayout::GatedFused { gate_up, .. } => vec![gate_up],
        MlpLayout::Experts { router, experts } => {
            [router].into_iter().chain(experts.iter().flat_map(|expert| [&expert.gate, &expert.up])).collect()
        }
    };
    places.into_iter().map(|place| (block.mlp_in_norm.as_ref(), place)).collect()
}
