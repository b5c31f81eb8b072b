//! Models with known pathways, and the benchmark of methods that look for them.
//!
//! [`compiled`] sets weights by hand, so that every effect has a closed form; [`trained`] trains small GPT-2s to carry a
//! known causal model at known nodes. A [`Truth`] says which nodes, positions and edges carry the effect of the intervened
//! token, [`methods`] score them, [`judge`] ranks the scores against the truth, [`calibrate`] asks whether claims are true
//! at the stated rate. Methods from elsewhere take part through files ([`write_models`], [`read_scores`]).

mod benchmark;
mod calibration;
mod checkpoint;
pub mod compiled;
mod error;
mod exchange;
pub mod methods;
mod node;
pub mod ranking;
mod render;
mod suite;
mod table;
mod task;
pub mod trained;
mod truth;

pub use benchmark::{Benchmark, run_benchmark, score_tasks};
pub use calibration::{CalibrationRow, CalibrationSpec, calibrate};
pub use checkpoint::write_checkpoint;
pub use error::PlantedError;
pub use exchange::{read_scores, write_models};
pub use methods::{DormantEffects, Method};
pub use node::{Node, UnknownNode};
pub use render::markdown;
pub use suite::{DEVELOPMENT, SuiteSpec, model_seed, stream_digest, tasks};
pub use table::{Difference, Grain, MethodScores, Row, Section, Table, TrapRow, judge};
pub use task::{Scores, Task, Tier};
pub use truth::{FUNCTIONAL_SHARE, NodeTruth, Truth};
