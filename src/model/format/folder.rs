//! Which format a folder or file has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::super::error::ModelError;
use super::super::family;
use super::super::tokenizer;
use super::stored::Stored;
use super::{Source, gguf, llama2c, pytorch, safetensors};
use crate::base::files;

const CONFIG: &str = "config.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens a folder or file.
pub(super) fn open(path: &Path) -> Result<Source, ModelError> {
    if files::is_folder(path) {
        return match files::exists(&path.join(CONFIG)) {
            true => hugging_face(path, || weights(path)),
            false => lone(path),
        };
    }
    let map = files::map(path)?;
    let is = |magic: &[u8]| map.starts_with(magic);
    if is(b"GGUF") {
        return gguf::open(path);
    }
    let (zipped, pickled) = (is(b"PK"), is(&[0x80, 0x02]));
    let header = map.get(8..9) == Some(b"{");
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let one = [path.to_path_buf()];
    if zipped || pickled {
        return hugging_face(folder, || pytorch::open(&one));
    }
    if header {
        return hugging_face(folder, || safetensors::open(&one));
    }
    if llama2c::looks_like(&map) {
        return llama2c::open(path, llama2c::tokenizer_beside(path));
    }
    Err(ModelError::UnknownFormat { path: path.to_path_buf() })
}

/// A folder without a config: one GGUF or llama2.c file.
fn lone(folder: &Path) -> Result<Source, ModelError> {
    let ends = |path: &PathBuf, end: &str| path.extension().is_some_and(|extension| extension == end);
    let entries = files::list(folder)?;
    let ggufs: Vec<_> = entries.iter().filter(|path| ends(path, "gguf")).collect();
    let llamas: Vec<_> = entries
        .iter()
        .filter(|path| ends(path, "bin") && files::map(path).is_ok_and(|map| llama2c::looks_like(&map)))
        .collect();
    match (ggufs.as_slice(), llamas.as_slice()) {
        ([one], _) => gguf::open(one),
        ([], [one]) => llama2c::open(one, llama2c::tokenizer_beside(one)),
        ([], []) => Err(ModelError::NoConfig { folder: folder.to_path_buf() }),
        (several, []) | ([], several) | (several, _) => Err(ModelError::SeveralModels {
            folder: folder.to_path_buf(),
            names: several.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect(),
        }),
    }
}

fn hugging_face(
    folder: &Path,
    tensors: impl FnOnce() -> Result<BTreeMap<String, Stored>, ModelError>,
) -> Result<Source, ModelError> {
    let config: Value = files::read_json(&folder.join(CONFIG))?;
    // A config that cannot be followed is told before a weight is looked at.
    family::read(&config)?;
    let tensors = tensors()?;
    let generation = folder.join("generation_config.json");
    let generation = files::exists(&generation).then(|| files::read_json(&generation)).transpose()?;
    Ok(Source { config, generation, tokenizer: tokenizer::read_folder(folder)?, tensors })
}

/// The weights of a folder: safetensors first, whole before sharded.
fn weights(folder: &Path) -> Result<BTreeMap<String, Stored>, ModelError> {
    type Open = fn(&[PathBuf]) -> Result<BTreeMap<String, Stored>, ModelError>;
    let kinds: [(&str, Open); 2] = [("model.safetensors", safetensors::open), ("pytorch_model.bin", pytorch::open)];
    for (name, open) in kinds {
        let single = folder.join(name);
        if files::exists(&single) {
            return open(&[single]);
        }
        let index = folder.join(format!("{name}.index.json"));
        if files::exists(&index) {
            return open(&shards(folder, &index)?);
        }
    }
    Err(ModelError::NoWeights { folder: folder.to_path_buf() })
}

/// The weight files that an index lists.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let names: BTreeSet<String> = files::read_json::<Index>(index)?.weight_map.into_values().collect();
    let inside = |name: &String| !name.contains(['/', '\\']) && name != "..";
    if let Some(name) = names.iter().find(|name| !inside(name)) {
        let message = format!("shard {name:?} lies outside the folder");
        return Err(ModelError::Weights { path: index.to_path_buf(), message });
    }
    let paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
    match paths.iter().find(|path| !files::exists(path)) {
        Some(path) => Err(ModelError::NoShard { index: index.to_path_buf(), shard: path.clone() }),
        None => Ok(paths),
    }
}
