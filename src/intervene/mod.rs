//! Interventions on activations: where (`site`), what (`plan`), between which runs (`align`), and the engine that
//! carries plans out. Owns no statistics and no training.
//!
//! A [`Plan`] is data: which side of a pair runs, and which sites receive what. An engine decides batching and reuse,
//! so a faster engine answers the same plans behind the same [`SweepEngine`].
//!
//! *Factual* and *counterfactual* name texts, *receiver* and *donor* runs: the receiver is the run that is changed,
//! the donor the run whose activations it receives, always the pair's other side.

mod align;
mod batch;
mod cache;
mod engine;
mod error;
mod joint;
mod outcome;
mod pair;
mod patch;
mod plan;
mod reuse;
mod site;
mod subspace;
mod wiring;

pub use align::Alignment;
pub use cache::ActivationCache;
pub use engine::{Job, NaiveEngine, SweepEngine};
pub use error::InterveneError;
pub use joint::{JointOutcomes, SourceGradient, joint_outcomes};
pub use outcome::Outcome;
pub use pair::{CHANGED, LAST, Orientation, TokenPair};
pub use patch::{PatchHooks, Replacement};
pub use plan::{Intervention, Plan, Side};
pub use reuse::{Operations, ReuseEngine};
pub use site::{Positions, Site, SiteKind};
pub use subspace::Subspace;
