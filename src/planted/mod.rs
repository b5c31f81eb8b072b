//! Models with known pathways, and the benchmark of methods that look for them.
//!
//! [`compiled`] sets weights by hand, so that every effect has a closed form. A [`Truth`] says which nodes, positions
//! and edges carry the effect of the intervened token.

mod calibration;
mod checkpoint;
pub mod compiled;
mod error;
pub mod methods;
mod node;
pub mod ranking;
mod suite;
mod table;
mod task;
pub mod trained;
mod truth;

pub use calibration::{CalibrationRow, CalibrationSpec, calibrate};
pub use checkpoint::write_checkpoint;
pub use error::PlantedError;
pub use methods::Method;
pub use node::{Node, UnknownNode};
pub use suite::{DEVELOPMENT, SuiteSpec, model_seed, stream_digest, tasks};
pub use table::{Difference, Grain, MethodScores, Row, Section, Table, TrapRow, judge};
pub use task::{Scores, Task, Tier};
pub use truth::{FUNCTIONAL_SHARE, NodeTruth, Truth};
