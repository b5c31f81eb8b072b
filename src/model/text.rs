//! Text to tokens and back, with the byte ranges that tokens come from.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::chat::ChatFrame;
use super::error::ModelError;
use crate::base::Digest;
use crate::base::digest::Hasher;

/// Whether the tokenizer adds the special tokens that it adds by default (a BOS, mostly).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// As the tokenizer is configured; nothing is added where the text already starts with the BOS token's text.
    Default,
    /// Never.
    None,
}

/// Tokens with the bytes that each stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// First byte and one past the last byte of each token; `(0, 0)` for added special tokens.
    pub offsets: Vec<(usize, usize)>,
}

/// A tokenizer read from `tokenizer.json`, with the special tokens of `tokenizer_config.json`.
#[derive(Clone)]
pub struct TextTokenizer {
    inner: Tokenizer,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    settings: Arc<Value>,
    digest: Digest,
    frame: Option<Arc<ChatFrame>>,
}

impl TextTokenizer {
    /// Reads the tokenizer of a checkpoint's folder: `tokenizer.json`, else `tokenizer.model`, else `vocab.json` and
    /// `merges.txt`; `None` where the folder has none of them.
    pub fn load(folder: &Path) -> Result<Option<Self>, ModelError> {
        super::tokenizer::read_folder(folder)?.map(|files| files.build()).transpose()
    }

    /// A tokenizer from the bytes of `tokenizer.json` and the content of `tokenizer_config.json` (null where absent).
    pub fn from_json(json: &[u8], settings: &Value) -> Result<Self, ModelError> {
        let mut inner = Tokenizer::from_bytes(json).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        // Padding and truncation are the caller's business; a file that sets them would change what is scored.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        let special = |key: &str| {
            let token = settings.get(key)?;
            let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
            inner.token_to_id(text)
        };
        let (bos, eos) = (special("bos_token"), special("eos_token"));
        let adds_bos = settings.get("add_bos_token").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            bos,
            eos,
            adds_bos,
            settings: Arc::new(settings.clone()),
            digest: Digest::of(json),
            inner,
            frame: None,
        })
    }

    /// The same tokenizer, whose prompts are turns of a conversation by the checkpoint's own chat template. Its digest
    /// is another one, so that records of framed and plain prompts are told apart.
    pub fn with_chat_frame(&self, system: Option<&str>) -> Result<Self, ModelError> {
        let frame = ChatFrame::new(self, system)?;
        let mut hasher = Hasher::default();
        hasher.part("tokenizer", self.digest.to_string().as_bytes());
        hasher.part("chat", frame.digest().to_string().as_bytes());
        Ok(Self { digest: hasher.finish(), frame: Some(Arc::new(frame)), ..self.clone() })
    }

    /// Around prompts, where they are turns of a conversation.
    pub fn chat_frame(&self) -> Option<&ChatFrame> {
        self.frame.as_deref()
    }

    /// Tokenizes a prompt: a text, or a turn of a conversation where the tokenizer has a frame. Offsets are those of
    /// the prompt as given; tokens of the frame have `(0, 0)`.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Encoded, ModelError> {
        let Some(frame) = &self.frame else { return self.encode(prompt, Special::Default) };
        let (text, place) = frame.wrap(self, prompt)?;
        let mut encoded = self.encode(&text, Special::None)?;
        let skipped = prompt.len() - prompt.trim_start().len();
        for (first, last) in &mut encoded.offsets {
            let (start, end) = ((*first).max(place.start), (*last).min(place.end));
            (*first, *last) = match start < end {
                true => (start - place.start + skipped, end - place.start + skipped),
                false => (0, 0),
            };
        }
        Ok(encoded)
    }

    /// The content of `tokenizer_config.json`; null where there was none.
    pub(crate) fn settings(&self) -> &Value {
        &self.settings
    }

    /// Takes the special tokens that the tokenizer's own files do not name from the model's config.
    pub(crate) fn with_fallback(mut self, bos: Option<u32>, eos: Option<u32>) -> Self {
        self.bos = self.bos.or(bos);
        self.eos = self.eos.or(eos);
        self
    }

    /// Tokenizes a text.
    pub fn encode(&self, text: &str, special: Special) -> Result<Encoded, ModelError> {
        let special = special == Special::Default && !self.starts_with_bos(text);
        let encoding = self.inner.encode(text, special).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        let mut encoded = Encoded { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() };
        // `add_bos_token` is honoured where tokenizer.json has no post-processor that does it.
        if let Some(bos) = self.bos.filter(|_| special && self.adds_bos)
            && encoded.ids.first() != Some(&bos)
        {
            encoded.ids.insert(0, bos);
            encoded.offsets.insert(0, (0, 0));
        }
        Ok(encoded)
    }

    fn starts_with_bos(&self, text: &str) -> bool {
        let bos = self.bos.and_then(|bos| self.inner.id_to_token(bos));
        // A BOS that is an ordinary character (a newline in a character-level model) is no marker.
        bos.is_some_and(|bos| bos.len() > 1 && text.starts_with(&bos))
    }

    /// The text of tokens, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.inner.decode(ids, true).map_err(|error| ModelError::Tokenizer(error.to_string()))
    }

    /// The text of one token as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The token that starts a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id of the vocabulary; `None` for an empty one.
    pub fn largest_id(&self) -> Option<u32> {
        self.inner.get_vocab(true).into_values().max()
    }

    /// The digest of `tokenizer.json`, and of the frame where there is one.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The tokens that overlap the bytes `start..end` of the text; empty where none does.
    pub fn token_range(encoded: &Encoded, start: usize, end: usize) -> Range<usize> {
        let overlaps = |&(first, last): &(usize, usize)| first < end && last > start;
        match encoded.offsets.iter().position(overlaps) {
            None => 0..0,
            Some(first) => {
                let last = encoded.offsets.iter().rposition(overlaps).unwrap_or(first);
                first..last + 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(post_processor: Value) -> Vec<u8> {
        json!({
            "version": "1.0", "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "padding": null, "added_tokens": [
                {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
            "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": post_processor, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"<s>": 0, "anna": 1, "plays": 2, "é": 3}, "unk_token": "<s>"}
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn offsets_are_bytes_and_ranges_are_tokens() {
        let settings = json!({"bos_token": {"content": "<s>"}, "add_bos_token": true});
        let tokenizer = TextTokenizer::from_json(&words(Value::Null), &settings).expect("tokenizer");
        let encoded = tokenizer.encode("é anna plays", Special::Default).expect("tokens");
        assert_eq!(encoded.ids, [0, 3, 1, 2], "BOS added, truncation switched off");
        assert_eq!(encoded.offsets, [(0, 0), (0, 2), (3, 7), (8, 13)]);
        assert_eq!(TextTokenizer::token_range(&encoded, 3, 7), 2..3);
        assert_eq!(TextTokenizer::token_range(&encoded, 6, 9), 2..4);
        assert_eq!(TextTokenizer::token_range(&encoded, 13, 13), 0..0);
        assert_eq!(tokenizer.encode("<s> anna", Special::Default).expect("tokens").ids, [0, 1], "no second BOS");
        assert_eq!(tokenizer.encode("anna", Special::None).expect("tokens").ids, [1]);
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.largest_id()), (Some(0), None, Some(3)));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let json = words(Value::Null);
        let half = json.get(..json.len() / 2).expect("half");
        assert!(TextTokenizer::from_json(half, &Value::Null).is_err());
    }
}
