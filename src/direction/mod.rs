//! Directions and subspaces: where in an activation a variable stands, and what happens without it. Knows no training
//! of models and no metrics.
//!
//! A subspace at a site is found by difference in means, a probe, LEACE or distributed alignment search ([`fit`]), on
//! pairs that set one variable ([`Material`]). It is then judged on other pairs ([`Judged`]): interchange accuracy and
//! share of the effect, what leaks outside, random subspaces of equal rank, the marks of dormant paths, and how well
//! probes read the variable inside, outside and against a control task ([`Readable`]). [`disentangle`] asks which of
//! several variables have a subspace of their own.
//!
//! Bases are `[w, k]` with orthonormal columns, in double precision on the host; activations and passes stay on the
//! model's device. Gradients are of first order, of bases and activations alone.

mod boundless;
mod das;
mod dormant;
mod erase;
mod eraser;
mod error;
mod exchange;
mod fit;
mod folder;
mod judge;
mod material;
mod matrix;
mod minimise;
mod moments;
mod place;
mod probe;
mod reading;
mod rotation;
mod stage;
mod table;

pub use boundless::train_boundless;
pub use das::{DasSpec, Trained, interchange_gradient, train};
pub use dormant::ReadSpace;
pub use erase::{ErasedEffect, Erasure, Folded, erase, fold};
pub use eraser::Eraser;
pub use error::DirectionError;
pub use exchange::{Exchange, ExchangeKind, crossed, held, minimal};
pub use fit::{Direction, FitSpec, Fitted, HeldOut, LEAST_HELD_OUT, LEAST_PAIRS, Method, Training, fit, placed, test};
pub use folder::{Card, FittedOn, SameWeights};
pub use judge::{Dormant, JudgeSpec, Judged, OVERSHOOT, RandomSubspaces, accuracy_and_share, judge};
pub use material::Material;
pub use matrix::{Matrix, Vector, principal_angles, random_basis};
pub use moments::Moments;
pub use place::Place;
pub use probe::{Classes, Probe};
pub use reading::{LEAST_PER_CLASS, PENALTY, Readable, Readings};
pub use stage::Stage;
pub use table::{Disentanglement, DisentanglementRow, Named, OwnRule, disentangle};
