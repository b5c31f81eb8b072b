//! What is known about a model with a planted pathway, at three grains: nodes, nodes at positions, edges.
//!
//! *Structural* truth: the node lies on a path from the intervened token to the answer. *Functional* truth: its mean
//! indirect effect, in either direction, is at least [`FUNCTIONAL_SHARE`] of the largest. Back-ups are structural, but
//! have no effect under noising.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::node::Node;

/// The share of the largest mean effect from which a node counts as functional.
pub const FUNCTIONAL_SHARE: f64 = 0.01;

/// What is known about one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTruth {
    /// Whether it lies on a pathway.
    pub structural: bool,
    /// Whether it has an effect of its own, in either direction.
    pub functional: bool,
    /// Mean indirect effect under noising (factual receives counterfactual) by closed form, in nats of logit
    /// difference; `None` where the model was trained and has no closed form.
    pub noise: Option<f64>,
    /// The same under denoising (counterfactual receives factual).
    pub denoise: Option<f64>,
    /// The trap that it belongs to, or what it is for.
    pub label: String,
}

/// What is known about one model and population of pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Every node of the model.
    pub nodes: BTreeMap<Node, NodeTruth>,
    /// The nodes on a pathway at the positions where they write, such as `a0.h1@5`; all others are not. `None` where
    /// that grain is not known.
    pub positions: Option<Vec<String>>,
    /// The edges of the pathways under EAP-IG's names, such as `a0.h1->m2`; all others are none. `None` where that
    /// grain is not known.
    pub edges: Option<Vec<String>>,
}

impl Truth {
    /// How many nodes lie on a pathway, and how many there are.
    pub fn prevalence(&self) -> (usize, usize) {
        (self.nodes.values().filter(|node| node.structural).count(), self.nodes.len())
    }
}

/// Sets `functional` from the closed forms.
pub(crate) fn functional(nodes: &mut BTreeMap<Node, NodeTruth>) {
    let size = |node: &NodeTruth| {
        let effects = [node.noise, node.denoise].into_iter().flatten();
        effects.map(f64::abs).fold(0.0, f64::max)
    };
    let largest = nodes.values().map(size).fold(0.0, f64::max);
    for node in nodes.values_mut() {
        node.functional = largest > 0.0 && size(node) >= FUNCTIONAL_SHARE * largest;
    }
}
