//! Any checkpoint as a Hugging Face folder.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};
use serde_json::Value;

use super::adapter::Adapter;
use super::error::ModelError;
pub use super::format::write::{Finite, WriteOptions, Written};
use super::format::{self, Stored};
use super::language_model::{LanguageModel, LoadOptions};
use crate::base::Progress;

/// Bytes of weights in one file where nothing else is asked for: 5 GB, as the hub's own tools write them.
pub const SHARD_BYTES: usize = 5_000_000_000;

impl Default for WriteOptions {
    fn default() -> Self {
        Self { dtype: None, shard_bytes: SHARD_BYTES, finite: Finite::Unchecked }
    }
}

/// What is converted.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// A folder or file of any format that is read.
    Path(&'a Path),
    /// The model inside the program.
    Embedded,
}

/// Writes `config.json`, `model.safetensors` (or shards and their index), `tokenizer.json`, `tokenizer_config.json` and,
/// where it is known, `generation_config.json` into a folder that holds no checkpoint yet. Without a type of its own
/// every number is written as it is stored; blocks of GGUF are written as F32.
///
/// An adapter is merged into the weights first, in f32, as [`LanguageModel::merge`] does it; the whole model is in memory
/// then, and numbers are written as F32 where no type is asked for.
pub fn convert(
    origin: Origin<'_>,
    adapter: Option<&Adapter>,
    folder: &Path,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Written, ModelError> {
    let open = || match origin {
        Origin::Path(path) => format::open(path),
        Origin::Embedded => format::embedded_source(),
    };
    let mut source = open()?;
    if let Some(adapter) = adapter {
        let base = LanguageModel::from_source(open()?, &LoadOptions::default())?;
        let merged = base.merge(adapter, &base.probe()?)?.model;
        source.tensors = stored(merged.tensors())?;
        if let Value::Object(config) = &mut source.config {
            config.insert("tie_word_embeddings".into(), merged.architecture().tied_head.into());
        }
    }
    if let Some(tokenizer) = &source.tokenizer {
        tokenizer.build()?;
    }
    format::write::write(source, folder, options, progress)
}

/// Writes the checkpoint that `model` was loaded from with the weights that `model` has now: config, tokenizer and the
/// names are the origin's. Numbers are written as F32 where no type is asked for.
pub fn rewrite(
    origin: Origin<'_>,
    model: &LanguageModel,
    folder: &Path,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Written, ModelError> {
    let mut source = match origin {
        Origin::Path(path) => format::open(path)?,
        Origin::Embedded => format::embedded_source()?,
    };
    source.tensors = stored(model.tensors())?;
    format::write::write(source, folder, options, progress)
}

/// Tensors in memory as a file would hold them.
fn stored(tensors: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Stored>, ModelError> {
    let one = |(name, tensor): (&String, &Tensor)| {
        let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let stored = Stored::made(&values, tensor.dims().to_vec());
        Ok((name.clone(), stored.map_err(|message| ModelError::Request(format!("tensor {name}: {message}")))?))
    };
    tensors.iter().map(one).collect()
}
