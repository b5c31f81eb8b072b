//! Numbers with their uncertainty: the result types every room shares, resampling by cluster, permutation,
//! multiplicity, power. Knows nothing of models or prompts.

pub mod result;

pub use result::{
    Direction, Effect, EffectGrid, EffectKind, EffectScale, Estimate, Interval, Item, MetricScore, Objective,
    PatchDirection, Pathway, Regime, SiteEffect, Statistic,
};
