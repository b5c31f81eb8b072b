//! Circuits: some edges of a decoder that are to carry a behaviour, and the evidence that they do.
//!
//! A circuit is run with every edge outside it cut ([`crate::intervene::path`]); what a cut edge brings instead is the
//! ablation, which is part of every number's name. With m the metric of a pair (its sign is
//! [`crate::mediate::attribution::MetricSign`]), M the whole model, ∅ the circuit without edges:
//!
//! * faithfulness f(C) = Σ (m(C) − m(∅)) / Σ (m(M) − m(∅)), sums over pairs, 1 for M and 0 for ∅;
//! * CPR = ∫ f dk and CMD = ∫ |1 − f| dk over the share k of edges, from .001 to 1, trapezoids (MIB, arXiv 2504.13151), or over
//!   ln k as its `log_scale` has it;
//!   CPR is read on circuits taken by signed score, CMD by absolute score;
//! * completeness: |m(M∖K) − m(C∖K)| over random parts K of the circuit (Wang et al. 2022, arXiv 2211.00593);
//! * minimality: m(C) − m(C∖e) of each edge e.
//!
//! Unit: the metric's; shares are of the total effect. Sign: positive means that the circuit carries the effect.
//! Regime: experimental. Intervals resample whole clusters of pairs.

mod ablation;
mod compare;
mod confirm;
mod curve;
mod discover;
mod drawn;
mod edges;
mod evaluate;
mod file;
mod hypothesis;
mod judge;
mod kept;
mod select;

pub use crate::stats::circuit::{
    Areas, Axis, CircuitComparison, CircuitEdge, CircuitEvaluation, CircuitReport, Completeness, Contrast, CurvePoint,
    EdgeEffect, FaithfulnessCurve, HypothesisTest, Judgement, RandomCircuits, Ranking,
};
pub use ablation::AblationKind;
pub use compare::compare;
pub use confirm::{ConfirmSpec, Confirmed, ConfirmedEdge, Stratum, confirm};
pub use curve::{FRACTIONS, areas, faithfulness_curve, log_areas};
pub use discover::{DiscoverSpec, Discovery, Evidence, discover, hold_out, report, sensitivity};
pub use edges::Circuit;
pub use evaluate::{Evaluator, Metrics};
pub use file::{CircuitFile, read_circuit, write_circuit};
pub use hypothesis::{equivalence_share, independence, share_below};
pub use judge::{JudgeSpec, judge};
pub use kept::{KeptRuns, Subject, circuit_request};
pub use select::{Rule, Selection, random_circuit, select};
