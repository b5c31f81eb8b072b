//! Tasks over data sets: what a document asks, what the model answers, and what is measured from it.
//!
//! A [`Task`] holds [`Question`]s: one a document, each with its requests, its choices, what is right, and the columns that
//! metrics read. Questions of all tasks are answered together, so that what prompts share is run once; an [`Answered`] question
//! carries the responses. A [`TaskMetric`](metric::TaskMetric) is a function from answered questions to per-item values, which the statistics room turns
//! into a value with its interval, as it does for every other metric; so task scores stand in the same records and are
//! compared by the same code.
//!
//! Nothing is dropped in silence: what could not be parsed, was refused or is not a number is counted in columns of its own.

pub mod builtin;
pub mod data;
mod error;
pub mod explain;
pub mod fewshot;
pub mod filter;
pub mod hash;
pub mod metric;
pub mod output;
pub mod pattern;
pub mod perturb;
pub mod prompt;
pub mod python;
pub mod question;
pub mod run;
pub mod select;
pub mod task;
pub mod template;
pub mod yaml;

pub use error::HarnessError;
pub use question::{Answered, Generation, Question, Request, Response, Target, Variant};
pub use task::{OutputType, Task};
