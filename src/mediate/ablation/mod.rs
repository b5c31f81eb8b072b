//! The same sites under many kinds of ablation, side by side: how far an answer depends on what "removing" means.
//!
//! A plan names *sets* of sites, each patched as one, and *grids*, each of whose sites is a set of its own. With y the
//! outcome, y(S ← a) that of the receiver with intervention a at all sites of S: `joint` = y(S ← a) − y, a *single* the
//! same for one site of S, *interaction* = joint − Σ singles. `direct` is joint with every other attention head and MLP
//! from the first site on held at the receiver's own values, so that only what the sites themselves write reaches the
//! logits; *self-repair* = joint − direct is what the rest of the model adds (of the opposite sign to `direct` where it
//! makes up for the loss). The final norm is not held. Cost: one run a pair, set, kind, direction and measure.

mod expand;
mod rows;
mod spec;
mod table;

pub use rows::{AblationRow, Measure, ablate_to_file, ablation_operations};
pub use spec::{AblationPlan, Change, GridSpec, NoiseSpec, ReferenceSides, SetSpec};
pub use table::{AblationEffect, AblationTable};
