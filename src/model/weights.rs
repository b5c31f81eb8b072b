//! From the tensors of a checkpoint to the weights of a model: names, shapes and types.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::error::ModelError;
use super::format::Stored;
use super::layout::Layout;

/// Reads the tensors that a layout has a place for, under their canonical names.
pub(crate) fn read(
    stored: BTreeMap<String, Stored>,
    layout: &Layout,
    dtype: DType,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let assigned = layout.assign(stored, |tensor| tensor.shape().to_vec())?;
    if let (Some(head), Some(embedding)) = (&assigned.tied_head, assigned.weights.get(&layout.embedding.0))
        && !head.same(embedding)
    {
        return Err(tied_differ(layout));
    }
    let load = |(name, stored): (String, Stored)| {
        let tensor = stored.read(&name, dtype, device)?;
        Ok((name, tensor))
    };
    assigned.weights.into_iter().map(load).collect()
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
