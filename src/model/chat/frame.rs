//! A prompt as one turn of a conversation: what a model that was tuned on conversations is asked.

use std::ops::Range;

use serde_json::{Value, json};

use super::{ChatOptions, Clock};
use crate::base::Digest;
use crate::base::digest::Hasher;
use crate::model::error::ModelError;
use crate::model::text::TextTokenizer;

/// What stands for the prompt while the template is looked at; two characters of the private use area around a word.
const PLACEHOLDER: &str = "\u{E0F0}prompt\u{E0F1}";

/// The time that a template is told, 26 July 2024: it never changes, so that a request gives the same bytes on any day.
const NOW: Clock = Clock(1_721_952_000);

/// What a chat template puts around one turn of the user: the text of a prompt is `before + prompt + after`, and the
/// answer follows. The prompt stands without whitespace at its ends.
#[derive(Debug, Clone)]
pub struct ChatFrame {
    before: String,
    after: String,
    system: Option<String>,
    digest: Digest,
}

impl ChatFrame {
    /// The frame of a tokenizer's own template, with a message of the system where one is given. An error where there
    /// is no template or where it leaves the prompt out.
    pub fn new(tokenizer: &TextTokenizer, system: Option<&str>) -> Result<Self, ModelError> {
        let system = system.map(str::to_owned);
        let whole = render(tokenizer, system.as_deref(), PLACEHOLDER)?;
        let mut parts = whole.split(PLACEHOLDER);
        let (Some(before), Some(after), None) = (parts.next(), parts.next(), parts.next()) else {
            let message = "it does not show a user's message exactly once; prompts cannot be framed by it";
            return Err(ModelError::ChatTemplate(message.into()));
        };
        let mut hasher = Hasher::default();
        hasher.part("before", before.as_bytes());
        hasher.part("after", after.as_bytes());
        Ok(Self { before: before.into(), after: after.into(), digest: hasher.finish(), system })
    }

    /// The digest of what is put around a prompt.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The text of a prompt, and the place of its trimmed text there. An error where the template changes the prompt.
    pub fn wrap(&self, tokenizer: &TextTokenizer, prompt: &str) -> Result<(String, Range<usize>), ModelError> {
        let kept = prompt.trim();
        let text = format!("{}{kept}{}", self.before, self.after);
        if render(tokenizer, self.system.as_deref(), kept)? != text {
            let message = "it changes the text of a prompt; score plain text, or prompts without the template's marks";
            return Err(ModelError::ChatTemplate(message.into()));
        }
        let start = self.before.len();
        Ok((text, start..start + kept.len()))
    }
}

fn render(tokenizer: &TextTokenizer, system: Option<&str>, prompt: &str) -> Result<String, ModelError> {
    let said = |role: &str, content: &str| json!({"role": role, "content": content});
    let messages = system.map(|text| said("system", text)).into_iter().chain([said("user", prompt)]);
    let options = ChatOptions { now: Some(NOW), ..ChatOptions::default() };
    tokenizer.apply_chat_template(&Value::Array(messages.collect()), &options)
}
