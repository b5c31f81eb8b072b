//! Vocabularies of scored pieces, as sentencepiece, GGUF and llama2.c keep them.
//!
//! BPE merges, again and again, the two neighbours whose joint piece has the highest score. In a `tokenizer.json` the
//! order of the merges says that: every way to cut a piece into two pieces is a merge, those of higher score first.
//! Two cuts of one piece have one score, and there sentencepiece takes the leftmost pair of the text, a `tokenizer.json`
//! the earlier merge; the difference shows only where a text holds both cuts overlapping.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::format::TokenizerFiles;
use super::charsmap::base64;
use super::{Added, bos_first};

/// Sentencepiece's mark of a space.
pub(crate) const SPACE: &str = "▁";
/// No real vocabulary has longer pieces; cutting a piece takes the square of its length.
const LONGEST_PIECE: usize = 4096;

/// How a text is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// Merges by score.
    Bpe,
    /// The cut whose scores sum up to the most.
    Unigram,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// A piece of text with its score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: PieceKind,
}

impl Piece {
    /// A piece of text, or a byte where it is written like one.
    pub fn plain(text: String, score: f32) -> Self {
        let kind = if is_byte(&text) { PieceKind::Byte } else { PieceKind::Normal };
        Self { text, score, kind }
    }
}

fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// A vocabulary and what is done to text before it is cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pieces {
    pub algorithm: Algorithm,
    pub list: Vec<Piece>,
    /// Whether a space is put in front of the text.
    pub dummy_prefix: bool,
    /// Whether several spaces count as one, and those at the ends as none.
    pub collapse_spaces: bool,
    /// Replacements of characters, in sentencepiece's binary form; empty where there are none.
    pub charsmap: Vec<u8>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub add_bos: bool,
    pub chat_template: Option<String>,
}

impl Pieces {
    /// A vocabulary as Llama's: a space in front, nothing else done to the text.
    pub fn new(algorithm: Algorithm, list: Vec<Piece>) -> Self {
        Self {
            algorithm,
            list,
            dummy_prefix: true,
            collapse_spaces: false,
            charsmap: Vec::new(),
            bos: None,
            eos: None,
            add_bos: false,
            chat_template: None,
        }
    }

    /// The tokenizer in the form that is read.
    pub fn files(&self) -> Result<TokenizerFiles, String> {
        let texts: Vec<String> = self.list.iter().map(Self::text).collect();
        if let Some(piece) = self.list.iter().find(|piece| piece.text.len() > LONGEST_PIECE) {
            return Err(format!("a piece of {} bytes; {LONGEST_PIECE} are the most", piece.text.len()));
        }
        let bytes = self.list.iter().filter(|piece| piece.kind == PieceKind::Byte).count();
        let unknown = self.list.iter().position(|piece| piece.kind == PieceKind::Unknown);
        let model = match self.algorithm {
            Algorithm::Bpe => self.bpe(&texts, unknown, bytes == 256)?,
            Algorithm::Unigram => self.unigram(&texts, unknown, bytes == 256)?,
        };
        let bos = self.bos.and_then(|id| Some((id, texts.get(id as usize)?)));
        let post_processor = bos.filter(|_| self.add_bos).map_or(Value::Null, |(id, text)| bos_first(text, id));
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": self.added(&texts),
            "normalizer": self.normalizer()?, "pre_tokenizer": null, "post_processor": post_processor,
            "decoder": self.decoder(), "model": model,
        });
        let name = |id: Option<usize>| id.and_then(|id| texts.get(id)).map_or(Value::Null, |text| json!(text));
        let mut settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
            "bos_token": name(self.bos.map(|id| id as usize)), "eos_token": name(self.eos.map(|id| id as usize)),
            "unk_token": name(unknown), "add_bos_token": self.add_bos && self.bos.is_some(), "add_eos_token": false,
        });
        if let (Some(template), Some(settings)) = (&self.chat_template, settings.as_object_mut()) {
            settings.insert("chat_template".into(), json!(template));
        }
        Ok(TokenizerFiles { json: json.to_string().into_bytes(), settings })
    }

    /// A piece's text in the vocabulary. What the user defined is looked for in the text itself, where spaces are
    /// spaces.
    fn text(piece: &Piece) -> String {
        match piece.kind {
            PieceKind::UserDefined => piece.text.replace(SPACE, " "),
            _ => piece.text.clone(),
        }
    }

    fn added(&self, texts: &[String]) -> Vec<Value> {
        let kinds = self.list.iter().zip(texts).enumerate();
        let added = kinds.filter_map(|(id, (piece, text))| match piece.kind {
            PieceKind::Control | PieceKind::Unknown => Some((id, text, true)),
            PieceKind::UserDefined => Some((id, text, false)),
            PieceKind::Normal | PieceKind::Unused | PieceKind::Byte => None,
        });
        added.map(|(id, text, special)| Added { id: id as u32, text: text.clone(), special }.json()).collect()
    }

    fn bpe(&self, texts: &[String], unknown: Option<usize>, byte_fallback: bool) -> Result<Value, String> {
        let mut vocab = serde_json::Map::new();
        for (id, text) in texts.iter().enumerate() {
            if vocab.insert(text.clone(), json!(id)).is_some() {
                return Err(format!("the vocabulary holds {text:?} twice"));
            }
        }
        let unknown = unknown.and_then(|id| texts.get(id));
        Ok(json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": byte_fallback, "ignore_merges": false,
            "vocab": vocab, "merges": self.merges(),
        }))
    }

    /// Every cut of a piece into two pieces, the highest score first.
    fn merges(&self) -> Vec<[&str; 2]> {
        let merged = |piece: &&Piece| matches!(piece.kind, PieceKind::Normal);
        let ids: BTreeMap<&str, usize> = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, piece)| merged(piece))
            .map(|(id, piece)| (piece.text.as_str(), id))
            .collect();
        let mut cuts = Vec::new();
        for (id, piece) in self.list.iter().enumerate().filter(|(_, piece)| merged(piece)) {
            for (at, _) in piece.text.char_indices().skip(1) {
                let (left, right) = piece.text.split_at(at);
                if let (Some(left_id), Some(right_id)) = (ids.get(left), ids.get(right)) {
                    cuts.push((piece.score, id, *left_id, *right_id, [left, right]));
                }
            }
        }
        cuts.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        cuts.into_iter().map(|cut| cut.4).collect()
    }

    fn unigram(&self, texts: &[String], unknown: Option<usize>, byte_fallback: bool) -> Result<Value, String> {
        if let Some(piece) = self.list.iter().find(|piece| !piece.score.is_finite()) {
            return Err(format!("piece {:?} has score {}", piece.text, piece.score));
        }
        let unknown = unknown.ok_or("the vocabulary has no piece for what is unknown")?;
        let vocab: Vec<Value> =
            texts.iter().zip(&self.list).map(|(text, piece)| json!([text, f64::from(piece.score)])).collect();
        Ok(json!({"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": byte_fallback}))
    }

    fn normalizer(&self) -> Result<Value, String> {
        let mut steps = Vec::new();
        if !self.charsmap.is_empty() {
            super::charsmap::check(&self.charsmap)?;
            steps.push(json!({"type": "Precompiled", "precompiled_charsmap": base64(&self.charsmap)}));
        }
        if self.collapse_spaces {
            steps.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
            steps.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
        }
        if self.dummy_prefix {
            steps.push(json!({"type": "Prepend", "prepend": SPACE}));
        }
        steps.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE}));
        Ok(json!({"type": "Sequence", "normalizers": steps}))
    }

    fn decoder(&self) -> Value {
        let mut steps = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if self.dummy_prefix {
            steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({"type": "Sequence", "decoders": steps})
    }
}
