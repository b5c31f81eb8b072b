//! Effects from data, once they are identified: by a regression, by weighting, by both, by matching.
//!
//! [`Estimation::run`] takes a table and gives an [`EffectEstimate`]. All methods but the last two assume that the
//! covariates are a valid adjustment set, which [`crate::causal::Graph::ask`] decides, not the data.
//!
//! | method | target | nuisances |
//! |---|---|---|
//! | [`Method::Difference`] | mean y of the treated less that of the others, no causal claim | – |
//! | [`Method::Regression`] | the coefficient of d | linear, in sample |
//! | [`Method::PartiallyLinear`] | θ of y = θ d + g(x) + ζ; d may be continuous | ℓ, m, cross-fitted |
//! | [`Method::Interactive`] | ATE or ATTE | g₀, g₁, m, cross-fitted |
//! | [`Method::Weighting`] | ATE or ATTE, weights normalised | m, cross-fitted |
//! | [`Method::Standardisation`] | ATE (g-formula) | g₀, g₁, linear, in sample |
//! | [`Method::Matching`] | ATE or ATTE | – |

mod bounds;
pub mod did;
pub mod dml;
pub mod error;
pub mod folds;
mod forest;
pub mod learner;
pub mod matching;
pub mod natural;
pub mod overlap;
mod run;
mod simple;
mod spec;

use std::sync::Arc;

use serde::Serialize;

pub use bounds::{Confounding, OmittedVariable, omitted_variable};
pub use error::EstimateError;
pub use folds::Folds;
pub use forest::{ForestSpec, Sample};
pub use learner::{Boosting, Fitted, Forest, Learner, Logistic, Ols, Ridge};
pub use overlap::Overlap;
pub use spec::EstimationSpec;

use crate::base::Seed;
use crate::stats::result::Interval;

/// Of whom the effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everybody: ATE.
    Everybody,
    /// The treated: ATTE.
    Treated,
}

/// Which score of the partially linear model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlrScore {
    /// Residual on residual.
    PartiallingOut,
    /// Instrument v.
    IvType,
}

/// How an effect is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The difference of means as they are: what a causal estimate is held against.
    Difference,
    /// Least squares of y on d and x, HC3 or clustered errors.
    Regression,
    /// Double machine learning, partially linear.
    PartiallyLinear(PlrScore),
    /// Double machine learning, interactive: augmented inverse propensity weighting.
    Interactive(Target),
    /// Normalised inverse propensity weighting.
    Weighting(Target),
    /// The g-formula with linear outcome models.
    Standardisation,
    /// One-to-`neighbours` matching with replacement, bias-corrected.
    Matching(Target),
}

/// How rows are dealt out to folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldRule {
    /// Row i to fold i mod k.
    ByIndex,
    /// At random; stratified by a binary treatment; whole clusters where there are any.
    Random,
}

/// What to estimate, and how.
#[derive(Clone)]
pub struct Estimation {
    /// The treatment's column.
    pub treatment: String,
    /// The outcome's column.
    pub outcome: String,
    /// The adjustment set.
    pub covariates: Vec<String>,
    /// The method.
    pub method: Method,
    /// Learns the outcome.
    pub outcome_learner: Arc<dyn Learner>,
    /// Learns the treatment.
    pub treatment_learner: Arc<dyn Learner>,
    /// The number of folds.
    pub folds: usize,
    /// How rows are dealt out.
    pub fold_rule: FoldRule,
    /// How often the split is repeated; medians are reported.
    pub repetitions: usize,
    /// One or two columns of clusters.
    pub clusters: Vec<String>,
    /// Propensities are kept this far from 0 and 1.
    pub clip: f64,
    /// Neighbours of a matched unit.
    pub neighbours: usize,
    /// Coverage of the interval.
    pub level: f64,
    /// Root of all randomness.
    pub seed: Seed,
}

impl Estimation {
    /// Partially linear double machine learning with least squares for both nuisances, five random folds, 95 %.
    pub fn new(treatment: &str, outcome: &str, covariates: &[&str]) -> Self {
        Self {
            treatment: treatment.to_owned(),
            outcome: outcome.to_owned(),
            covariates: covariates.iter().map(|name| (*name).to_owned()).collect(),
            method: Method::PartiallyLinear(PlrScore::PartiallingOut),
            outcome_learner: Arc::new(Ols),
            treatment_learner: Arc::new(Ols),
            folds: 5,
            fold_rule: FoldRule::Random,
            repetitions: 1,
            clusters: Vec::new(),
            clip: 0.01,
            neighbours: 1,
            level: 0.95,
            seed: Seed::new(1),
        }
    }
}

/// Predictions of the nuisances that somebody else made: row by row, from fits that did not see the row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct External {
    /// `ℓ̂(x) = E[y | x]`, for the partially linear model.
    pub outcome: Option<Vec<f64>>,
    /// ĝ(0, x).
    pub untreated: Option<Vec<f64>>,
    /// ĝ(1, x).
    pub treated: Option<Vec<f64>>,
    /// `m̂(x) = E[d | x]`.
    pub treatment: Option<Vec<f64>>,
}

/// An effect from observational data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectEstimate {
    /// What it is.
    pub target: String,
    /// How it was made.
    pub method: String,
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Its interval (normal).
    pub interval: Interval,
    /// Rows.
    pub n: usize,
    /// Independent units: clusters, or rows.
    pub clusters: usize,
    /// Whether treated and untreated can be compared, for a binary treatment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// What a reader must know.
    pub warnings: Vec<String>,
    /// Each row's influence on the estimate (mean 0), where the method has one.
    #[serde(skip)]
    pub influence: Vec<f64>,
    /// What bounds under omitted confounders need, for the two double-ML models.
    #[serde(skip)]
    pub confounding: Option<Confounding>,
}
