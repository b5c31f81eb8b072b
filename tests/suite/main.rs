//! The integration suite: one binary, one module a room.

#[cfg(feature = "hub")]
mod hub;
mod intervene;
mod layering;
mod mediate;
mod parity;
mod peft;
mod real_models;
mod scenario;
mod shared;
mod stats;
mod tiny;
mod trust;
mod tune;
