//! The trust metrics of the five objectives, calibration and sensitivity.
//!
//! A checkpoint answers every prompt of the eval sets once ([`scoring`]); the answers fill one [`AnswerTable`], and every metric of
//! [`METRICS`] is a function from that table (and the texts, canaries and mediation results beside it) to per-item values with
//! their clusters. The statistics room turns those into a value with its interval ([`measure()`]).
//!
//! Nothing is dropped in silence: a likelihood that is not finite, a missing label or an unscored prompt is an error that names
//! the item, and a value that cannot be had is undefined, with the reason.
//!
//! To add a metric: a constant in one file here, one line in [`METRICS`], one golden case in `tests/suite/trust.rs`.

mod accuracy;
pub mod answers;
mod calibration;
mod error;
pub mod evaluate;
mod explainability;
mod fairness;
pub mod measure;
pub mod metric;
mod perplexity;
mod privacy;
pub mod requests;
mod robustness;
pub mod scoring;
mod select;
mod sensitivity;
pub mod store;

pub use answers::{AnswerTable, Answers};
pub use error::TrustError;
pub use evaluate::{EvaluateInput, EvaluateSettings, Evaluation, HeldOutText, evaluate};
pub use measure::measure;
pub use metric::{
    Cause, Evidence, METRICS, Membership, Metric, PathwayEffects, PathwayEvidence, Sample, ScoredCanary, ScoredText,
    metric,
};
pub use perplexity::rolling_requests;
pub use scoring::{Checkpoint, NamedRequest, Pass, Scorer};
pub use store::ScoreStore;
