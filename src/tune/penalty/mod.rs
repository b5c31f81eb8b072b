//! The terms of the objective, one file each. A new one is a file, a line in [`TERMS`], a field in
//! [`Weights`](super::spec::Weights), a finite-difference check and a test that it lowers what it names.

mod anchor;
mod canary;
mod consistency;
mod follow;
mod mediation;
mod task;

use super::objective::Term;
use super::spec::TuneSpec;

/// Makes a term from the spec; the objective leaves out those of weight 0.
pub type Build = fn(&TuneSpec) -> Box<dyn Term>;

/// Every term, in the order in which they are summed.
pub static TERMS: &[Build] =
    &[task::build, canary::build, consistency::build, follow::build, mediation::build, anchor::build];
