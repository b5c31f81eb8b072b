//! The scenario file as it is written: TOML, unknown keys refused. What it means is said by [`super::scm`].

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::causal::Role;

/// `scenario.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioSpec {
    /// The scenario's id.
    pub id: String,
    /// The version of its content; a change of a mechanism or a prompt raises it.
    pub version: u32,
    /// The causal question in one sentence.
    pub question: String,
    /// Unobserved variables.
    #[serde(default)]
    pub latents: BTreeMap<String, LatentSpec>,
    /// Observed variables.
    pub variables: BTreeMap<String, VariableSpec>,
    /// The model's output, where there is one.
    #[serde(default)]
    pub answer: Option<AnswerSpec>,
    /// The model's outputs by name, where the framings ask different things.
    #[serde(default)]
    pub answers: BTreeMap<String, AnswerSpec>,
    /// Changed mechanisms by environment and variable. `train` must be among them and is the world as declared.
    #[serde(default)]
    pub environments: BTreeMap<String, BTreeMap<String, MechanismSpec>>,
    /// Which prompts render it.
    pub prompt: PromptSpec,
    /// What the frozen set holds.
    #[serde(default)]
    pub frozen: FrozenSpec,
}

/// `[latents.*]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentSpec {
    /// The values.
    pub values: Vec<String>,
    /// Their probabilities; uniform where absent.
    #[serde(default)]
    pub p: Option<Vec<f64>>,
}

/// `[variables.*]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariableSpec {
    /// What it stands for.
    pub role: Role,
    /// The variables and latents that its mechanism reads, in the order in which table keys name them.
    #[serde(default)]
    pub parents: Vec<String>,
    /// The values; derived from `choices` where those are given.
    #[serde(default)]
    pub values: Option<Vec<String>>,
    /// Probabilities of the values where there are no parents; uniform where absent.
    #[serde(default)]
    pub p: Option<Vec<f64>>,
    /// Probabilities of the values by the parents' values, as `"a,two" = [0.2, 0.8]`.
    #[serde(default)]
    pub table: Option<BTreeMap<String, Vec<f64>>>,
    /// Equally likely words by the parents' values. One noise picks the index, so that `do()` on a parent moves from
    /// the third word of one list to the third of another.
    #[serde(default)]
    pub choices: Option<BTreeMap<String, Vec<String>>>,
    /// How many words of each list (or of `values`) belong to which split, in list order.
    #[serde(default)]
    pub pools: Option<PoolSpec>,
}

/// The sizes of the disjoint word pools.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Words for gradient steps.
    pub tuning: usize,
    /// Words for the choice of sites and λ.
    pub discovery: usize,
    /// Words for claims.
    pub evaluation: usize,
}

/// A mechanism that an environment puts in the place of the declared one; parents stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MechanismSpec {
    /// As in [`VariableSpec::p`].
    #[serde(default)]
    pub p: Option<Vec<f64>>,
    /// As in [`VariableSpec::table`].
    #[serde(default)]
    pub table: Option<BTreeMap<String, Vec<f64>>>,
}

/// How an answer may depend on one of its parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// The answer must not move.
    Spurious,
    /// The answer should follow.
    Legitimate,
}

/// `[answer]` or `[answers.*]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSpec {
    /// What the prompt shows, and whether the answer may follow it.
    pub parents: BTreeMap<String, PathKind>,
    /// The variable that holds the true answer. The only variable of role `label` where absent; `""` for an answer
    /// without a truth.
    #[serde(default)]
    pub label: Option<String>,
    /// The continuation for each value of the label, with its leading space; space and value where absent. For an
    /// answer without a label, the keys name the continuations.
    #[serde(default)]
    pub text: BTreeMap<String, String>,
    /// The variable that, with the label, forms the groups of worst-group accuracy; the protected or spurious one
    /// where absent.
    #[serde(default)]
    pub group: Option<String>,
}

/// `[prompt]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec {
    /// The prompt file: `<template>.toml` beside the scenario, or in the `prompts` folder two levels up.
    pub template: String,
}

/// `[frozen]`: the size of the frozen set.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrozenSpec {
    /// The seed of its noise.
    pub seed: u64,
    /// Items in each environment.
    pub items: usize,
    /// Pairs of each contrast.
    pub pairs: usize,
    /// Word swaps, paraphrases of each contrast, and reframed prompts.
    pub variants: usize,
}

impl Default for FrozenSpec {
    fn default() -> Self {
        Self { seed: 1, items: 120, pairs: 60, variants: 30 }
    }
}
