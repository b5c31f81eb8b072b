//! Reading checkpoints: `model.safetensors`, or the shards that `model.safetensors.index.json` lists, as f32.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::base_type::BaseType;
use super::error::ModelError;
use super::language_model::LoadOptions;
use super::layout::Layout;
use crate::base::files;
use crate::ops::PackedWeight;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The weight files of a folder.
fn shards(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = folder.join("model.safetensors");
    if files::exists(&single) {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    if !files::exists(&index) {
        return Err(ModelError::NoWeights { folder: folder.to_path_buf() });
    }
    let names: BTreeSet<String> = files::read_json::<Index>(&index)?.weight_map.into_values().collect();
    let inside = |name: &String| !name.contains(['/', '\\']) && name != "..";
    if let Some(name) = names.iter().find(|name| !inside(name)) {
        return Err(ModelError::Weights { path: index, message: format!("shard {name:?} lies outside the folder") });
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// The weights of a model, as they stand in memory.
pub(crate) struct Weights {
    /// In the type that is computed in.
    pub tensors: BTreeMap<String, Tensor>,
    /// In fewer bits.
    pub packed: BTreeMap<String, PackedWeight>,
}

/// Reads the tensors of a checkpoint's folder under their canonical names.
pub(crate) fn read_folder(folder: &Path, layout: &Layout, options: &LoadOptions) -> Result<Weights, ModelError> {
    let paths = shards(folder)?;
    let maps = paths.iter().map(|path| files::map(path)).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<(&Path, &[u8])> =
        paths.iter().map(PathBuf::as_path).zip(maps.iter().map(|map| &map[..])).collect();
    read_bytes(&sources, layout, options)
}

/// Reads the tensors of safetensors files that are in memory.
pub(crate) fn read_bytes(
    sources: &[(&Path, &[u8])],
    layout: &Layout,
    options: &LoadOptions,
) -> Result<Weights, ModelError> {
    let parsed = sources.iter().map(|(path, bytes)| parse(path, bytes)).collect::<Result<Vec<_>, _>>()?;
    let mut found = BTreeMap::new();
    for (name, view) in parsed.iter().flat_map(SafeTensors::tensors) {
        if found.insert(name.clone(), view).is_some() {
            return Err(ModelError::Request(format!("two weight files hold tensor {name}")));
        }
    }
    let assigned = layout.assign(found, |view| view.shape().to_vec())?;
    if let (Some(head), Some(embedding)) = (&assigned.tied_head, assigned.weights.get(&layout.embedding.0))
        && head.data() != embedding.data()
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
    for (name, view) in assigned.weights {
        let packed = match matrices.contains(&name) {
            true => base.pack(&stored(&name, &view)?)?,
            false => None,
        };
        match packed {
            Some(packed) => drop(weights.packed.insert(name, packed)),
            None => drop(weights.tensors.insert(name.clone(), tensor(&name, &view, *dtype, device)?)),
        }
    }
    Ok(weights)
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, ModelError> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| ModelError::Weights { path: path.to_path_buf(), message: error.to_string() })
}

/// The error of a tied head that differs from its embedding.
pub(crate) fn tied_differ(layout: &Layout) -> ModelError {
    ModelError::TiedTensorsDiffer {
        head: format!("{}.weight", layout.head.module),
        embedding: layout.embedding.0.clone(),
    }
}

/// One stored tensor as `dtype` on the device; F32, F16 and BF16 are read.
pub(crate) fn tensor(name: &str, view: &TensorView<'_>, dtype: DType, device: &Device) -> Result<Tensor, ModelError> {
    Ok(stored(name, view)?.to_dtype(dtype)?.to_device(device)?)
}

/// One tensor in the type of the file.
fn stored(name: &str, view: &TensorView<'_>) -> Result<Tensor, ModelError> {
    let stored = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return Err(ModelError::WrongDtype { name: name.to_owned(), found: format!("{other:?}") }),
    };
    Ok(Tensor::from_raw_buffer(view.data(), stored, view.shape(), &Device::Cpu)?)
}
