//! The integration suite: one binary, one module a room.

#[cfg(feature = "hub")]
mod hub;
mod gradients;
mod intervene;
mod layering;
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
