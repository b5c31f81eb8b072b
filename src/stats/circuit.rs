//! Result types of circuits: what one does on held-out pairs, what it stood up to, and what it does on another
//! checkpoint.
//!
//! Mediation makes them ([`crate::mediate::circuit`] has the definitions), records keep them, reports draw them. Unit: the
//! metric's (nats) where nothing else is said; shares are of the total effect. Positive means that it carries the effect.

use serde::{Deserialize, Serialize};

use super::Estimate;

/// By what edges are ranked. Part of a result's name: CPR is read on signed, CMD on absolute scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// The score: what helps most first.
    Signed,
    /// Its magnitude.
    Absolute,
}

impl Ranking {
    /// What a score ranks by.
    pub fn of(self, score: f64) -> f64 {
        match self {
            Ranking::Signed => score,
            Ranking::Absolute => score.abs(),
        }
    }
}

/// An edge of a circuit, by the names of its ends (`input`, `a0.h1`, `m3`, `logits`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitEdge {
    /// Who writes.
    pub from: String,
    /// Who reads.
    pub to: String,
    /// Which of the reader's inputs: `q`, `k`, `v`; empty for an MLP or the logits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input: String,
    /// Its score or effect; positive helps.
    pub effect: f64,
}

/// What stands on the horizontal axis. Part of an area's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// The share of edges that was asked for.
    Fixed,
    /// The share that is left after pruning.
    Realised,
    /// The natural logarithm of the share that was asked for (MIB's `log_scale`).
    Log,
}

impl Axis {
    /// All.
    pub const ALL: [Axis; 3] = [Axis::Fixed, Axis::Realised, Axis::Log];
}

/// Areas between the first and the last size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Areas {
    /// ∫ f dk, more is better.
    pub cpr: f64,
    /// ∫ |1 − f| dk, less is better.
    pub cmd: f64,
}

/// One circuit of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Share of edges asked for.
    pub fraction: f64,
    /// Edges that were taken.
    pub requested: usize,
    /// Edges after pruning.
    pub realised: usize,
    /// f(C).
    pub faithfulness: Estimate,
}

/// Circuits of growing size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaithfulnessCurve {
    /// Ranking of the edges.
    pub ranking: Ranking,
    /// What a cut edge brings.
    pub ablation: String,
    /// Edges of the decoder.
    pub edges: usize,
    /// By size.
    pub points: Vec<CurvePoint>,
    /// On the axis of what was asked for; none where a faithfulness is undefined.
    pub fixed: Option<Areas>,
    /// On the axis of what is left.
    pub realised: Option<Areas>,
    /// On the axis of the natural logarithm of what was asked for. From .001 on, a perfect circuit has a CPR of
    /// ln 1000 = 6.908 there. Results of older versions lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Areas>,
}

impl FaithfulnessCurve {
    /// The areas on one axis.
    pub fn areas(&self, axis: Axis) -> Option<Areas> {
        match axis {
            Axis::Fixed => self.fixed,
            Axis::Realised => self.realised,
            Axis::Log => self.log,
        }
    }
}

/// A circuit's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitEvaluation {
    /// Its edges.
    pub edges: usize,
    /// What a cut edge brings.
    pub ablation: String,
    /// Mean m(M).
    pub whole: Estimate,
    /// Mean m(∅).
    pub empty: Estimate,
    /// Mean m(C).
    pub circuit: Estimate,
    /// Mean m(M∖C): the model with the circuit cut.
    pub complement: Estimate,
    /// Mean m(M) − m(∅), the denominator of every share.
    pub total: Estimate,
    /// f(C); undefined where the total may be 0.
    pub faithfulness: Estimate,
    /// f(M∖C): 0 where the circuit holds everything.
    pub complement_faithfulness: Estimate,
}

/// What the circuit lacks: how far it and the model part when the same edges are cut in both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completeness {
    /// Random parts of the circuit that were cut.
    pub draws: usize,
    /// |Σ m(M∖K) − m(C∖K)| / |Σ m(M) − m(∅)| of each draw; the last is K = C.
    pub gaps: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// The largest.
    pub worst: f64,
}

/// What one edge does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeEffect {
    /// Its name.
    pub edge: String,
    /// The metric with it less the metric without it: positive where it helps.
    pub effect: Estimate,
    /// Two-sided p-value of "its mean effect is 0": signs of whole clusters flipped, or Student's t on clusters where
    /// too few of them can resolve the edges tested.
    pub p_value: Option<f64>,
    /// The same, Benjamini–Hochberg over the edges that were tested.
    pub adjusted: Option<f64>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HypothesisTest {
    /// `equivalence`, `independence`, `minimality`, `sufficiency`, `partial_necessity`.
    pub name: String,
    /// The null hypothesis, in words.
    pub null: String,
    /// The test statistic.
    pub statistic: f64,
    /// The p-value of the null.
    pub p_value: f64,
    /// How many clusters, permutations or random circuits it rests on.
    pub n: usize,
    /// Whether the test speaks for the circuit at the level asked for: an idealised null (equivalence, independence,
    /// minimality) is not rejected, the null that random circuits do as well (sufficiency, partial necessity) is.
    pub passed: bool,
}

/// Random circuits of the candidate's size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomCircuits {
    /// Their numbers of edges.
    pub edges: Vec<usize>,
    /// Their faithfulness; none where the total effect is 0.
    pub faithfulness: Vec<Option<f64>>,
    /// (1 + number at least as faithful as the candidate) / (1 + number).
    pub p_value: f64,
}

/// What a circuit stood up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Random circuits as a null.
    pub random: RandomCircuits,
    /// Equivalence, independence, sufficiency, partial necessity.
    pub tests: Vec<HypothesisTest>,
    /// Minimality, one test an edge, by name.
    pub minimality: Vec<(String, HypothesisTest)>,
    /// Edges that may go: their idealised null falls after Benjamini–Hochberg.
    pub superfluous: Vec<String>,
}

/// A circuit's numbers and tests on pairs that its choice has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitReport {
    /// Pairs that it was measured on.
    pub pairs: usize,
    /// Faithfulness and what goes with it.
    pub evaluation: CircuitEvaluation,
    /// Left out where no random parts were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Completeness>,
    /// m(C) − m(C∖e) of the circuit's strongest edges.
    pub minimality: Vec<EdgeEffect>,
    /// Random circuits and hypothesis tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
}

/// The second checkpoint's mean less the first's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// `whole`, `empty`, `circuit`, `complement`; `total` is whole − empty, `carried` circuit − empty, `left` complement −
    /// empty.
    pub quantity: String,
    /// The paired difference, in the metric's unit.
    pub difference: Estimate,
    /// Two-sided p-value of "no difference", likewise.
    pub p_value: Option<f64>,
}

/// A circuit before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitComparison {
    /// On the first checkpoint.
    pub before: CircuitEvaluation,
    /// On the second.
    pub after: CircuitEvaluation,
    /// Paired differences, after less before.
    pub contrasts: Vec<Contrast>,
}
