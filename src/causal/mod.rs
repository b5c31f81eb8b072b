//! Causal graphs and what follows from them: no tensors, no text.
//!
//! [`Graph`] is a directed acyclic graph with latent nodes and bidirected edges. Separation, adjustment and path
//! questions are answered on it; the scenario room parses its TOML into one such graph and asks it everything.

pub mod adjustment;
pub mod graph;
pub mod node;
pub mod node_set;
pub mod separation;

pub use adjustment::Adjustment;
pub use graph::Graph;
pub use node::{GraphError, Node, Role, Visibility};
pub use node_set::NodeSet;
