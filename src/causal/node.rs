//! What a graph's nodes are, and what can be wrong with a graph.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::node_set::NodeSet;

/// What went wrong with a graph, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The directed edges go round.
    #[error("the graph has the cycle {0}: remove or turn round one of its edges")]
    Cycle(String),
    /// A name that no node has.
    #[error("there is no node `{name}`{}", did_you_mean(.suggestion))]
    UnknownNode {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// Two nodes of one name.
    #[error("the node `{0}` is declared twice: rename one of the two")]
    DuplicateNode(String),
    /// An edge from a node to itself.
    #[error("the edge `{0} → {0}` leads from a node to itself: remove it")]
    SelfLoop(String),
    /// More nodes than a [`NodeSet`] can hold.
    #[error("the graph has more than {} nodes: leave out those that are no ancestor of the outcome", NodeSet::CAPACITY)]
    TooManyNodes,
}

/// `; did you mean …?`, or nothing.
pub(crate) fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!(": did you mean `{name}`?")).unwrap_or_default()
}

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An attribute by which nobody may be treated differently.
    Protected,
    /// A stand-in for another variable: the word that tells of it.
    Proxy,
    /// A legitimate cause of the answer.
    Causal,
    /// Between the protected attribute and the answer, and legitimate.
    Mediator,
    /// Goes along with the label and must not move the answer.
    Spurious,
    /// Goes along with nothing.
    Nuisance,
    /// The true label.
    Label,
    /// A model's output.
    Answer,
    /// Not observed.
    Latent,
    /// A node of a graph that declares no roles.
    Plain,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Protected => "protected",
            Role::Proxy => "proxy",
            Role::Causal => "causal",
            Role::Mediator => "mediator",
            Role::Spurious => "spurious",
            Role::Nuisance => "nuisance",
            Role::Label => "label",
            Role::Answer => "answer",
            Role::Latent => "latent",
            Role::Plain => "plain",
        })
    }
}

/// Whether data can hold a node's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Its values can be seen.
    Observed,
    /// Its values cannot.
    Latent,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the graph.
    pub name: String,
    /// What it stands for.
    pub role: Role,
    /// Whether it can be observed.
    pub visibility: Visibility,
    pub(super) parents: NodeSet,
    pub(super) children: NodeSet,
    pub(super) siblings: NodeSet,
}
