//! What interventions bring along: prompts whose activations stand in, sets of prompts whose means do, and directions.
//!
//! They are part of the plan, so that a plan can be stored, digested and replayed by itself. Clones share the content.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use crate::base::Digest;
use crate::base::digest::Hasher;
use crate::model::TokenizedPrompt;

/// A prompt with a name, in tokens, with the slots that align it to others.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Prompt", into = "Prompt")]
pub struct NamedPrompt {
    content: Arc<Prompt>,
    digest: Digest,
}

/// A named prompt as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompt {
    name: String,
    ids: Vec<u32>,
    #[serde(default)]
    slots: Vec<(String, Range<usize>)>,
}

impl NamedPrompt {
    /// Names a prompt's tokens and slots; its answers are left out. Refused where it has no tokens.
    pub fn new(name: impl Into<String>, prompt: &TokenizedPrompt) -> Result<Self, InterveneError> {
        Prompt { name: name.into(), ids: prompt.ids.clone(), slots: prompt.slots.clone() }.try_into()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// The tokens, at least one.
    pub fn ids(&self) -> &[u32] {
        &self.content.ids
    }

    /// The digest of tokens and slots; the name is not part of it.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// As a prompt that can be aligned, without answers.
    pub(super) fn tokenized(&self) -> TokenizedPrompt {
        TokenizedPrompt { ids: self.content.ids.clone(), answers: Vec::new(), slots: self.content.slots.clone() }
    }
}

impl TryFrom<Prompt> for NamedPrompt {
    type Error = InterveneError;

    fn try_from(content: Prompt) -> Result<Self, InterveneError> {
        if content.ids.is_empty() {
            let message = "has no tokens; give a text or the start token".to_owned();
            return Err(InterveneError::Source { name: content.name, message });
        }
        let mut hasher = Hasher::default();
        hasher.part("prompt", format!("{:?} {:?}", content.ids, content.slots).as_bytes());
        Ok(Self { content: Arc::new(content), digest: hasher.finish() })
    }
}

impl From<NamedPrompt> for Prompt {
    fn from(prompt: NamedPrompt) -> Self {
        prompt.content.as_ref().clone()
    }
}

impl PartialEq for NamedPrompt {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for NamedPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedPrompt({})", self.digest)
    }
}

/// A named set of prompts over which means are taken.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Set", into = "Set")]
pub struct Reference {
    content: Arc<Set>,
    digest: Digest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: String,
    prompts: Vec<NamedPrompt>,
}

impl Reference {
    /// Names a set of prompts. Refused where it is empty.
    pub fn new(name: impl Into<String>, prompts: Vec<NamedPrompt>) -> Result<Self, InterveneError> {
        Set { name: name.into(), prompts }.try_into()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// The prompts, at least one.
    pub fn prompts(&self) -> &[NamedPrompt] {
        &self.content.prompts
    }

    /// Tokens of the longest prompt.
    pub fn longest(&self) -> usize {
        self.prompts().iter().map(|prompt| prompt.ids().len()).max().unwrap_or(0)
    }

    /// The digest of the prompts in their order; names are not part of it.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl TryFrom<Set> for Reference {
    type Error = InterveneError;

    fn try_from(content: Set) -> Result<Self, InterveneError> {
        if content.prompts.is_empty() {
            let message = "holds no prompts, so it has no mean".to_owned();
            return Err(InterveneError::Source { name: content.name, message });
        }
        let mut hasher = Hasher::default();
        content.prompts.iter().for_each(|prompt| hasher.part("prompt", prompt.digest().as_str().as_bytes()));
        Ok(Self { content: Arc::new(content), digest: hasher.finish() })
    }
}

impl From<Reference> for Set {
    fn from(reference: Reference) -> Self {
        reference.content.as_ref().clone()
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({})", self.digest)
    }
}

/// A named vector in an activation's space, of any length greater than zero.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Vector", into = "Vector")]
pub struct Direction {
    content: Arc<Vector>,
    digest: Digest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    values: Vec<f32>,
}

impl Direction {
    /// Names a vector. Refused where it is empty, zero, or not finite.
    pub fn new(name: impl Into<String>, values: Vec<f32>) -> Result<Self, InterveneError> {
        Vector { name: name.into(), values }.try_into()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.content.name
    }

    /// The vector.
    pub fn values(&self) -> &[f32] {
        &self.content.values
    }

    /// The digest of the values; the name is not part of it.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl TryFrom<Vector> for Direction {
    type Error = InterveneError;

    fn try_from(content: Vector) -> Result<Self, InterveneError> {
        let wrong = match content.values.as_slice() {
            [] => Some("has no values"),
            values if values.iter().any(|value| !value.is_finite()) => Some("holds a value that is not finite"),
            values if values.iter().all(|value| *value == 0.0) => Some("is zero, so it points nowhere"),
            _ => None,
        };
        if let Some(message) = wrong {
            return Err(InterveneError::Source { name: content.name, message: message.to_owned() });
        }
        let bytes: Vec<u8> = content.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Self { digest: Digest::of(&bytes), content: Arc::new(content) })
    }
}

impl From<Direction> for Vector {
    fn from(direction: Direction) -> Self {
        direction.content.as_ref().clone()
    }
}

impl PartialEq for Direction {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direction({})", self.digest)
    }
}
