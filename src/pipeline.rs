//! The loop, each stage one call.

pub mod error;
pub mod population;
pub mod recipe;
pub mod scoring;
pub mod tuning;
