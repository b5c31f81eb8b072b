//! What can be wrong with a measurement, and what to change.

use crate::base::FileError;
use crate::model::ModelError;

/// Everything that the trust room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file could not be read or written, or a line of it is malformed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model or its tokenizer refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model or its tokenizer refused one prompt.
    #[error("{item}: {source}")]
    Prompt {
        /// The item, pair side, document or request.
        item: String,
        /// What the model room says.
        source: ModelError,
    },
    /// A log-likelihood is not a number, or is infinite.
    #[error(
        "{item}: the log-likelihood of {what} is {value}; a weight or activation of this checkpoint overflowed, \
         and no metric can be made of it"
    )]
    NotFinite {
        /// The item, pair side, document or request.
        item: String,
        /// Which answer or text.
        what: String,
        /// The value found.
        value: f64,
    },
    /// A prompt with fewer than two answers has no choice to measure.
    #[error("{item}: {found} answer(s); a prompt needs at least two to choose from")]
    TooFewAnswers {
        /// The item or pair side.
        item: String,
        /// How many it has.
        found: usize,
    },
    /// A label that is missing or points past the answers.
    #[error("{item}: label {found} of {answers} answers; give the index of the right answer, counted from 0")]
    Label {
        /// The item or pair side.
        item: String,
        /// The label found, or `missing`.
        found: String,
        /// How many answers there are.
        answers: usize,
    },
    /// The two sides of a pair offer different answers.
    #[error(
        "pair {pair}: the factual side answers {factual:?}, the counterfactual side {counterfactual:?}; both must offer the same"
    )]
    AnswersDiffer {
        /// The pair.
        pair: String,
        /// The factual side's answers.
        factual: Vec<String>,
        /// The counterfactual side's answers.
        counterfactual: Vec<String>,
    },
    /// A prompt does not fit into the model's positions, and cutting it would remove what is measured.
    #[error("{item}: {tokens} tokens, the model has {limit} positions; shorten the prompt")]
    TooLong {
        /// The item, pair side, document or request.
        item: String,
        /// Its tokens, the continuation included.
        tokens: usize,
        /// The model's positions.
        limit: usize,
    },
    /// A prompt that a metric asks for was not scored.
    #[error("{item}: its prompt is not in the answer table; score the whole eval set before computing metrics")]
    Unscored {
        /// The item or pair side.
        item: String,
    },
    /// A reference to another item that is not there.
    #[error("{item}: {field} names {target:?}, which is not in the eval set")]
    Dangling {
        /// The item.
        item: String,
        /// The field.
        field: String,
        /// The id that is missing.
        target: String,
    },
    /// Two items of the same id.
    #[error("{what} id {id:?} occurs twice; ids align items across checkpoints and must be unique")]
    DuplicateId {
        /// Item, pair, document or canary.
        what: String,
        /// The id.
        id: String,
    },
    /// A metric of that name does not exist.
    #[error("no metric is called {given:?}{}", hint.as_deref().map(|hint| format!("; did you mean {hint:?}?")).unwrap_or_default())]
    UnknownMetric {
        /// What was asked for.
        given: String,
        /// The nearest name.
        hint: Option<String>,
    },
    /// The user asked to stop.
    #[error("interrupted; what was scored so far is kept in the journal")]
    Interrupted,
}
