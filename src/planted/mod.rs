//! Models with known pathways, and the benchmark of methods that look for them.
//!
//! [`compiled`] sets weights by hand, so that every effect has a closed form. A [`Truth`] says which nodes, positions
//! and edges carry the effect of the intervened token.

mod checkpoint;
pub mod compiled;
mod error;
mod node;
pub mod trained;
mod truth;

pub use checkpoint::write_checkpoint;
pub use error::PlantedError;
pub use node::{Node, UnknownNode};
pub use truth::{FUNCTIONAL_SHARE, NodeTruth, Truth};
