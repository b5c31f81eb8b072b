//! Counterpath evaluates and repairs open language models causally.
//!
//! The rooms, in the order in which data flows; a room uses only rooms named before it:
//!
//! ```text
//! base ▸ stats ▸ causal ▸ scenario ▸ ops ▸ model ▸ intervene ▸ mediate ▸ direction ▸ trust ▸ harness ▸ tune ▸ planted ▸ record ▸ compare ▸ report ▸ pipeline
//! ```
//!
//! `docs/architecture.md` says what each owns and must not know.

pub mod base;
pub mod causal;
pub mod compare;
pub mod direction;
pub mod harness;
pub mod intervene;
pub mod mediate;
pub mod model;
pub mod ops;
pub mod pipeline;
pub mod planted;
pub mod record;
pub mod report;
pub mod scenario;
pub mod stats;
pub mod trust;
pub mod tune;
