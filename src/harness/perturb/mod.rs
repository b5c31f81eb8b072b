//! Perturbations: named, declared interventions on a question.
//!
//! A perturbation is `do(surface := f(surface; noise))`: a pure function from a [`Question`](super::Question) and a seed that hangs
//! on the question's id to one or more questions with another surface and the same cluster. It declares what it touches, what its
//! parameters are, and what should become of the answer ([`Expectation`]). What it cannot do to a question it declines, with a reason
//! that is counted; what it leaves as it was is kept and marked, and the share that it really changed (its *coverage*) is always told.
//!
//! A [`Suite`] turns a task into originals and variants, which are answered in one run. The document stays as it was:
//! the intervention is on what the model reads, so that metrics and readers still see what the question was made of.

mod catalogue;
mod checklist;
mod choose;
mod difference;
mod entities;
mod environment;
mod format;
mod helm;
mod listing;
mod lists;
mod negation;
mod options;
mod rewording;
mod shots;
mod suite;
mod surface;
mod swaps;
mod text;
mod words;

pub use catalogue::{CATALOGUE, Expectation, Parameter, Perturbation, Touches, perturbation};
pub use checklist::{CaseKind, checklist};
pub use choose::{Chosen, SUITES};
pub use difference::{Change, Stretch, difference};
pub use environment::{ENVIRONMENT, environments};
pub use lists::{Lists, NameGroup};
pub use suite::{Coverage, Material, Perturbed, RunnerRequest, Suite, originals};
pub use surface::{Role, Surface, Text};

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod golden;
