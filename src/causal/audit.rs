//! The record of a causal claim: what was asked, of which graph and data, the proof that it may be asked, the estimate, what
//! tried to break it, and what an unseen cause would have to be. Running the request again must give the record to the bit.

use serde::{Deserialize, Serialize};

use super::adjustment::Adjustment;
use super::ask::{Answer, AskError, Asked};
use super::discover::DiscoverError;
use super::estimate::{EffectEstimate, EstimateError, EstimationSpec, OmittedVariable, omitted_variable};
use super::format::{Document, Format, FormatError};
use super::graph::Graph;
use super::identify::{IdentifyError, Verdict};
use super::node::GraphError;
use super::refute::{Refutation, Refuter, implications_refuter, p_value};
use super::sensitivity::{Robustness, robustness};
use super::table::Table;
use crate::base::{Digest, Seed};
use crate::stats::result::Regime;

/// Everything that a claim depends on. The data themselves are named by their digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The graph, as our TOML.
    pub graph: String,
    /// Where the data were.
    pub data: String,
    /// Their digest.
    pub data_digest: Digest,
    /// Whether rows with missing values were left out.
    pub drop_missing: bool,
    /// Estimator, learners, folds, seed; `covariates` empty asks for the graph's own choice where `adjust` is not set.
    pub estimation: EstimationSpec,
    /// Whether the covariates were stated by the asker; otherwise the graph chooses.
    pub covariates_stated: bool,
    /// Draws of each random refuter; 0 for none.
    pub refuter_draws: usize,
    /// Columns that the treatment cannot move.
    pub negative_outcomes: Vec<String>,
    /// Columns that cannot move the outcome.
    pub negative_treatments: Vec<String>,
    /// What an omitted confounder is assumed to explain, of outcome and of treatment.
    pub confounder: [f64; 2],
}

/// A claim with everything that stands behind it.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRecord {
    /// The format of this record.
    pub version: u32,
    /// Which release made it.
    pub software: String,
    /// What was asked for.
    pub request: Request,
    /// The graph's digest.
    pub graph_digest: Digest,
    /// The data are found as they are: an identified estimand stands behind the number.
    pub regime: Regime,
    /// The proof.
    pub identification: Answer,
    /// What was adjusted for, and why that.
    pub adjustment: Vec<String>,
    /// How the adjustment set was chosen.
    pub chosen: String,
    /// The contrast without adjustment, for comparison; absent for a treatment that is not 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unadjusted: Option<EffectEstimate>,
    /// The estimate.
    pub effect: EffectEstimate,
    /// Two-sided p-value of no effect.
    pub p_value: f64,
    /// Attempts to break it.
    pub refuters: Vec<Refuter>,
    /// Bounds under an omitted confounder, for the double-ML models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omitted_variable: Option<OmittedVariable>,
    /// Cinelli and Hazlett's robustness value, for a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robustness: Option<Robustness>,
}

/// Why there is no claim.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AuditError {
    /// The graph cannot be read.
    #[error("the graph: {0}")]
    Format(#[from] FormatError),
    /// A name.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The question.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Identification went wrong.
    #[error(transparent)]
    Identify(#[from] IdentifyError),
    /// The estimation.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// The implication test.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// No number without identification.
    #[error("no estimate without identification: {0}")]
    NotIdentified(String),
    /// The stated covariates do not identify the effect.
    #[error(
        "{{{covariates}}} is no valid adjustment set for {treatment} → {outcome}: {reason}; valid ones are {valid}"
    )]
    BadAdjustment {
        /// The set.
        covariates: String,
        /// The treatment.
        treatment: String,
        /// The outcome.
        outcome: String,
        /// What is wrong with it.
        reason: String,
        /// Sets that would do.
        valid: String,
    },
}

/// The version of the record's format.
const VERSION: u32 = 1;

impl Request {
    /// Answers the request on its data.
    pub fn run(&self, table: &Table) -> Result<AuditRecord, AuditError> {
        let document = Document::parse(Format::Toml, &self.graph)?;
        let graph = &document.graph;
        let (treatment, outcome) = (&self.estimation.treatment, &self.estimation.outcome);
        let asked = Asked { outcomes: vec![outcome.clone()], treatments: vec![treatment.clone()], given: Vec::new() };
        let (identification, verdict) = graph.ask(&asked)?;
        if let Verdict::NotIdentified(hedge) = &verdict {
            return Err(AuditError::NotIdentified(hedge.text()));
        }
        let stated = self.covariates_stated.then_some(self.estimation.covariates.as_slice());
        let (adjustment, chosen) = choose(graph, treatment, outcome, stated)?;
        let spec = EstimationSpec { covariates: adjustment.clone(), ..self.estimation.clone() };
        let estimation = spec.resolve()?;
        let effect = estimation.run(table)?;
        let plain = EstimationSpec { method: "difference".into(), covariates: Vec::new(), ..spec.clone() };
        let attack = Refutation {
            table,
            estimation: &estimation,
            effect: &effect,
            draws: self.refuter_draws,
            seed: Seed::new(spec.seed).fork("refuters"),
        };
        let mut refuters = if self.refuter_draws > 0 { attack.all()? } else { Vec::new() };
        for column in &self.negative_outcomes {
            refuters.push(attack.negative_control_outcome(column)?);
        }
        for column in &self.negative_treatments {
            refuters.push(attack.negative_control_treatment(column)?);
        }
        refuters.push(implications_refuter(graph, table, 0.01)?);
        let [cf_y, cf_d] = self.confounder;
        let df = table.rows() as f64 - adjustment.len() as f64 - 2.0;
        let of_regression = spec.method == "ols";
        Ok(AuditRecord {
            version: VERSION,
            software: concat!("counterpath ", env!("CARGO_PKG_VERSION")).to_owned(),
            graph_digest: Digest::of(self.graph.as_bytes()),
            regime: Regime::Observational,
            identification,
            adjustment,
            chosen,
            unadjusted: plain.resolve()?.run(table).ok(),
            p_value: p_value(&effect),
            refuters,
            omitted_variable: omitted_variable(&effect, cf_y, cf_d, 1.0, spec.level),
            robustness: of_regression
                .then(|| robustness(effect.value, effect.error, df, 1.0, 1.0 - spec.level))
                .flatten(),
            effect,
            request: self.clone(),
        })
    }
}

/// The covariates: those stated, if they are valid; else the optimal set; else the smallest minimal one.
pub fn choose(
    graph: &Graph,
    treatment: &str,
    outcome: &str,
    stated: Option<&[String]>,
) -> Result<(Vec<String>, String), AuditError> {
    let (x, y) = (graph.id(treatment)?, graph.id(outcome)?);
    let sets = match graph.adjustment(x, y) {
        Adjustment::Sets(sets) => sets,
        Adjustment::NoEffect => {
            let message =
                format!("the graph has no directed path from {treatment} to {outcome}: the effect is 0 by assumption");
            return Err(AuditError::NotIdentified(message));
        }
        Adjustment::Refused { open_path } => {
            let message = format!(
                "no covariates close {open_path}; the effect is identified by another formula, whose value `identify --data` gives for discrete columns"
            );
            return Err(AuditError::NotIdentified(message));
        }
    };
    let text = |names: &[String]| format!("{{{}}}", names.join(", "));
    if let Some(names) = stated {
        let set = graph.ids(names.iter().map(String::as_str))?;
        if graph.is_adjustment_set(x, y, set) {
            return Ok((names.to_vec(), "stated, and valid".into()));
        }
        let valid: Vec<String> = sets.iter().map(|set| text(&graph.names(*set))).collect();
        let below = graph.names(set & graph.descendants(super::NodeSet::one(x)));
        let reason = match below.is_empty() {
            true => "a back door stays open, or one of them opens a path".to_owned(),
            false => format!("{} may be moved by the treatment, or a path stays open", below.join(", ")),
        };
        return Err(AuditError::BadAdjustment {
            covariates: names.join(", "),
            treatment: treatment.to_owned(),
            outcome: outcome.to_owned(),
            reason,
            valid: valid.join(" "),
        });
    }
    if let Some(set) = graph.optimal_adjustment_set(x, y) {
        return Ok((graph.names(set), "the valid set with the smallest asymptotic variance".into()));
    }
    let smallest = sets.first().map(|set| graph.names(*set)).unwrap_or_default();
    Ok((smallest, "the smallest minimal set".into()))
}

/// The places at which two records differ, as JSON paths.
pub fn differences(a: &serde_json::Value, b: &serde_json::Value) -> Vec<String> {
    fn walk(path: &str, a: &serde_json::Value, b: &serde_json::Value, found: &mut Vec<String>) {
        use serde_json::Value::{Array, Object};
        match (a, b) {
            (Object(left), Object(right)) => {
                let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
                for key in keys {
                    let null = serde_json::Value::Null;
                    let (a, b) = (left.get(key).unwrap_or(&null), right.get(key).unwrap_or(&null));
                    walk(&format!("{path}.{key}"), a, b, found);
                }
            }
            (Array(left), Array(right)) if left.len() == right.len() => {
                for (index, (a, b)) in left.iter().zip(right).enumerate() {
                    walk(&format!("{path}[{index}]"), a, b, found);
                }
            }
            (a, b) if a != b => found.push(format!("{}: {a} ≠ {b}", path.trim_start_matches('.'))),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", a, b, &mut found);
    found
}
