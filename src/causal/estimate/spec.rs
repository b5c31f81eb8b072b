//! An estimation as it is written down: in a record, or on a command line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Boosting, EstimateError, Estimation, FoldRule, Forest, ForestSpec, Learner, Logistic, Method, Ols, PlrScore, Ridge,
    Target,
};
use crate::base::{Seed, suggestion};

/// Everything that an estimate depends on beside graph and data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EstimationSpec {
    /// The treatment's column.
    pub treatment: String,
    /// The outcome's column.
    pub outcome: String,
    /// The adjustment set.
    pub covariates: Vec<String>,
    /// `difference`, `ols`, `plr`, `plr-iv`, `irm` (ATE), `irm-att`, `ipw`, `ipw-att`, `g-formula`, `matching`, `matching-att`.
    pub method: String,
    /// `ols`, `ridge:PENALTY`, `logistic`, `forest`, `boosting`.
    pub outcome_learner: String,
    /// The same for the treatment.
    pub treatment_learner: String,
    /// The number of folds.
    pub folds: usize,
    /// `index` or `random`.
    pub fold_rule: String,
    /// Repeated splits.
    pub repetitions: usize,
    /// Up to two columns of clusters.
    pub clusters: Vec<String>,
    /// Propensities are kept this far from 0 and 1.
    pub clip: f64,
    /// Neighbours of a matched unit.
    pub neighbours: usize,
    /// Coverage of the interval.
    pub level: f64,
    /// Root of all randomness.
    pub seed: u64,
}

const METHODS: [(&str, Method); 11] = [
    ("difference", Method::Difference),
    ("ols", Method::Regression),
    ("plr", Method::PartiallyLinear(PlrScore::PartiallingOut)),
    ("plr-iv", Method::PartiallyLinear(PlrScore::IvType)),
    ("irm", Method::Interactive(Target::Everybody)),
    ("irm-att", Method::Interactive(Target::Treated)),
    ("ipw", Method::Weighting(Target::Everybody)),
    ("ipw-att", Method::Weighting(Target::Treated)),
    ("g-formula", Method::Standardisation),
    ("matching", Method::Matching(Target::Everybody)),
    ("matching-att", Method::Matching(Target::Treated)),
];

impl EstimationSpec {
    /// The estimation that it describes.
    pub fn resolve(&self) -> Result<Estimation, EstimateError> {
        let method = METHODS.iter().find(|(name, _)| *name == self.method).map(|(_, method)| *method);
        let method = method.ok_or_else(|| unknown("method", &self.method, METHODS.iter().map(|(name, _)| *name)))?;
        let fold_rule = match self.fold_rule.as_str() {
            "index" => FoldRule::ByIndex,
            "random" => FoldRule::Random,
            other => return Err(unknown("fold rule", other, ["index", "random"].into_iter())),
        };
        Ok(Estimation {
            treatment: self.treatment.clone(),
            outcome: self.outcome.clone(),
            covariates: self.covariates.clone(),
            method,
            outcome_learner: learner(&self.outcome_learner)?,
            treatment_learner: learner(&self.treatment_learner)?,
            folds: self.folds,
            fold_rule,
            repetitions: self.repetitions,
            clusters: self.clusters.clone(),
            clip: self.clip,
            neighbours: self.neighbours,
            level: self.level,
            seed: Seed::new(self.seed),
        })
    }
}

fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str> + Clone) -> EstimateError {
    let hint = suggestion(found, known.clone()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let known = known.collect::<Vec<_>>().join(", ");
    EstimateError::Spec(format!("there is no {what} `{found}`: it is one of {known}{hint}"))
}

/// A learner by its name.
fn learner(name: &str) -> Result<Arc<dyn Learner>, EstimateError> {
    if let Some(penalty) = name.strip_prefix("ridge:") {
        let penalty = penalty.parse::<f64>().ok().filter(|penalty| *penalty >= 0.0);
        let refused = || EstimateError::Spec(format!("`{name}`: the penalty is no number from 0 on"));
        return Ok(Arc::new(Ridge { penalty: penalty.ok_or_else(refused)? }));
    }
    match name {
        "ols" => Ok(Arc::new(Ols)),
        "logistic" => Ok(Arc::new(Logistic)),
        "forest" => Ok(Arc::new(Forest(ForestSpec::default()))),
        "boosting" => Ok(Arc::new(Boosting::default())),
        other => Err(unknown("learner", other, ["ols", "ridge:PENALTY", "logistic", "forest", "boosting"].into_iter())),
    }
}
