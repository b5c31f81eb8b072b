//! Which format a folder or file has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::super::error::ModelError;
use super::{Source, TokenizerFiles, safetensors};
use crate::base::files;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens a folder or file.
pub(super) fn open(path: &Path) -> Result<Source, ModelError> {
    let config: Value = files::read_json(&path.join("config.json"))?;
    let single = path.join("model.safetensors");
    let index = path.join("model.safetensors.index.json");
    let tensors = if files::exists(&single) {
        safetensors::open(&[single])?
    } else if files::exists(&index) {
        safetensors::open(&shards(path, &index)?)?
    } else {
        return Err(ModelError::NoWeights { folder: path.to_path_buf() });
    };
    let generation = path.join("generation_config.json");
    let generation = files::exists(&generation).then(|| files::read_json(&generation)).transpose()?;
    Ok(Source { config, generation, tokenizer: tokenizer(path)?, tensors })
}

/// The weight files that an index lists.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let names: BTreeSet<String> = files::read_json::<Index>(index)?.weight_map.into_values().collect();
    let inside = |name: &String| !name.contains(['/', '\\']) && name != "..";
    if let Some(name) = names.iter().find(|name| !inside(name)) {
        let message = format!("shard {name:?} lies outside the folder");
        return Err(ModelError::Weights { path: index.to_path_buf(), message });
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// The tokenizer of a folder.
pub(super) fn tokenizer(folder: &Path) -> Result<Option<TokenizerFiles>, ModelError> {
    let settings = folder.join("tokenizer_config.json");
    let settings = match files::exists(&settings) {
        true => files::read_json(&settings)?,
        false => Value::Null,
    };
    let json = folder.join("tokenizer.json");
    match files::exists(&json) {
        true => Ok(Some(TokenizerFiles { json: files::read(&json, files::TEXT_LIMIT)?, settings })),
        false => Ok(None),
    }
}
