//! The integration suite: one binary, one module a room.

mod causal;
mod causal_cli;
mod claims;
mod cli;
mod discover;
mod effects;
mod estimate;
mod flagship;
mod generate;
mod gradients;
mod graphs;
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
mod structural;
mod tiny;
mod trust;
mod tune;
