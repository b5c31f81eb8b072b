//! Post-training: LoRA under causal objectives.

pub mod checkpoint;
pub mod error;
pub mod gradients;
pub mod optimizer;
pub mod order;
pub mod schedule;

pub use error::TuneError;
