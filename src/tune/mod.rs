//! Post-training: LoRA under causal objectives, and training from scratch.
//!
//! [`train`] makes one adapter from a [`TuneSpec`], [`TuneData`] and a frozen model, [`train_all`] several
//! at once; [`arms`] makes the specs of a comparison of equal budget. The [`objective`] is a weighted sum of terms, one file each in `penalty/`,
//! which share the forward passes of [`pass`]. [`optimizer`] and [`schedule`] move parameters, [`order`] says which
//! examples stand at which step, [`gradients`] sums and audits, [`checkpoint`] keeps state.
//! [`pretrain()`] trains every parameter of a model on text.

pub mod arms;
pub mod checkpoint;
pub mod data;
pub mod error;
pub mod gradients;
pub mod objective;
pub mod optimizer;
pub mod order;
pub mod pass;
pub mod penalty;
pub mod pretrain;
pub mod schedule;
pub mod side_by_side;
pub mod spec;
pub mod text;
pub mod trainer;

pub use arms::Arm;
pub use data::{PairExample, TaskExample, TextExample, TuneData};
pub use error::TuneError;
pub use objective::{Term, TermLog};
pub use optimizer::AdamWSpec;
pub use pretrain::{PretrainSpec, pretrain};
pub use schedule::{Decline, Schedule, Warmup};
pub use side_by_side::{runs_at_once, train_all};
pub use spec::{AnchorAt, BatchSizes, Distance, FollowLoss, TuneSpec, Weights};
pub use trainer::{Outcome, StepLog, train};
