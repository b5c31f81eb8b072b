//! The integration suite: one binary, one module a room.

#[cfg(feature = "hub")]
mod hub;
mod intervene;
mod layering;
mod scenario;
mod parity;
mod peft;
mod real_models;
mod shared;
mod tiny;
mod trust;
mod tune;
