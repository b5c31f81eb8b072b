//! Tokenizers that are no `tokenizer.json` yet: sentencepiece models, pieces of other formats, and byte-level BPE from
//! `vocab.json` and `merges.txt`. Each becomes the text of a `tokenizer.json`, which is what the program reads and
//! what `convert` writes.

pub(crate) mod byte_level;
mod charsmap;
mod files;
mod pieces;
mod sentencepiece;

use serde_json::{Value, json};

pub(crate) use byte_level::{ByteLevel, Split};
pub(crate) use files::read_folder;
pub(crate) use pieces::{Algorithm, Piece, PieceKind, Pieces};

/// A token that is found in the text before anything else is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub id: u32,
    pub text: String,
    pub special: bool,
}

impl Added {
    fn json(&self) -> Value {
        json!({
            "id": self.id, "content": self.text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": self.special,
        })
    }
}

/// The post-processor that puts BOS in front.
fn bos_first(bos: &str, id: u32) -> Value {
    let special = |type_id: u32| json!({"SpecialToken": {"id": bos, "type_id": type_id}});
    let sequence = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    json!({
        "type": "TemplateProcessing",
        "single": [special(0), sequence("A", 0)],
        "pair": [special(0), sequence("A", 0), special(1), sequence("B", 1)],
        "special_tokens": {bos: {"id": bos, "ids": [id], "tokens": [bos]}},
    })
}
