//! GGUF: metadata, tensors in blocks, and the tokenizer in one file.
//!
//! Llama's rows of queries and keys stand in pairs (undone here); Gemma's gains are stored as 1 + gain (one is taken
//! off: the decoder adds it again, and the sum is the stored number to the bit). Sources: the GGUF specification and
//! llama.cpp's `convert_hf_to_gguf.py`, which wrote these files.

mod config;
mod header;
mod names;
mod tokenizer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::error::ModelError;
use super::Source;
use super::stored::Stored;
use crate::base::files::{self, Map};
use header::Header;

/// The architectures that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Qwen2,
    Qwen3,
    Gemma,
    Gemma2,
    Gemma3,
    Phi3,
}

impl Family {
    const ALL: [(&'static str, Self); 7] = [
        ("llama", Self::Llama),
        ("qwen2", Self::Qwen2),
        ("qwen3", Self::Qwen3),
        ("gemma", Self::Gemma),
        ("gemma2", Self::Gemma2),
        ("gemma3", Self::Gemma3),
        ("phi3", Self::Phi3),
    ];

    fn of(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, family)| family).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("general.architecture is {name:?}; read are {}", known.join(", "))
        })
    }

    /// The name in the metadata's keys.
    fn key(self) -> &'static str {
        Self::ALL.iter().find(|(_, family)| *family == self).map_or("", |(name, _)| name)
    }

    /// `model_type` in a `config.json`.
    fn model_type(self) -> &'static str {
        match self {
            Self::Gemma3 => "gemma3_text",
            other => other.key(),
        }
    }

    /// Whether gains are stored as 1 + gain.
    fn gains_plus_one(self) -> bool {
        matches!(self, Self::Gemma | Self::Gemma2 | Self::Gemma3)
    }

    /// Whether attention and MLP have norms on both sides.
    fn sandwich(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    /// Whether rows of queries and keys stand in pairs.
    fn pairs(self) -> bool {
        self == Self::Llama
    }
}

/// Opens a GGUF file.
pub(super) fn open(path: &Path) -> Result<Source, ModelError> {
    let map = Arc::new(files::map(path)?);
    read(&map).map_err(|message| ModelError::Weights { path: path.to_path_buf(), message })
}

fn read(map: &Arc<Map>) -> Result<Source, String> {
    let header = Header::read(map)?;
    let name = header.text("general.architecture")?.ok_or("general.architecture is missing")?;
    let family = Family::of(name)?;
    if header.optional_size("split.count")?.is_some_and(|count| count > 1) {
        return Err("it is one part of a split model; join the parts with `llama-gguf-split --merge`".into());
    }
    let config = config::read(&header, family, map)?;
    let key = |name: &str| format!("{}.{name}", family.key());
    let heads = header.size(&key("attention.head_count"))?;
    let kv_heads = header.optional_size(&key("attention.head_count_kv"))?.unwrap_or(heads);
    let mut tensors = BTreeMap::new();
    for (name, place) in &header.tensors {
        let Some((translated, change)) = names::translate(name, family, heads, kv_heads) else { continue };
        let stored = Stored::mapped(map, place.range.clone(), place.shape.clone(), place.element.clone())
            .and_then(|stored| stored.changed(change))
            .map_err(|message| format!("tensor {name}: {message}"))?;
        if tensors.insert(translated, stored).is_some() {
            return Err(format!("tensor {name} has the place of another"));
        }
    }
    Ok(Source { config, generation: None, tokenizer: tokenizer::read(&header)?, tensors })
}
