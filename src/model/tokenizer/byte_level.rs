//! Byte-level BPE, as GPT-2 introduced it: bytes stand for themselves as printable characters, merges have an order.

use serde_json::{Value, json};

use super::super::format::TokenizerFiles;
use super::{Added, bos_first};

/// How text is cut before merging. The patterns are those that the models' own files publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    Gpt2,
    Llama3,
    Qwen2,
    SmolLm,
    Gpt4o,
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Split {
    /// The pattern by the name that GGUF files give it.
    pub fn of_gguf(name: &str) -> Option<Self> {
        Some(match name {
            "gpt-2" | "gpt2" | "phi-2" | "jina-es" | "jina-de" | "jina-en" | "mpt" | "olmo" => Self::Gpt2,
            "llama-bpe" | "llama3" | "llama-v3" | "dbrx" | "smaug-bpe" => Self::Llama3,
            "qwen2" | "deepseek-r1-qwen" => Self::Qwen2,
            "smollm" => Self::SmolLm,
            "gpt-4o" | "llama4" => Self::Gpt4o,
            _ => return None,
        })
    }

    fn pre_tokenizer(self, prefix_space: bool) -> Value {
        let bytes = |own: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": true, "use_regex": own});
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let both = |first: Value, second: Value| json!({"type": "Sequence", "pretokenizers": [first, second]});
        match self {
            Self::Gpt2 => bytes(true),
            Self::Llama3 => both(split(LLAMA3), bytes(false)),
            Self::Qwen2 => both(split(QWEN2), bytes(false)),
            Self::Gpt4o => both(split(GPT4O), bytes(false)),
            Self::SmolLm => both(json!({"type": "Digits", "individual_digits": true}), bytes(true)),
        }
    }
}

/// A vocabulary with the order of its merges.
pub(crate) struct ByteLevel {
    /// Tokens in the byte alphabet, with their ids.
    pub vocab: Vec<(String, u32)>,
    /// Pairs, the first merged first.
    pub merges: Vec<(String, String)>,
    pub added: Vec<Added>,
    pub split: Split,
    pub prefix_space: bool,
    /// BOS and its id, where it is put in front of every text.
    pub first: Option<(String, u32)>,
}

impl ByteLevel {
    /// The tokenizer in the form that is read.
    pub fn files(&self, settings: Value) -> Result<TokenizerFiles, String> {
        let mut vocab = serde_json::Map::new();
        for (token, id) in &self.vocab {
            if vocab.insert(token.clone(), json!(id)).is_some() {
                return Err(format!("the vocabulary holds {token:?} twice"));
            }
        }
        for added in &self.added {
            vocab.entry(added.text.clone()).or_insert_with(|| json!(added.id));
        }
        let normalizer = if self.split == Split::Qwen2 { json!({"type": "NFC"}) } else { Value::Null };
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": self.prefix_space, "trim_offsets": false, "use_regex": true});
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added.iter().map(Added::json).collect::<Vec<_>>(),
            "normalizer": normalizer, "pre_tokenizer": self.split.pre_tokenizer(self.prefix_space),
            "post_processor": self.first.as_ref().map_or(bytes.clone(), |(bos, id)| bos_first(bos, *id)),
            "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": matches!(self.split, Split::Llama3), "vocab": vocab, "merges": self.merges,
            },
        });
        Ok(TokenizerFiles { json: json.to_string().into_bytes(), settings })
    }
}

/// The pairs of a `merges.txt`.
pub(crate) fn merges<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>, String> {
    let mut merges = Vec::new();
    for (number, line) in lines.enumerate() {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() || number == 0 && line.starts_with("#version") {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                merges.push((left.to_owned(), right.to_owned()));
            }
            _ => return Err(format!("line {}: {line:?} is no pair", number + 1)),
        }
    }
    Ok(merges)
}
