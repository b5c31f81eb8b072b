//! The integration suite: one binary, one module a room.

mod layering;
