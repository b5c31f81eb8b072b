//! Graph files: our TOML, dagitty's text, DOT and BIF (networks with tables). Nothing here opens a file.
//!
//! All readers give a [`Document`]: the graph with what the file says beside it. A node that an edge names and nothing
//! declares is declared by that edge, as in DOT and dagitty; TOML and BIF declare every node.

mod bif;
mod dot;
mod graph_toml;
mod svg;
mod tokens;

use std::collections::BTreeMap;

use super::graph::Graph;
use super::network::{Network, NetworkError};
use super::node::{GraphError, Role, Visibility};
use super::node_set::NodeSet;

/// A graph and what its file says beside it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// The graph.
    pub graph: Graph,
    /// Nodes marked as treatments (dagitty's `exposure`).
    pub exposures: NodeSet,
    /// Nodes marked as outcomes.
    pub outcomes: NodeSet,
    /// Nodes that are conditioned on because of how the data were made: who is in the data depends on them.
    pub selected: NodeSet,
    /// Nodes whose mechanism may differ in another domain: the children of selection nodes.
    pub differs: NodeSet,
    /// The tier of a node, where one is given: nothing of a later tier causes anything of an earlier one.
    pub tiers: BTreeMap<usize, usize>,
    /// The probability tables, where the file has them.
    pub network: Option<Network>,
}

/// How a graph is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `[variables.x]` with `parents`, `[latents.u]`, `bidirected`; a scenario file is one too.
    Toml,
    /// dagitty's `dag { … }`.
    Dagitty,
    /// Graphviz' `digraph { … }`.
    Dot,
    /// The Bayesian network interchange format: `variable` and `probability` blocks.
    Bif,
}

/// What is wrong with a graph file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// The text does not follow the format.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What was found, and what should stand there.
        message: String,
    },
    /// The TOML does not say what a graph file says.
    #[error("{place}: {message}")]
    Key {
        /// The key.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// The graph is none.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The tables do not fit the graph.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A node of an earlier tier with a parent of a later one.
    #[error(
        "`{child}` (tier {child_tier}) has the parent `{parent}` (tier {parent_tier}): a cause stands in the same tier or an earlier one; move one of the two"
    )]
    Tiers {
        /// The effect.
        child: String,
        /// Its tier.
        child_tier: usize,
        /// The cause.
        parent: String,
        /// Its tier.
        parent_tier: usize,
    },
}

impl Format {
    /// The format of a text: by the file name's ending (`.gz` apart), or by how the text begins.
    pub fn detect(name: &str, text: &str) -> Self {
        let name = name.trim_end_matches(".gz");
        let ending = name.rsplit('.').next().unwrap_or("");
        let start = text.trim_start();
        match ending {
            "toml" => Self::Toml,
            "bif" => Self::Bif,
            "dot" | "gv" => Self::Dot,
            _ if ["dag", "mag", "pdag", "pag"].iter().any(|word| tokens::begins_block(start, word)) => Self::Dagitty,
            _ if ["digraph", "strict", "graph"].iter().any(|word| start.starts_with(word)) => Self::Dot,
            _ if start.starts_with("network") => Self::Bif,
            _ => Self::Toml,
        }
    }
}

impl Document {
    /// Reads a text.
    pub fn parse(format: Format, text: &str) -> Result<Self, FormatError> {
        let document = match format {
            Format::Toml => graph_toml::read(text)?,
            Format::Dagitty => dot::read(text, dot::Dialect::Dagitty)?,
            Format::Dot => dot::read(text, dot::Dialect::Dot)?,
            Format::Bif => bif::read(text)?,
        };
        document.graph.topological_order()?;
        document.check_tiers()?;
        Ok(document)
    }

    /// Writes the document. TOML keeps everything but tables, dagitty marks and latents, DOT edges and latents; BIF needs
    /// tables and cannot hold bidirected edges.
    pub fn write(&self, format: Format) -> Result<String, FormatError> {
        match format {
            Format::Toml => Ok(graph_toml::write(self)),
            Format::Dagitty => Ok(dot::write(self, dot::Dialect::Dagitty)),
            Format::Dot => Ok(dot::write(self, dot::Dialect::Dot)),
            Format::Bif => bif::write(self),
        }
    }

    /// The graph as a standalone SVG picture: causes above effects, latents dashed, marks coloured.
    pub fn svg(&self) -> String {
        svg::draw(self)
    }

    /// The index of a name, which is added as an observed node where it is new.
    fn node(&mut self, name: &str) -> Result<usize, GraphError> {
        match self.graph.id(name) {
            Ok(node) => Ok(node),
            Err(_) => self.graph.add_node(name, Role::Plain, Visibility::Observed),
        }
    }

    fn check_tiers(&self) -> Result<(), FormatError> {
        let name = |node: usize| self.graph.name(node).to_owned();
        for (from, to) in self.graph.edges() {
            if let (Some(&parent_tier), Some(&child_tier)) = (self.tiers.get(&from), self.tiers.get(&to))
                && parent_tier > child_tier
            {
                return Err(FormatError::Tiers { child: name(to), child_tier, parent: name(from), parent_tier });
            }
        }
        Ok(())
    }
}
