//! Tier B: small GPT-2s that are trained to carry a known causal model at known nodes, and nothing of it elsewhere.
//!
//! [`high_level`] is the causal model, [`train_strictly`] the training, [`measure`] says whether a model is accepted.

mod acceptance;
pub mod high_level;
mod record;
mod shipped;
mod siit;
mod spec;

pub use acceptance::{ACCURACY, Acceptance, OUTSIDE, measure};
pub use high_level::{Content, HighLevel, Template, Variable};
pub use record::TrainedRecord;
pub use shipped::{TrainedModel, shipped};
pub use siit::{StepLosses, train_strictly};
pub use spec::{LossWeights, Pathway, SiitSpec};
