//! Interventions on activations: where (`site`), what (`plan`), between which runs (`align`), and the engine that
//! carries plans out. Owns no statistics and no training.
//!
//! A [`Plan`] is data: which side of a pair runs, and which sites receive what. An engine decides batching and reuse,
//! so a faster engine answers the same plans behind the same [`SweepEngine`].
//!
//! *Factual* and *counterfactual* name texts, *receiver* and *donor* runs: the receiver is the run that is changed,
//! the donor the run whose activations it receives, always the pair's other side.

mod added;
mod align;
mod batch;
mod begin;
mod cache;
mod cost;
mod engine;
mod error;
mod fronts;
mod intervention;
mod joint;
mod means;
mod noise;
mod outcome;
mod pair;
mod patch;
pub mod path;
mod places;
mod plain;
mod plan;
mod recorded;
mod reuse;
mod site;
mod site_text;
mod source;
mod subspace;
mod wiring;

pub use align::Alignment;
pub(crate) use batch::{RunBatch, RunRow, side_rows};
pub use cache::ActivationCache;
pub use cost::Operations;
pub(crate) use engine::check_pairs;
pub use engine::{Job, NaiveEngine, SweepEngine};
pub use error::InterveneError;
pub use intervention::Intervention;
pub use joint::{JointOutcomes, SourceGradient, joint_outcomes};
pub use noise::{NoisePlace, noise, subject_deviation};
pub use outcome::Outcome;
pub use pair::{CHANGED, LAST, Orientation, TokenPair};
pub use patch::{PatchHooks, Replacement, View};
pub use plan::{Plan, Side};
pub use reuse::ReuseEngine;
pub use site::{Part, Positions, Site, SiteKind};
pub use source::{Direction, NamedPrompt, Reference};
pub use subspace::Subspace;
