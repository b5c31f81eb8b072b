//! One task of the benchmark: a model, pairs, and what is known. And what a method answers: scores.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::PlantedError;
use super::methods::Dormant;
use super::node::Node;
use super::truth::Truth;
use crate::intervene::{Side, TokenPair};
use crate::model::LanguageModel;

/// Where a task's truth comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Weights set by hand.
    Compiled,
    /// Weights trained to carry a known causal model.
    Trained,
}

impl Tier {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Compiled => "compiled",
            Tier::Trained => "trained",
        }
    }
}

/// A model with pairs and truth.
pub struct Task {
    /// The name under which scores are given, such as `compiled-000`.
    pub id: String,
    /// The model that it belongs to: tasks of one model are not independent.
    pub model_name: String,
    /// Where the truth comes from.
    pub tier: Tier,
    /// The model.
    pub model: LanguageModel,
    /// Its `config.json`.
    pub config: Value,
    /// The pairs on which methods compute their scores; factual is clean, counterfactual corrupted.
    pub pairs: Vec<TokenPair>,
    /// What is known.
    pub truth: Truth,
    /// The direction that only a subspace patch finds, where there is one.
    pub dormant: Option<Dormant>,
}

impl Task {
    /// Every node, in order.
    pub fn nodes(&self) -> Vec<Node> {
        Node::all(self.model.architecture())
    }

    /// Tokens of every prompt.
    pub fn tokens(&self) -> usize {
        self.pairs.first().map_or(0, |pair| pair.factual.ids.len())
    }

    /// One side of all pairs as one batch, `[pairs, tokens]`.
    pub(crate) fn ids(&self, side: Side) -> Result<Tensor, PlantedError> {
        let ids: Vec<u32> = self.pairs.iter().flat_map(|pair| pair.side(side).ids.iter().copied()).collect();
        Ok(Tensor::from_vec(ids, (self.pairs.len(), self.tokens()), self.model.device())?)
    }
}

/// What a method says of one task: the larger a score's absolute value, the surer that it lies on a pathway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// One score a node.
    pub nodes: BTreeMap<Node, f64>,
    /// One score a node and position, such as `a0.h1@5`; none where the method has no such grain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<BTreeMap<String, f64>>,
    /// One score an edge, under EAP-IG's names; none where the method has no such grain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<BTreeMap<String, f64>>,
}

impl Scores {
    /// Scores of nodes as the sums of the magnitudes that `positions` holds for them.
    pub(crate) fn by_position(scores: impl IntoIterator<Item = (Node, Vec<f64>)>) -> Self {
        let mut out = Self::default();
        let positions = out.positions.get_or_insert_default();
        for (node, values) in scores {
            positions.extend(values.iter().enumerate().map(|(at, value)| (node.at(at), *value)));
            out.nodes.insert(node, values.iter().sum());
        }
        out
    }
}
