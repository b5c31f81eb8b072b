//! Placeholder while the room is built.

pub mod recipe;
