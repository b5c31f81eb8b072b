//! Which edges are cut, and how far.

use candle_core::{Device, Result, Tensor};

use super::graph::{Edge, PathGraph, Receiver};

/// For every edge the share of the sender's contribution that is replaced in the receiver's input: 0 keeps the edge, 1
/// cuts it. Shares between are for derivatives.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeMask {
    graph: PathGraph,
    /// Receivers by senders.
    shares: Vec<Vec<f32>>,
}

impl EdgeMask {
    /// Every edge kept: the plain run.
    pub fn whole(graph: PathGraph) -> Self {
        Self { graph, shares: vec![vec![0.0; graph.senders()]; graph.receivers()] }
    }

    /// Every edge cut.
    pub fn empty(graph: PathGraph) -> Self {
        let row = |index| {
            let reach = graph.reach(graph.receiver(index));
            (0..graph.senders()).map(|sender| f32::from(u8::from(sender < reach))).collect()
        };
        Self { graph, shares: (0..graph.receivers()).map(row).collect() }
    }

    /// Only these edges kept.
    pub fn keeping(graph: PathGraph, edges: impl IntoIterator<Item = Edge>) -> Self {
        edges.into_iter().fold(Self::empty(graph), |mask, edge| mask.with(edge, 0.0))
    }

    /// Only these edges cut.
    pub fn cutting(graph: PathGraph, edges: impl IntoIterator<Item = Edge>) -> Self {
        edges.into_iter().fold(Self::whole(graph), |mask, edge| mask.with(edge, 1.0))
    }

    /// The same with another share for one edge; an edge that does not exist changes nothing.
    pub fn with(mut self, edge: Edge, share: f32) -> Self {
        let (receiver, sender) = (self.graph.receiver_index(edge.receiver), self.graph.sender_index(edge.sender));
        if let (true, Some(slot)) =
            (self.graph.has(edge), self.shares.get_mut(receiver).and_then(|row| row.get_mut(sender)))
        {
            *slot = share;
        }
        self
    }

    /// The share of an edge.
    pub fn share(&self, edge: Edge) -> f32 {
        let row = self.shares.get(self.graph.receiver_index(edge.receiver));
        row.and_then(|row| row.get(self.graph.sender_index(edge.sender))).copied().unwrap_or(0.0)
    }

    /// The decoder that it is for.
    pub fn graph(&self) -> PathGraph {
        self.graph
    }

    /// The first block in which a receiver reads something else; the number of blocks where only the logits do.
    pub(super) fn first_layer(&self) -> Option<usize> {
        let changed = self.shares.iter().position(|row| row.iter().any(|share| *share != 0.0))?;
        Some(match self.graph.receiver(changed) {
            Receiver::Attention { layer, .. } | Receiver::Mlp { layer } => layer,
            Receiver::Logits => self.graph.n_layers,
        })
    }

    /// The shares of `units` receivers from `first` on, one mask a row, `[rows, units, reach]`; nothing where all are 0.
    pub(super) fn stack(masks: &[&EdgeMask], first: Receiver, units: usize, device: &Device) -> Result<Option<Tensor>> {
        let Some(graph) = masks.first().map(|mask| mask.graph) else { return Ok(None) };
        let (start, reach) = (graph.receiver_index(first), graph.reach(first));
        let mut shares: Vec<f32> = Vec::with_capacity(masks.len() * units * reach);
        for mask in masks {
            for row in mask.shares.iter().skip(start).take(units) {
                shares.extend(row.iter().take(reach));
            }
        }
        match shares.iter().any(|share| *share != 0.0) {
            true => Tensor::from_vec(shares, (masks.len(), units, reach), device).map(Some),
            false => Ok(None),
        }
    }
}
