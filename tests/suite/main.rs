//! The integration suite: one binary, one module a room.

mod allocation;
mod bad_input;
mod base_types;
mod causal;
mod chat;
mod cli;
mod discover;
mod effects;
mod estimate;
mod formats;
mod generate;
mod gradients;
mod graphs;
mod hostile;
#[cfg(feature = "hub")]
mod hub;
mod intervene;
mod layering;
mod mediate;
mod model_configs;
mod model_errors;
mod parity;
mod peft;
mod real_models;
mod report;
mod reuse;
mod scenario;
mod shared;
mod small;
mod stats;
mod stories;
mod structural;
mod tiny;
mod tokenizers;
mod trust;
mod tune;
