//! The integration suite: one binary, one module a room.

#[cfg(feature = "hub")]
mod hub;
mod layering;
mod scenario;
