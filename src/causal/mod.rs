//! Causal graphs and what follows from them: no tensors, no text.
//!
//! [`Graph`] is a directed acyclic graph with latent nodes and bidirected edges. Separation, adjustment and path
//! questions are answered on it; the scenario room parses its TOML into one such graph and asks it everything.

pub mod adjustment;
pub mod ask;
pub mod audit;
pub mod cfactor;
pub mod check;
pub mod continuous;
pub mod counterfactual_fairness;
pub mod criteria;
pub mod decompose;
pub mod discover;
pub mod district;
pub mod empirical;
pub mod estimand;
pub mod estimate;
pub mod evaluate;
pub mod format;
pub mod four_way;
pub mod graph;
pub mod hedge;
pub mod identify;
pub mod network;
pub mod node;
pub mod node_set;
pub mod oracle;
pub mod path_specific;
pub mod queries;
pub mod refute;
mod render;
pub mod reweight;
pub mod rewrite;
pub mod sensitivity;
pub mod separation;
pub mod table;
pub mod transport;

pub use adjustment::Adjustment;
pub use ask::{Answer, AskError, Asked};
pub use estimand::{Estimand, Level, Regime};
pub use format::{Document, Format, FormatError};
pub use graph::Graph;
pub use hedge::{Hedge, Remedy};
pub use identify::{Identified, IdentifyError, Query, Verdict};
pub use network::{Network, NetworkError};
pub use node::{GraphError, Node, Role, Visibility};
pub use node_set::NodeSet;
pub use path_specific::{Among, PathQuery, PathVerdict};
pub use table::{Table, TableError};
pub use transport::{Source, Transport};
