//! Checkpoint formats: each reader gives a `config.json` in Hugging Face terms, tensors under Hugging Face names and a
//! tokenizer, so that whatever stands behind reads one kind of checkpoint.

mod cursor;
mod folder;
mod gguf;
mod llama2c;
mod pickle;
mod pytorch;
mod safetensors;
mod stored;
pub(crate) mod write;
mod zip;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::error::ModelError;
use super::text::TextTokenizer;
use crate::base::FileError;

pub(crate) use cursor::Cursor;
pub(crate) use stored::Stored;

/// A checkpoint that is opened and not yet read.
pub(crate) struct Source {
    /// The config in Hugging Face terms.
    pub config: Value,
    /// Settings of generation, where the format has them.
    pub generation: Option<Value>,
    /// The tokenizer's files, where there is one.
    pub tokenizer: Option<TokenizerFiles>,
    /// The tensors by their Hugging Face names.
    pub tensors: BTreeMap<String, Stored>,
}

/// A tokenizer in the form that every other form is turned into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenizerFiles {
    /// `tokenizer.json`.
    pub json: Vec<u8>,
    /// `tokenizer_config.json`; null where there is none.
    pub settings: Value,
}

impl TokenizerFiles {
    /// The tokenizer.
    pub fn build(&self) -> Result<TextTokenizer, ModelError> {
        let named = |error| match error {
            ModelError::Tokenizer(message) => ModelError::Tokenizer(format!("tokenizer.json: {message}")),
            other => other,
        };
        TextTokenizer::from_json(&self.json, &self.settings).map_err(named)
    }
}

/// Opens a folder or a file of any format that is known.
pub(crate) fn open(path: &Path) -> Result<Source, ModelError> {
    folder::open(path)
}

/// The checkpoint inside the program.
pub(crate) fn embedded_source() -> Result<Source, ModelError> {
    let parse = |bytes: &[u8], file: &str| {
        serde_json::from_slice::<Value>(bytes).map_err(|error| FileError::Malformed {
            path: Path::new("embedded").join(file),
            message: error.to_string(),
        })
    };
    let settings = parse(include_bytes!("../../../models/embedded/tokenizer_config.json"), "tokenizer_config.json")?;
    let json = include_bytes!("../../../models/embedded/tokenizer.json").to_vec();
    Ok(Source {
        config: parse(include_bytes!("../../../models/embedded/config.json"), "config.json")?,
        generation: None,
        tokenizer: Some(TokenizerFiles { json, settings }),
        tensors: safetensors::embedded(
            "embedded/model.safetensors",
            include_bytes!("../../../models/embedded/model.safetensors"),
        )?,
    })
}
