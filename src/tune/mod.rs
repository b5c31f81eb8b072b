//! Post-training: LoRA under causal objectives, and training from scratch.
//!
//! [`optimizer`] and [`schedule`] move parameters, [`order`] says which examples stand at which step, [`gradients`] sums
//! and audits, [`checkpoint`] keeps state. [`pretrain`](pretrain::pretrain) trains every parameter of a model on text.

pub mod checkpoint;
pub mod error;
pub mod gradients;
pub mod optimizer;
pub mod order;
pub mod pretrain;
pub mod schedule;
pub mod text;

pub use error::TuneError;
pub use optimizer::AdamWSpec;
pub use pretrain::{PretrainSpec, pretrain};
pub use schedule::{Decline, Schedule, Warmup};
