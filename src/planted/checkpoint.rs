//! Writing a model of the benchmark as a folder that any reader of safetensors can open.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use super::error::PlantedError;
use crate::base::files;

/// Writes `config.json` and `model.safetensors` (f32).
pub fn write_checkpoint(folder: &Path, config: &Value, tensors: &BTreeMap<String, Tensor>) -> Result<(), PlantedError> {
    let mut raw: Vec<(&str, Vec<usize>, Vec<u8>)> = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let bytes = tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect();
        raw.push((name, tensor.dims().to_vec(), bytes));
    }
    let refuse = |error: safetensors::SafeTensorError| PlantedError::Request(format!("{}: {error}", folder.display()));
    let mut views = Vec::with_capacity(raw.len());
    for (name, shape, bytes) in &raw {
        views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(refuse)?));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(refuse)?;
    files::create_folder(folder)?;
    files::write_json(&folder.join("config.json"), config)?;
    Ok(files::write_atomic(&folder.join("model.safetensors"), &bytes)?)
}
