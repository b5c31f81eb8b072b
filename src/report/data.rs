//! What a report is made of: the run's summary, the records of its arms, the comparison, the timings.
//!
//! Everything is read back from the run's folder, so that a report is rendered again without weights.

use serde::{Deserialize, Serialize};

/// The version of the summary's format.
pub const SUMMARY_SCHEMA: u32 = 1;

/// What the report says beyond the records: the questions, the graph, the targets, the examples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunSummary {
    /// The version of this format.
    pub schema: u32,
    /// The report's title.
    pub title: String,
    /// The causal questions, in plain language, one sentence each.
    #[serde(default)]
    pub questions: Vec<String>,
    /// The arms in the order of the report; the first is the checkpoint before tuning.
    pub arms: Vec<Arm>,
    /// The arm that the report recommends or is about, such as `causal`.
    #[serde(default)]
    pub focus: Option<String>,
    /// The arm that it is to be judged against, such as `plain`.
    #[serde(default)]
    pub control: Option<String>,
    /// The questions that decide, in the order of importance.
    #[serde(default)]
    pub headlines: Vec<Headline>,
    /// What was promised, and what came of it.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// The causal graphs.
    #[serde(default)]
    pub graphs: Vec<ReportGraph>,
    /// Example pairs with their answers.
    #[serde(default)]
    pub examples: Vec<ExamplePair>,
    /// The training curves.
    #[serde(default)]
    pub curves: Vec<TrainingCurve>,
    /// The canaries and their coin flips.
    #[serde(default)]
    pub canaries: Vec<Canary>,
    /// What limits the conclusions, one sentence each.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// The command that makes this run again.
    #[serde(default)]
    pub command: String,
}

/// One arm of the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name, equal to its record's.
    pub name: String,
    /// What was done to it, in one sentence.
    pub description: String,
    /// Its record, relative to the run folder.
    pub record: String,
}

/// What a deciding metric speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadlineRole {
    /// An effect that should vanish.
    Unwanted,
    /// An effect that should stay.
    Wanted,
    /// What the repair buys or costs.
    Outcome,
}

/// A question that decides, and the metrics that answer it (one for each kind of scenario).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Headline {
    /// The metrics' ids with their variants, such as `fairness.counterfactual_gap@log_odds`.
    pub metrics: Vec<String>,
    /// The populations to show; empty for all that have one of the metrics.
    #[serde(default)]
    pub populations: Vec<String>,
    /// What to call it in a sentence, such as `effect of spurious changes`.
    pub title: String,
    /// What it speaks of.
    pub role: HeadlineRole,
}

/// What became of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetStatus {
    /// Reached, and the interval says so.
    Met,
    /// Missed.
    Failed,
    /// The data do not decide.
    Undecided,
}

/// A target that was fixed before held-out results were seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What is claimed, such as `The causal adapter removes the shortcut in hiring`.
    pub claim: String,
    /// The rule, such as `mean |TE| falls by at least 80 %`.
    pub criterion: String,
    /// What was measured, with its interval.
    pub measured: String,
    /// What became of it.
    pub status: TargetStatus,
    /// Anything a reader must know about it.
    #[serde(default)]
    pub detail: String,
}

/// A causal graph to draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportGraph {
    /// The scenario.
    pub id: String,
    /// Its question.
    #[serde(default)]
    pub question: String,
    /// The variables, and the model's answer.
    pub nodes: Vec<GraphNode>,
    /// The arrows.
    pub edges: Vec<GraphEdge>,
}

/// A variable of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphNode {
    /// Its name.
    pub name: String,
    /// Its role: `latent`, `protected`, `proxy`, `causal`, `mediator`, `spurious`, `label`, `answer`, …
    pub role: String,
    /// Its values or meaning, shown on hover.
    #[serde(default)]
    pub detail: String,
    /// The layer to draw it in, counted from the top, where the automatic one does not suit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
}

/// What an arrow means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Part of the world, not of the model.
    Structural,
    /// A path that the answer should not use.
    Spurious,
    /// A path that the answer should use.
    Legitimate,
    /// From an unobserved common cause.
    Latent,
}

/// An arrow of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphEdge {
    /// The cause.
    pub from: String,
    /// The effect.
    pub to: String,
    /// What it means.
    pub kind: EdgeKind,
}

/// What a well-behaved answer does between the two sides of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleKind {
    /// It stays: only something spurious changed.
    Invariant,
    /// It follows: a legitimate cause changed.
    Follow,
}

/// A pair of prompts with each arm's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExamplePair {
    /// The pair's id.
    pub id: String,
    /// The eval set.
    pub population: String,
    /// What should happen.
    pub kind: ExampleKind,
    /// What was changed, such as `gender: female → male`.
    #[serde(default)]
    pub intervention: String,
    /// The factual prompt.
    pub factual: String,
    /// The counterfactual prompt.
    pub counterfactual: String,
    /// The possible answers; probabilities are listed in this order.
    pub answers: Vec<String>,
    /// One entry an arm.
    pub responses: Vec<ExampleResponse>,
}

/// One arm's answers to an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleResponse {
    /// The arm.
    pub arm: String,
    /// Probability of each answer among the answers, factual side.
    pub factual: Vec<f64>,
    /// The same, counterfactual side.
    pub counterfactual: Vec<f64>,
    /// Change of the log-odds of the first answer over the second, counterfactual less factual, in nats.
    pub effect: Option<f64>,
}

/// One term of one arm's training objective over the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingCurve {
    /// The arm.
    pub arm: String,
    /// The term, such as `task loss` or `mediation penalty`.
    pub term: String,
    /// Its weight in the objective; `None` where it was logged and not trained on.
    pub weight: Option<f64>,
    /// Step and unweighted value.
    pub points: Vec<(u64, f64)>,
}

/// A line of text whose place in the tuning data was decided by a coin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// What the coin said.
    pub included: bool,
}
