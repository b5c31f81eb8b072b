//! Directions and subspaces.
mod eraser;
mod error;
mod matrix;
mod minimise;
mod moments;
mod probe;

pub use eraser::Eraser;
pub use error::DirectionError;
pub use matrix::{Matrix, Vector};
pub use moments::Moments;
pub use probe::{Classes, Probe};
