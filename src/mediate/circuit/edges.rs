//! A set of edges.

use std::collections::BTreeSet;

use crate::intervene::path::{Edge, EdgeMask, PathGraph, Receiver, Sender};
use crate::mediate::MediateError;

/// Edges of one decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    graph: PathGraph,
    edges: BTreeSet<Edge>,
}

impl Circuit {
    /// A circuit of these edges; refuses one that the decoder does not have.
    pub fn new(graph: PathGraph, edges: impl IntoIterator<Item = Edge>) -> Result<Self, MediateError> {
        let edges: BTreeSet<Edge> = edges.into_iter().collect();
        edges.iter().try_for_each(|edge| graph.check(*edge))?;
        Ok(Self { graph, edges })
    }

    /// Every edge of the decoder.
    pub fn whole(graph: PathGraph) -> Self {
        Self { graph, edges: graph.edges().collect() }
    }

    /// The decoder.
    pub fn graph(&self) -> PathGraph {
        self.graph
    }

    /// Its edges in order.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        self.edges.iter().copied()
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether it has no edges.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Whether it holds an edge.
    pub fn contains(&self, edge: Edge) -> bool {
        self.edges.contains(&edge)
    }

    /// The senders that take part.
    pub fn senders(&self) -> BTreeSet<Sender> {
        self.edges.iter().map(|edge| edge.sender).collect()
    }

    /// The run in which every edge outside is cut.
    pub fn mask(&self) -> EdgeMask {
        EdgeMask::keeping(self.graph, self.edges())
    }

    /// The run in which every edge inside is cut.
    pub fn knockout(&self) -> EdgeMask {
        EdgeMask::cutting(self.graph, self.edges())
    }

    /// The circuit without some edges.
    pub fn without(&self, removed: &BTreeSet<Edge>) -> Self {
        Self { graph: self.graph, edges: self.edges.difference(removed).copied().collect() }
    }

    /// The circuit with one more edge.
    pub fn with(&self, edge: Edge) -> Self {
        let mut edges = self.edges.clone();
        edges.insert(edge);
        Self { graph: self.graph, edges }
    }

    /// The part that can carry anything from the input to the logits: heads and MLPs without an edge in or without one
    /// out are taken away with their edges, until nothing changes.
    pub fn pruned(&self) -> Self {
        let mut edges = self.edges.clone();
        loop {
            let mut read: BTreeSet<Sender> = edges.iter().flat_map(|edge| self.graph.owners(edge.receiver)).collect();
            read.insert(Sender::Input);
            let alive: BTreeSet<Sender> =
                edges.iter().map(|edge| edge.sender).filter(|sender| read.contains(sender)).collect();
            let keep = |edge: &Edge| {
                let reaches = edge.receiver == Receiver::Logits
                    || self.graph.owners(edge.receiver).iter().any(|owner| alive.contains(owner));
                alive.contains(&edge.sender) && reaches
            };
            let kept: BTreeSet<Edge> = edges.iter().copied().filter(keep).collect();
            if kept.len() == edges.len() {
                return Self { graph: self.graph, edges: kept };
            }
            edges = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn circuit(n_groups: usize, edges: &[&str]) -> Circuit {
        let graph = PathGraph { n_layers: 3, n_heads: 4, n_groups, d_model: 8, parallel: false };
        Circuit::new(graph, edges.iter().map(|edge| graph.edge(edge).expect("edge"))).expect("circuit")
    }

    #[test]
    fn what_leads_nowhere_is_pruned_in_turn() {
        // m1 has nothing going out once a2.h0 is dead; m0 has then nothing to feed but the logits.
        let edges = ["input->m0", "m0->m1", "m1->a2.h0<q>", "m0->logits", "a0.h1->logits", "input->a1.h2<v>"];
        let names = |circuit: &Circuit| circuit.edges().map(|edge| circuit.graph().name(edge)).collect::<BTreeSet<_>>();
        let kept = names(&circuit(4, &edges).pruned());
        assert_eq!(kept, ["input->m0", "m0->logits"].map(str::to_owned).into());
        assert!(circuit(4, &["a0.h1->logits"]).pruned().is_empty());
        let direct = circuit(4, &["input->logits"]);
        assert_eq!(direct.pruned(), direct);
    }

    #[test]
    fn a_group_lives_while_one_of_its_heads_does() {
        let edges = ["input->a1.g1<k>", "a1.h3->logits"];
        assert_eq!(circuit(2, &edges).pruned().len(), 2);
        assert!(circuit(2, &["input->a1.g0<k>", "a1.h3->logits"]).pruned().is_empty());
    }
}
