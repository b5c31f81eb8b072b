//! Numbers with their uncertainty: the result types every room shares, resampling by cluster, permutation,
//! multiplicity, power. Knows nothing of models or prompts.

pub mod auc;
pub mod binomial;
pub mod bootstrap;
pub mod calibration;
pub mod circuit;
mod classification;
pub mod composite;
pub mod design;
mod disparity;
mod draws;
pub mod errors;
mod form;
pub mod harness;
mod interval;
pub mod joint;
pub mod mediation;
pub mod membership;
pub mod multiplicity;
mod ordered;
pub mod paired;
pub mod permutation;
pub mod power;
pub mod python_random;
pub mod regression;
pub mod result;
pub mod roc;
pub mod seeds;
pub mod statistic;
pub mod unpaired;

pub use auc::{Delong, DelongDifference, delong};
pub use binomial::{binomial_at_least, binomial_at_most, clopper_pearson_upper, mcnemar_exact, wilson};
pub use bootstrap::{Bootstrap, Distribution, estimate};
pub use calibration::calibration_error_by_mass;
pub use composite::{BiasScore, EmptyBias, Scaling};
pub use design::{Design, RegressionError};
pub use disparity::{Aggregate, Comparison, Contrast, Disparity, Rates};
pub use errors::{ErrorKind, clustered_mean, pooled, standard_error};
pub use harness::{HarnessAggregation, harness_bootstrap};
pub use interval::{normal_cdf, quantile_of};
pub use joint::{JointMetric, joint_replicates};
pub use mediation::{Legs, odds, odds_ratio_effect, share_of_total};
pub use membership::{exposure, lira, min_k, min_k_plus_plus_token};
pub use multiplicity::{benjamini_hochberg, holm};
pub use paired::{Paired, PairedDifference, PairingError, paired_difference};
pub use permutation::{sign_flip, smallest_sign_flip};
pub use power::{
    Equivalence, PairedDesign, equivalence, equivalence_level, items_to_decide, minimum_detectable_effect, power_of,
};
pub use python_random::PythonRandom;
pub use regression::{OlsFit, Robust, logistic, ols, ridge};
pub use result::{
    Check, Direction, Effect, EffectGrid, EffectKind, EffectScale, Estimate, Interval, Item, MetricScore, Objective,
    PatchDirection, Pathway, Refutation, Regime, SiteEffect, Statistic,
};
pub use roc::{FprLimit, Roc, RocPoint};
pub use seeds::{two_level, two_level_difference};
pub use statistic::Undefined;
pub use unpaired::{UnpairedDifference, error_of_interval, normal_interval, unpaired_difference};
