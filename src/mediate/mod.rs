//! Causal mediation: how much of an effect runs through which sites, with intervals, checks and refuters. Knows no
//! training.
//!
//! [`sweep`] patches one site at a time, [`aggregate`] averages its runs, [`find_pathway`] chooses a set of sites on
//! discovery pairs and measures its joint effect on others, [`effects`] splits a total effect into the part through a
//! set and the rest, [`ablate_to_file`] holds one set under many kinds of ablation, [`refute`] tries to find the same where nothing should be found.

mod ablation;
mod aggregate;
pub mod attribution;
mod checks;
pub mod circuit;
mod effects;
mod error;
mod joint;
mod journal;
mod pairs;
mod pathway;
mod refute;
mod sweep;

pub use ablation::{
    AblationEffect, AblationPlan, AblationRow, AblationTable, Change, GridSpec, Measure, NoiseSpec, ReferenceSides,
    SetSpec, ablate_to_file, ablation_operations,
};
pub use aggregate::{aggregate, grids};
pub use effects::{EffectReport, effects, odds_ratio_effect};
pub use error::MediateError;
pub use joint::{JointEffects, joint_effects};
pub use journal::{journal_path, sweep_kept, sweep_to_file};
pub use pairs::read_pairs;
pub use pathway::{FoundPathway, PathwayPairs, PathwaySearch, find_pathway, random_sites};
pub use refute::{RefuteSpec, refute};
pub use sweep::{Grid, Runner, SiteOutcome, SweepRow, SweepSpec, receiver, sweep, sweep_operations};
