//! What can be wrong with a site, a plan or a pair, and what to change.

use crate::model::ModelError;

/// Everything that this room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum InterveneError {
    /// A site's text cannot be read.
    #[error("site {text:?}: {message}")]
    SiteText {
        /// The text as given.
        text: String,
        /// What is wrong, and what a site looks like.
        message: String,
    },
    /// A site that this architecture does not have.
    #[error("site {site} does not exist in this {family} model: {message}")]
    NoSuchSite {
        /// The site.
        site: String,
        /// The architecture's family.
        family: String,
        /// Why, and what exists.
        message: String,
    },
    /// A plan that contradicts itself.
    #[error("plan with {site}: {message}")]
    Plan {
        /// The site where it does.
        site: String,
        /// What is wrong, and what to change.
        message: String,
    },
    /// Two plans or sites write different values to one place of one pair.
    #[error("pair {pair:?}: {first} and {second} write different values to the same place; leave one out")]
    Overlap {
        /// The pair.
        pair: String,
        /// One site.
        first: String,
        /// The other.
        second: String,
    },
    /// A pair's two prompts cannot be laid side by side.
    #[error("pair {pair:?} cannot be aligned: {factual} and {counterfactual} tokens, {message}")]
    Unaligned {
        /// The pair.
        pair: String,
        /// Tokens of the factual prompt.
        factual: usize,
        /// Tokens of the counterfactual prompt.
        counterfactual: usize,
        /// Where they part, and what to change.
        message: String,
    },
    /// A pair that cannot be used at all.
    #[error("pair {pair:?}: {message}")]
    Pair {
        /// The pair.
        pair: String,
        /// What is wrong, and what to change.
        message: String,
    },
    /// A site names a slot that the pair's prompts do not have.
    #[error("pair {pair:?} has no slot {slot:?}; it has {known}")]
    MissingSlot {
        /// The pair.
        pair: String,
        /// The slot asked for.
        slot: String,
        /// The slots that both of its sides have.
        known: String,
    },
    /// A site names a position that the pair's prompts do not have, or that has no partner on the other side.
    #[error("pair {pair:?}: position {position} {message}")]
    Position {
        /// The pair.
        pair: String,
        /// The position asked for, counted in the factual prompt.
        position: usize,
        /// What is wrong with it.
        message: String,
    },
    /// An outcome that these answers do not have.
    #[error("pair {pair:?}: the logit difference needs answers of one token each, found {tokens:?}; use log odds")]
    NotOneToken {
        /// The pair.
        pair: String,
        /// Tokens of the two answers.
        tokens: [usize; 2],
    },
    /// A run gave a number that is none.
    #[error(
        "pair {pair:?}: the outcome under {plan} is {value}; the model's activations overflow or its weights hold NaN"
    )]
    NotFinite {
        /// The pair.
        pair: String,
        /// The plan, as text.
        plan: String,
        /// The value.
        value: f64,
    },
    /// A prompt, a set of prompts or a direction that an intervention cannot be made with.
    #[error("{name:?} {message}")]
    Source {
        /// Its name.
        name: String,
        /// What is wrong, and what to change.
        message: String,
    },
    /// Rows that are no orthonormal basis of a subspace.
    #[error("a basis of {dimensions} rows and {width} columns: {message}")]
    Basis {
        /// Its rows.
        dimensions: usize,
        /// Its columns.
        width: usize,
        /// What is wrong, and what to change.
        message: String,
    },
    /// The model refused or failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The user asked to stop; finished work is kept by whoever stores it.
    #[error("interrupted")]
    Interrupted,
}
