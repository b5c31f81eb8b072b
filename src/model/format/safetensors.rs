//! safetensors: one file, or the shards that an index lists; mapped into memory, read tensor by tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use safetensors::{Dtype, SafeTensors};

use super::super::error::ModelError;
use super::stored::{Element, Stored};
use crate::base::files;

/// The tensors of several files.
pub(super) fn open(paths: &[PathBuf]) -> Result<BTreeMap<String, Stored>, ModelError> {
    let mut tensors = BTreeMap::new();
    for path in paths {
        let map = Arc::new(files::map(path)?);
        let start = map.as_ptr().addr();
        let stored = |data: &[u8], shape, element| {
            let first = data.as_ptr().addr() - start;
            Stored::mapped(&map, first..first + data.len(), shape, element)
        };
        insert(&map, path, stored, &mut tensors)?;
    }
    Ok(tensors)
}

/// The tensors of a file inside the program.
pub(crate) fn embedded(name: &str, bytes: &'static [u8]) -> Result<BTreeMap<String, Stored>, ModelError> {
    let mut tensors = BTreeMap::new();
    insert(bytes, Path::new(name), Stored::inside, &mut tensors)?;
    Ok(tensors)
}

fn insert<'a>(
    bytes: &'a [u8],
    path: &Path,
    stored: impl Fn(&'a [u8], Vec<usize>, Element) -> Result<Stored, String>,
    into: &mut BTreeMap<String, Stored>,
) -> Result<(), ModelError> {
    let damaged = |message: String| ModelError::Weights { path: path.to_path_buf(), message };
    let parsed = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    for (name, view) in parsed.iter() {
        let tensor = stored(view.data(), view.shape().to_vec(), element(view.dtype()))
            .map_err(|message| damaged(format!("tensor {name}: {message}")))?;
        if into.insert(name.to_owned(), tensor).is_some() {
            return Err(ModelError::Request(format!("two weight files hold tensor {name}")));
        }
    }
    Ok(())
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F64 => Element::Plain(DType::F64),
        Dtype::F32 => Element::Plain(DType::F32),
        Dtype::F16 => Element::Plain(DType::F16),
        Dtype::BF16 => Element::Plain(DType::BF16),
        other => Element::Other(format!("{other:?}")),
    }
}
