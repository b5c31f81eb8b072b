//! What a scenario generates: task items, and counterfactual pairs that share their exogenous noise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A named stretch of a prompt's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The variable (or `last`-like landmark) that fills it.
    pub name: String,
    /// First byte in the text.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// One rendered prompt with the values behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The text that the model reads; the answers continue it.
    pub text: String,
    /// Where each variable stands in the text, in text order.
    #[serde(default)]
    pub slots: Vec<Slot>,
    /// The values of all observed variables of the causal model.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The possible continuations, with their leading space.
    pub answers: Vec<String>,
    /// The index of the true label among `answers`, where the mechanism gives one.
    #[serde(default)]
    pub label: Option<usize>,
}

/// Which part of the work may see an item. Names and templates of one split occur in no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Gradient steps.
    Tuning,
    /// Choice of sites, λ and margins.
    Discovery,
    /// Claims.
    Evaluation,
}

/// A labelled prompt of one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskItem {
    /// Unique within the eval set.
    pub id: String,
    /// The scenario's id.
    pub scenario: String,
    /// The environment whose mechanisms drew it.
    pub environment: String,
    /// Who may see it.
    pub split: Split,
    /// The template that rendered it.
    pub template: String,
    /// The resampling unit.
    pub cluster: String,
    /// Label × spurious value, the groups of worst-group accuracy.
    pub group: String,
    /// The prompt, with its label.
    pub prompt: Prompt,
}

/// What kind of text intervention a `do` was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoKind {
    /// The mechanism was cut and all descendants regenerated from the same noise.
    Regenerate,
    /// One word was exchanged and nothing followed: weaker, and labelled so.
    WordSwap,
}

/// The intervention that separates the two sides of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoIntervention {
    /// The variable that was set.
    pub variable: String,
    /// Its factual value.
    pub from: String,
    /// The value that it was set to.
    pub to: String,
    /// How the text followed.
    pub kind: DoKind,
}

/// What a well-behaved model's answer does under the intervention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Expectation {
    /// Nothing: the path is spurious.
    Invariant,
    /// It follows the mechanism, whose label on the counterfactual side is `label` (an index into the answers).
    Follow {
        /// The counterfactual side's label.
        label: usize,
    },
}

/// Where a pair comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// A structural causal model generated both sides from the same noise.
    Generated,
    /// A user declared that the two sides differ by the intervention; nothing vouches for it.
    Declared,
}

/// Two prompts that differ by one `do`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterfactualPair {
    /// Unique within the eval set.
    pub id: String,
    /// The scenario's id (or the file's name for declared pairs).
    pub scenario: String,
    /// The environment that drew the factual side.
    pub environment: String,
    /// Who may see it.
    pub split: Split,
    /// The template that rendered both sides.
    pub template: String,
    /// The resampling unit.
    pub cluster: String,
    /// The factual side.
    pub factual: Prompt,
    /// The side under the intervention. Its `answers` equal the factual side's.
    pub counterfactual: Prompt,
    /// What was done; `None` for declared pairs that do not say.
    #[serde(default)]
    pub intervention: Option<DoIntervention>,
    /// What should happen.
    pub expectation: Expectation,
    /// The causal path that the pair moves, such as `gender → name → answer`.
    #[serde(default)]
    pub path: Option<String>,
    /// The id of the pair of which this is a paraphrase.
    #[serde(default)]
    pub paraphrase_of: Option<String>,
    /// Generated or declared.
    pub provenance: Provenance,
}
