//! Models with known pathways, and the benchmark of methods that look for them.
//!
//! [`compiled`] sets weights by hand, so that every effect has a closed form. A [`Truth`] says which nodes, positions
//! and edges carry the effect of the intervened token.

mod checkpoint;
pub mod compiled;
mod error;
pub mod methods;
mod node;
pub mod ranking;
mod task;
pub mod trained;
mod truth;

pub use checkpoint::write_checkpoint;
pub use error::PlantedError;
pub use methods::Method;
pub use node::{Node, UnknownNode};
pub use task::{Scores, Task, Tier};
pub use truth::{FUNCTIONAL_SHARE, NodeTruth, Truth};
