//! Numbers with their uncertainty: the result types every room shares, resampling by cluster, permutation,
//! multiplicity, power. Knows nothing of models or prompts.

pub mod binomial;
pub mod bootstrap;
mod draws;
mod form;
mod interval;
pub mod multiplicity;
pub mod paired;
pub mod permutation;
pub mod result;
pub mod statistic;

pub use binomial::{mcnemar_exact, wilson};
pub use bootstrap::{Bootstrap, Distribution, JointMetric, estimate, joint_replicates};
pub use multiplicity::{benjamini_hochberg, holm};
pub use paired::{Paired, PairedDifference, PairingError, paired_difference};
pub use permutation::sign_flip;
pub use result::{
    Direction, Effect, EffectGrid, EffectKind, EffectScale, Estimate, Interval, Item, MetricScore, Objective,
    PatchDirection, Pathway, Regime, SiteEffect, Statistic,
};
pub use statistic::Undefined;
