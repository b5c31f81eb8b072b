//! Writing a checkpoint as a Hugging Face folder: config, weights in one safetensors file or shards, tokenizer.
//!
//! Tensors are read, turned and written one by one, so that a model needs no more memory than its largest tensor.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};

use super::super::error::ModelError;
use super::super::family;
use super::stored::{Element, Stored, count};
use super::{Source, TokenizerFiles};
use crate::base::files::{self, AtomicFile};
use crate::base::{FileError, Progress};

/// How a checkpoint is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// The type of every weight; as each is stored (blocks as F32) where none is given.
    pub dtype: Option<DType>,
    /// The most bytes of weights that one file may hold; one larger tensor has a file of its own.
    pub shard_bytes: usize,
    /// Whether weights that are no numbers are refused.
    pub finite: Finite,
}

/// Whether values are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finite {
    /// NaN and infinity are refused.
    Checked,
    /// Values are taken as they are.
    Unchecked,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Tensors.
    pub tensors: usize,
    /// Bytes of their values.
    pub bytes: usize,
    /// Files that hold them.
    pub files: Vec<String>,
    /// Whether there is a tokenizer.
    pub tokenizer: bool,
}

/// A tensor and the type that it gets.
struct Out {
    name: String,
    stored: Stored,
    dtype: DType,
    bytes: usize,
}

/// Writes a checkpoint into a folder that holds none.
pub(crate) fn write(
    source: Source,
    folder: &Path,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Written, ModelError> {
    if files::exists(&folder.join("config.json")) {
        return Err(ModelError::Request(format!(
            "{} holds a checkpoint already; name another folder",
            folder.display()
        )));
    }
    let blueprint = family::read(&source.config)?;
    let assigned = blueprint.layout.assign(source.tensors, |tensor| tensor.shape().to_vec())?;
    let tensors = outs(assigned.weights, options.dtype)?;
    let shards = shards(tensors, options.shard_bytes);
    let total = shards.len();
    let name = |index: usize| match total {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{:05}-of-{total:05}.safetensors", index + 1),
    };
    let mut written = Written { tensors: 0, bytes: 0, files: Vec::new(), tokenizer: source.tokenizer.is_some() };
    let mut places = Map::new();
    progress.start("convert", shards.iter().map(|shard| shard.len() as u64).sum());
    for (index, shard) in shards.iter().enumerate() {
        let file = name(index);
        write_shard(&folder.join(&file), shard, options.finite, progress)?;
        written.tensors += shard.len();
        written.bytes += shard.iter().map(|out| out.bytes).sum::<usize>();
        places.extend(shard.iter().map(|out| (out.name.clone(), json!(file))));
        written.files.push(file);
    }
    progress.finish();
    if total > 1 {
        let index = json!({"metadata": {"total_size": written.bytes}, "weight_map": places});
        files::write_json(&folder.join("model.safetensors.index.json"), &index)?;
    }
    if let Some(TokenizerFiles { json, settings }) = &source.tokenizer {
        files::write_atomic(&folder.join("tokenizer.json"), json)?;
        if !settings.is_null() {
            files::write_json(&folder.join("tokenizer_config.json"), settings)?;
        }
    }
    if let Some(generation) = &source.generation {
        files::write_json(&folder.join("generation_config.json"), generation)?;
    }
    // Last, since a folder with a config counts as a checkpoint.
    files::write_json(&folder.join("config.json"), &config(source.config, options.dtype))?;
    Ok(written)
}

/// The config, with the type of the weights where it was chosen.
fn config(mut config: Value, dtype: Option<DType>) -> Value {
    if let (Some(dtype), Some(config)) = (dtype, config.as_object_mut()) {
        let name = match dtype {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F64 => "float64",
            _ => "float32",
        };
        let field = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        config.insert(field.into(), json!(name));
    }
    config
}

fn outs(weights: BTreeMap<String, Stored>, dtype: Option<DType>) -> Result<Vec<Out>, ModelError> {
    let out = |(name, stored): (String, Stored)| {
        let dtype = match (dtype, stored.element()) {
            (Some(dtype), _) => dtype,
            (None, Element::Plain(kind)) => *kind,
            (None, _) => DType::F32,
        };
        let bytes = count(stored.shape()).and_then(|count| count.checked_mul(dtype.size_in_bytes())).unwrap_or(0);
        safetensors_name(dtype)
            .map(|_| Out { name: name.clone(), stored, dtype, bytes })
            .ok_or_else(|| ModelError::WrongDtype { name, found: dtype.as_str().to_owned() })
    };
    weights.into_iter().map(out).collect()
}

fn shards(tensors: Vec<Out>, limit: usize) -> Vec<Vec<Out>> {
    let mut shards: Vec<Vec<Out>> = vec![Vec::new()];
    let mut filled = 0usize;
    for out in tensors {
        let full = filled > 0 && filled.saturating_add(out.bytes) > limit;
        filled = if full { out.bytes } else { filled + out.bytes };
        match shards.last_mut() {
            Some(last) if !full => last.push(out),
            _ => shards.push(vec![out]),
        }
    }
    shards
}

fn safetensors_name(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F64 => Some("F64"),
        DType::F32 => Some("F32"),
        DType::F16 => Some("F16"),
        DType::BF16 => Some("BF16"),
        _ => None,
    }
}

fn write_shard(path: &Path, shard: &[Out], finite: Finite, progress: &dyn Progress) -> Result<(), ModelError> {
    // Wider types first, so that every tensor starts at a multiple of its own width.
    let mut order: Vec<&Out> = shard.iter().collect();
    order.sort_by_key(|out| std::cmp::Reverse(out.dtype.size_in_bytes()));
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut start = 0;
    for out in &order {
        let end = start + out.bytes;
        let dtype = safetensors_name(out.dtype);
        header.insert(
            out.name.clone(),
            json!({"dtype": dtype, "shape": out.stored.shape(), "data_offsets": [start, end]}),
        );
        start = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = AtomicFile::create(path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(&header)?;
    for out in order {
        if progress.cancelled() {
            return Err(ModelError::Interrupted);
        }
        let tensor = out.stored.read(&out.name, out.dtype, &Device::Cpu)?;
        if finite == Finite::Checked {
            check_finite(&out.name, &tensor)?;
        }
        write_values(&tensor, &mut file)?;
        progress.advance(1);
    }
    Ok(file.finish()?)
}

/// Rows that are written at once.
const CHUNK: usize = 1 << 20;

fn write_values(tensor: &Tensor, file: &mut AtomicFile) -> Result<(), ModelError> {
    fn put<const N: usize, T>(
        values: &[T],
        bytes: impl Fn(&T) -> [u8; N],
        file: &mut AtomicFile,
    ) -> Result<(), FileError> {
        values.chunks(CHUNK).try_for_each(|chunk| file.write(&chunk.iter().flat_map(&bytes).collect::<Vec<u8>>()))
    }
    let flat = tensor.flatten_all()?;
    match tensor.dtype() {
        DType::F64 => put(&flat.to_vec1::<f64>()?, |value| value.to_le_bytes(), file)?,
        DType::F16 => put(&flat.to_vec1::<half::f16>()?, |value| value.to_le_bytes(), file)?,
        DType::BF16 => put(&flat.to_vec1::<half::bf16>()?, |value| value.to_le_bytes(), file)?,
        _ => put(&flat.to_dtype(DType::F32)?.to_vec1::<f32>()?, |value| value.to_le_bytes(), file)?,
    }
    Ok(())
}

/// Refuses a tensor that holds NaN or infinity.
pub(crate) fn check_finite(name: &str, tensor: &Tensor) -> Result<(), ModelError> {
    let values: Vec<f64> = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    let mut wrong = values.iter().enumerate().filter(|(_, value)| !value.is_finite());
    match wrong.next() {
        None => Ok(()),
        Some((first, _)) => Err(ModelError::NotFinite { name: name.to_owned(), count: 1 + wrong.count(), first }),
    }
}
