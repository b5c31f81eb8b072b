//! What one document asks, and what the model said to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One thing that is asked of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// log p(continuation | context), as lm-eval splits the two.
    Loglikelihood {
        /// What stands before; may be empty.
        context: String,
        /// What is scored.
        continuation: String,
    },
    /// log p(text) from its start, over rolling windows where it is long.
    Rolling {
        /// The whole text.
        text: String,
    },
    /// What the model goes on with.
    Generate {
        /// What stands before.
        context: String,
        /// When it stops and how tokens are chosen.
        generation: Generation,
    },
}

/// How a continuation is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// It ends before the first of these strings.
    pub until: Vec<String>,
    /// At most so many tokens.
    pub max_tokens: usize,
    /// 0 for greedy decoding.
    pub temperature: f64,
}

/// What the model said to one [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Response {
    /// To a log-likelihood request.
    Loglikelihood {
        /// Σ ln p over the continuation's tokens, nats.
        loglikelihood: f64,
        /// Whether each of them is the most likely token.
        is_greedy: bool,
        /// ln p of each of them, in order; their sum is the log-likelihood.
        logprobs: Vec<f32>,
    },
    /// To a rolling request.
    Rolling {
        /// Σ ln p over the text's tokens, nats.
        loglikelihood: f64,
        /// How many they are.
        tokens: usize,
    },
    /// To a generation request.
    Text {
        /// What was generated, cut before the first stop string.
        text: String,
    },
}

impl Response {
    /// The log-likelihood, where this is one.
    pub fn loglikelihood(&self) -> Option<f64> {
        match self {
            Self::Loglikelihood { loglikelihood, .. } | Self::Rolling { loglikelihood, .. } => Some(*loglikelihood),
            Self::Text { .. } => None,
        }
    }

    /// Tokens that were scored; 0 for a text.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Loglikelihood { logprobs, .. } => logprobs.len(),
            Self::Rolling { tokens, .. } => *tokens,
            Self::Text { .. } => 0,
        }
    }

    /// The generated text, where this is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            _ => None,
        }
    }
}

/// What is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    /// Any of these choices, by index.
    Choices {
        /// Indexes into [`Question::choices`].
        indexes: Vec<usize>,
    },
    /// Any of these texts.
    Texts {
        /// The texts.
        texts: Vec<String>,
    },
    /// Nothing: the metric reads the responses alone.
    None,
}

/// How a question was made of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The id of the question that it was made of.
    pub of: String,
    /// The perturbation's name.
    pub perturbation: String,
    /// Whether anything that the model reads differs from the original.
    pub changed: bool,
    /// Where choices stand in another order: by place, the index that the choice has in the original; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<usize>,
}

/// What one document asks: its requests and what its answer is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Unique in the task; aligns items across checkpoints.
    pub id: String,
    /// The document's number in its split, from 0, as lm-eval counts.
    pub doc_id: usize,
    /// The resampling unit: base question, pair, template; the id where documents stand for themselves.
    pub cluster: String,
    /// The document, fields in the order of its file.
    pub doc: Map<String, Value>,
    /// What is asked. Multiple choice: one a choice, in their order; where a task asks for log p(choice) without its context
    /// too, those follow in the same order.
    pub requests: Vec<Request>,
    /// The choices as the metrics see them, without the delimiter before them; empty where there are none.
    pub choices: Vec<String>,
    /// What is right.
    pub target: Target,
    /// What metrics group by: `category`, `condition`, `polarity`, `heuristic`, …
    pub columns: BTreeMap<String, String>,
    /// What it was made of, where a perturbation made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
}

impl Variant {
    /// The index that a choice of the variant has in the original.
    pub fn original_choice(&self, index: usize) -> usize {
        self.order.get(index).copied().unwrap_or(index)
    }
}

impl Question {
    /// A column's value, where the question has it.
    pub fn column(&self, name: &str) -> Option<&str> {
        self.columns.get(name).map(String::as_str)
    }

    /// A right choice that is none of the choices, where there is one.
    pub fn label_outside(&self) -> Option<usize> {
        match &self.target {
            Target::Choices { indexes } => indexes.iter().copied().find(|index| *index >= self.choices.len()),
            _ => None,
        }
    }
}

/// A question with the model's responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The question.
    pub question: Question,
    /// One a request, in their order.
    pub responses: Vec<Response>,
    /// By filter, what it made of the responses to generation requests. Tasks that declare none have `none`: the text as it is.
    pub filtered: BTreeMap<String, Vec<String>>,
}

impl Answered {
    /// log p(choice | context) of each choice, nats, in their order.
    pub fn choice_loglikelihoods(&self) -> Vec<f64> {
        let of_choices = self.responses.iter().take(self.question.choices.len());
        of_choices.filter_map(Response::loglikelihood).collect()
    }

    /// The most likely choice, the first of equals; `None` where there are none or one is not a number.
    pub fn chosen(&self) -> Option<usize> {
        first_highest(self.choice_loglikelihoods())
    }
}

/// The index of the highest value, the first of equals; `None` for no values or where one is NaN.
pub fn first_highest(values: impl IntoIterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, value) in values.into_iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, highest)| value > highest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_chosen_and_nan_is_no_choice() {
        assert_eq!(first_highest([-2.0, -1.0, -1.0]), Some(1));
        assert_eq!(first_highest([-2.0, f64::NAN]), None);
        assert_eq!(first_highest([]), None);
        assert_eq!(first_highest([f64::NEG_INFINITY]), Some(0));
    }
}
