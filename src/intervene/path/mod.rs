//! Path patching: what one part of a model writes to the residual stream, as another reads it.
//!
//! An edge joins a sender (input, head, MLP) to a receiver (queries, keys, values, MLP, logits). Cutting it replaces
//! the sender's contribution in that receiver's input alone: x_v + a_u(donor) − a_u(own), with a_u(own) the value of the
//! same run. Cutting many edges at once is a *circuit run*: every receiver reads the stream with the senders outside
//! the circuit replaced. With all edges kept that is the plain run; with all cut, what is read at the end is built of
//! the donor alone.

mod donor;
mod graph;
mod hooks;
mod mask;
mod run;

pub(crate) use donor::sender_points;
pub use donor::{Ablation, SenderMeans};
pub use graph::{Edge, PathGraph, Receiver, Sender};
pub use mask::EdgeMask;
pub use run::PathRunner;
