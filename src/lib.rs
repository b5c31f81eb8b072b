//! Counterpath evaluates and repairs open language models causally.
//!
//! The rooms, in the order in which data flows; a room uses only rooms named before it:
//!
//! ```text
//! base ▸ stats ▸ causal ▸ scenario ▸ ops ▸ model ▸ intervene ▸ mediate ▸ trust ▸ tune ▸ record ▸ compare ▸ report ▸ pipeline
//! ```
//!
//! `docs/architecture.md` says what each owns and must not know.

pub mod base;
pub mod stats;
pub mod causal;
pub mod scenario;
pub mod ops;
pub mod model;
pub mod intervene;
pub mod mediate;
pub mod trust;
pub mod tune;
pub mod record;
pub mod compare;
pub mod report;
pub mod pipeline;
