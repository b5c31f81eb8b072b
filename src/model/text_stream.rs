//! Tokens to text while they come: whole characters only, and nothing of a stop string.

use super::error::ModelError;
use super::text::TextTokenizer;

/// Tokens of the prompt that are decoded along, since a token's text may depend on those before it.
const CONTEXT: usize = 6;

/// The text of a continuation as it grows.
pub(crate) struct TextStream<'a> {
    tokenizer: &'a TextTokenizer,
    stops: &'a [String],
    ids: Vec<u32>,
    /// Decoding starts here.
    from: usize,
    /// The text of tokens before this is in `text`.
    read: usize,
    text: String,
    given: usize,
    stopped: bool,
}

impl<'a> TextStream<'a> {
    pub fn new(tokenizer: &'a TextTokenizer, prompt: &[u32], stops: &'a [String]) -> Self {
        let ids = prompt.get(prompt.len().saturating_sub(CONTEXT)..).unwrap_or_default().to_vec();
        let read = ids.len();
        Self { tokenizer, stops, ids, from: 0, read, text: String::new(), given: 0, stopped: false }
    }

    /// Whether a stop string has been met; the text ends before it.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The text so far.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Adds a token and returns the text that is now certain.
    pub fn push(&mut self, id: u32) -> Result<&str, ModelError> {
        self.ids.push(id);
        self.decode(Rest::MayGrow)?;
        Ok(self.give(self.text.len() - self.unsure()))
    }

    /// Returns what was held back, at the end of the tokens.
    pub fn finish(&mut self) -> Result<&str, ModelError> {
        if !self.stopped {
            self.decode(Rest::IsAll)?;
        }
        Ok(self.give(self.text.len()))
    }

    fn decode(&mut self, rest: Rest) -> Result<(), ModelError> {
        let part = |range: std::ops::Range<usize>| self.tokenizer.decode(self.ids.get(range).unwrap_or_default());
        let (before, all) = (part(self.from..self.read)?, part(self.from..self.ids.len())?);
        let new = all.get(before.len()..).unwrap_or_default();
        // The replacement character at the end is the first bytes of a character whose others are still to come.
        if new.is_empty() || rest == Rest::MayGrow && new.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(());
        }
        let known = self.text.len();
        self.text.push_str(new);
        self.from = self.read;
        self.read = self.ids.len();
        self.cut(known);
        Ok(())
    }

    /// Ends the text at the first stop string that reaches beyond its first `known` bytes.
    fn cut(&mut self, known: usize) {
        let first = |stop: &String| {
            let mut start = known.saturating_sub(stop.len());
            while !self.text.is_char_boundary(start) {
                start -= 1;
            }
            self.text.get(start..)?.find(stop.as_str()).map(|at| start + at)
        };
        if let Some(at) = self.stops.iter().filter_map(first).min() {
            self.text.truncate(at);
            self.stopped = true;
        }
    }

    /// Bytes at the end of the text that may be the beginning of a stop string.
    fn unsure(&self) -> usize {
        if self.stopped {
            return 0;
        }
        let begun = |stop: &String| {
            let ends =
                (1..stop.len()).rev().find(|end| stop.get(..*end).is_some_and(|start| self.text.ends_with(start)));
            ends.unwrap_or(0)
        };
        self.stops.iter().map(begun).max().unwrap_or(0)
    }

    fn give(&mut self, end: usize) -> &str {
        let start = self.given.min(self.text.len());
        self.given = end.max(start);
        self.text.get(start..self.given).unwrap_or_default()
    }
}

/// What follows the tokens at hand.
#[derive(PartialEq)]
enum Rest {
    MayGrow,
    IsAll,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Byte-level tokens: letters, and the two bytes of "é" apart.
    fn tokenizer() -> TextTokenizer {
        let vocab = json!({"a": 0, "b": 1, "cd": 2, "Ġ": 3, "Ã": 4, "©": 5, "Ċ": 6});
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": vocab, "merges": []}
        });
        TextTokenizer::from_json(file.to_string().as_bytes(), &Value::Null).expect("tokenizer")
    }

    fn run(ids: &[u32], stops: &[&str]) -> (Vec<String>, String, bool) {
        let tokenizer = tokenizer();
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stream = TextStream::new(&tokenizer, &[0, 1], &stops);
        let mut pieces = Vec::new();
        for id in ids {
            pieces.push(stream.push(*id).expect("text").to_owned());
            if stream.stopped() {
                break;
            }
        }
        pieces.push(stream.finish().expect("text").to_owned());
        let stopped = stream.stopped();
        (pieces, stream.into_text(), stopped)
    }

    #[test]
    fn characters_come_whole() {
        let (pieces, text, stopped) = run(&[0, 4, 5, 1, 4], &[]);
        assert_eq!(pieces, ["a", "", "é", "b", "", "\u{fffd}"]);
        assert_eq!((text.as_str(), stopped), ("aéb\u{fffd}", false));
    }

    #[test]
    fn stop_strings_are_met_across_tokens_and_never_shown() {
        // "a b cd": the stop string starts inside one token and ends inside another.
        let (pieces, text, stopped) = run(&[0, 3, 1, 3, 2, 0], &["b c"]);
        assert_eq!((pieces.concat().as_str(), text.as_str(), stopped), ("a ", "a ", true));
        assert_eq!(pieces[1..3], [" ", ""], "what may begin the stop string is held back");
        // Held back in vain.
        let (pieces, text, stopped) = run(&[0, 3, 1, 3, 0], &["b c"]);
        assert_eq!((pieces.concat().as_str(), text.as_str(), stopped), ("a b a", "a b a", false));
        // The earliest of several, and one that ends the text's last token.
        assert_eq!(run(&[0, 1, 2, 0], &["d", "bc"]).1, "a");
        assert_eq!(run(&[0, 4, 5, 1], &["éb"]).1, "a");
        // What the prompt ends with does not count.
        assert_eq!(run(&[0, 1], &["ba"]), (vec!["a".into(), "".into(), "b".into()], "ab".into(), false));
    }
}
