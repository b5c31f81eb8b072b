//! Any checkpoint as a Hugging Face folder.

use std::path::Path;

use super::error::ModelError;
use super::format;
pub use super::format::write::{Finite, WriteOptions, Written};
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
pub fn convert(
    origin: Origin<'_>,
    folder: &Path,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Written, ModelError> {
    let source = match origin {
        Origin::Path(path) => format::open(path)?,
        Origin::Embedded => format::embedded_source()?,
    };
    if let Some(tokenizer) = &source.tokenizer {
        tokenizer.build()?;
    }
    format::write::write(source, folder, options, progress)
}
