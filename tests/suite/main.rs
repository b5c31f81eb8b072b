//! The integration suite: one binary, one module a room.

mod base_types;
mod causal;
mod cli;
mod effects;
mod generate;
mod gradients;
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
mod scenario;
mod shared;
mod small;
mod stats;
mod stories;
mod tiny;
mod trust;
mod tune;
