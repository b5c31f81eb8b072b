//! From the tensors of a checkpoint to the weights of a model: names, shapes and types.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::base_type::BaseType;
use super::error::ModelError;
use super::format::Stored;
use super::language_model::LoadOptions;
use super::layout::Layout;
use crate::ops::PackedWeight;

/// The weights of a model, as they stand in memory.
pub(crate) struct Weights {
    /// In the type that is computed in.
    pub tensors: BTreeMap<String, Tensor>,
    /// In fewer bits.
    pub packed: BTreeMap<String, PackedWeight>,
}

/// Reads the tensors that a layout has a place for, under their canonical names.
pub(crate) fn read(
    stored: BTreeMap<String, Stored>,
    layout: &Layout,
    options: &LoadOptions,
) -> Result<Weights, ModelError> {
    let assigned = layout.assign(stored, |tensor| tensor.shape().to_vec())?;
    if let (Some(head), Some(embedding)) = (&assigned.tied_head, assigned.weights.get(&layout.embedding.0))
        && !head.same(embedding)
    {
        return Err(tied_differ(layout));
    }
    let LoadOptions { device, dtype, base } = options;
    let matrices = match (base, device) {
        (BaseType::Compute, _) => BTreeSet::new(),
        (_, Device::Cpu) if *dtype == DType::F32 => layout.matrices(),
        _ => return Err(ModelError::Request(format!("base type {base}: only the CPU, in f32, widens weights"))),
    };
    let mut weights = Weights { tensors: BTreeMap::new(), packed: BTreeMap::new() };
    for (name, stored) in assigned.weights {
        let packed = match matrices.contains(&name) {
            true => stored.pack(&name, *base)?,
            false => None,
        };
        match packed {
            Some(packed) => drop(weights.packed.insert(name, packed)),
            None => {
                let tensor = stored.read(&name, *dtype, device)?;
                weights.tensors.insert(name, tensor);
            }
        }
    }
    Ok(weights)
}

/// The error of a tied head that differs from its embedding.
pub(crate) fn tied_differ(layout: &Layout) -> ModelError {
    ModelError::TiedTensorsDiffer {
        head: format!("{}.weight", layout.head.module),
        embedding: layout.embedding.0.clone(),
    }
}

/// One tensor of a safetensors file as `dtype` on the device.
pub(crate) fn tensor(name: &str, view: &TensorView<'_>, dtype: DType, device: &Device) -> Result<Tensor, ModelError> {
    let stored = match view.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return Err(ModelError::WrongDtype { name: name.to_owned(), found: format!("{other:?}") }),
    };
    let tensor = Tensor::from_raw_buffer(view.data(), stored, view.shape(), &Device::Cpu)?;
    Ok(tensor.to_dtype(dtype)?.to_device(device)?)
}
