//! What was asked of one item: hashes that prove two runs equal, and the text where the log keeps it.

use std::collections::BTreeMap;

use crate::base::Digest;

/// What one item asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fingerprint {
    /// Hash of the prompt: lm-eval's `prompt_hash`, else of the text.
    pub prompt: String,
    /// Hash of the document (`doc_hash`), where there is one.
    pub document: Option<String>,
    /// Hash of the target: `target_hash`, else of the text.
    pub target: String,
    /// The prompt.
    pub input: String,
    /// What would have been right, as the log writes it.
    pub wanted: String,
    /// What the item is in its family, such as `counterfactual`; empty where the log does not say.
    pub role: String,
    /// By request: the tokens that were scored and ln p of each, where the log has them.
    pub tokens: Vec<Vec<(String, f64)>>,
}

/// Which part of a question differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// `prompt_hash`.
    Prompt,
    /// `doc_hash`.
    Document,
    /// `target_hash`.
    Target,
}

impl Difference {
    /// The field's name as lm-eval writes it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Prompt => "prompt_hash",
            Self::Document => "doc_hash",
            Self::Target => "target_hash",
        }
    }
}

impl Fingerprint {
    /// The first part in which two questions differ, prompts before documents before targets.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let documents = self.document.as_ref().zip(other.document.as_ref());
        if self.prompt != other.prompt {
            Some(Difference::Prompt)
        } else if documents.is_some_and(|(one, two)| one != two) {
            Some(Difference::Document)
        } else {
            (self.target != other.target).then_some(Difference::Target)
        }
    }

    /// One digest of all questions of a population.
    pub(super) fn digest_of_all(prints: &BTreeMap<String, Self>) -> Digest {
        let lines = prints.iter().map(|(id, print)| {
            format!("{id}\t{}\t{}\t{}\n", print.prompt, print.document.as_deref().unwrap_or(""), print.target)
        });
        Digest::of(lines.collect::<String>().as_bytes())
    }
}
