//! Structural causal models over prompts.

pub mod pair;

pub use pair::{CounterfactualPair, DoIntervention, DoKind, Expectation, Prompt, Provenance, Slot, Split, TaskItem};
