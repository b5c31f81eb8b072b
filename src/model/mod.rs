//! Placeholder while the room is built.

pub mod hub;
pub mod reference;
