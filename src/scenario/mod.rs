//! Structural causal models over prompts: the file is parsed into one graph, and that graph decides what is
//! generated, what is expected of a model, which effects a penalty may close and which observational numbers exist.
//!
//! `do()` regenerates the descendants of what was set from the unit's own noise; an environment changes mechanisms.
//! Nothing here knows a tensor: token alignment is checked through a closure of the caller.

mod assemble;
pub mod canary;
pub mod declared;
pub mod error;
pub mod eval_set;
pub mod exact;
pub mod generate;
pub mod lint;
pub mod model;
pub mod pair;
pub mod query;
mod read;
pub mod scm;
pub mod spec;
pub mod template;
mod unit;

pub use canary::{Canary, canaries};
pub use declared::{read_declared, split_by_cluster};
pub use error::ScenarioError;
pub use eval_set::EvalSet;
pub use generate::Draw;
pub use lint::{Check, Finding};
pub use model::{Answer, Scenario};
pub use pair::{CounterfactualPair, DoIntervention, DoKind, Expectation, Prompt, Provenance, Slot, Split, TaskItem};
pub use query::{Contrast, Expected, Identification, Moved, PermittedPenalty};
pub use scm::{Scm, TRAIN, Words};
pub use spec::PathKind;
