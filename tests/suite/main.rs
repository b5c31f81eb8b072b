//! The integration suite: one binary, one module a room.

#[cfg(feature = "hub")]
mod hub;
mod intervene;
mod gradients;
mod layering;
mod model_errors;
mod parity;
mod peft;
mod real_models;
mod scenario;
mod report;
mod shared;
mod stories;
mod small;
mod stats;
mod tiny;
mod trust;
mod tune;
