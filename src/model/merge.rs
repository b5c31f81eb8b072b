//! Merging an adapter into its base: W + s·BA, or m/‖W + s·BA‖ · (W + s·BA) for a weight-decomposed one, in single
//! precision, then in the type of the weight.

use candle_core::{DType, Tensor};

use super::adapter::Adapter;
use super::decoder::Readout;
use super::error::ModelError;
use super::hook::NoHooks;
use super::language_model::LanguageModel;
use super::layout::{BlockLayout, named};
use super::linear::{Lora, merged};
use crate::ops::WeightLayout;

/// A base with an adapter merged into its weights.
#[derive(Clone)]
pub struct Merged {
    /// The model; it has a digest of its own and no trace of the adapter.
    pub model: LanguageModel,
    /// The largest absolute difference between its logits and those of base and adapter side by side, on the probe.
    pub drift: f64,
}

impl LanguageModel {
    /// Merges an adapter into this model's weights and measures on a probe of token ids `[b, t]` how far the merged
    /// model's logits are from the unmerged ones'. A head that is tied to the embedding becomes a weight of its own
    /// where the adapter changes one of the two. Cost: two passes over the probe.
    pub fn merge(&self, adapter: &Adapter, probe_bt: &Tensor) -> Result<Merged, ModelError> {
        let adapter = adapter.frozen();
        let mut tensors = self.tensors().clone();
        let (mut architecture, mut layout) = (self.architecture().clone(), self.layout().clone());
        let (head, embedding) = (format!("{}.weight", layout.head.module), layout.embedding.0.clone());
        let updates = adapter.updates(&self.linear_modules())?;
        let head_changes = updates.contains_key(&layout.head.module) || adapter.replaced().contains_key(&head);
        if layout.tied && (head_changes || adapter.replaced().contains_key(&embedding)) {
            tensors.insert(head, named(&tensors, &embedding)?);
            architecture.tied_head = false;
            layout.tied = false;
        }
        for (name, tensor) in adapter.replaced() {
            let place = named(&tensors, name)?;
            tensors.insert(name.clone(), tensor.to_dtype(place.dtype())?);
        }
        let places = layout.blocks.iter().flat_map(BlockLayout::linears).chain([&layout.head]);
        for place in places {
            let Some(lora) = updates.get(&place.module) else { continue };
            let name = format!("{}.weight", place.module);
            let weight = named(&tensors, &name)?;
            tensors.insert(name, merged_weight(&weight, place.layout, lora)?);
        }
        let model = self.with_tensors(tensors, architecture, layout)?;
        let logits = |model: &LanguageModel| model.forward(probe_bt, Readout::All, &mut NoHooks);
        let difference = (logits(&model)?.detach() - logits(&self.with_adapter(&adapter)?)?.detach())?;
        let drift = difference.to_dtype(DType::F32)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        Ok(Merged { model, drift: f64::from(drift) })
    }
}

fn merged_weight(weight: &Tensor, layout: WeightLayout, lora: &Lora) -> Result<Tensor, ModelError> {
    let Lora { a, b, scale, magnitude } = lora;
    let merged = merged(weight, layout, a, b, *scale)?;
    let merged = match magnitude {
        None => merged,
        Some(magnitude) => {
            let stretch = (magnitude.detach() / merged.sqr()?.sum(1)?.sqrt()?)?;
            merged.broadcast_mul(&stretch.unsqueeze(1)?)?
        }
    };
    let stored = match layout {
        WeightLayout::OutIn => merged,
        WeightLayout::InOut => merged.t()?.contiguous()?,
    };
    Ok(stored.to_dtype(weight.dtype())?)
}
