//! The graph of a decoder: who writes to the residual stream, and who reads it.
//!
//! Senders are the input, every head and every MLP; receivers the queries of every head, the keys and values of every
//! group of heads, every MLP and the logits. A sender reaches every receiver that reads the stream after it has
//! written; in parallel blocks an MLP does not see its own block's heads. Names are those of the EAP-IG package
//! (`input`, `a3.h5`, `m7`, `logits`; edges `a0.h1->m3`, `input->a5.h1<q>`). Where several heads share keys and values,
//! those belong to the group and are named so: `m0->a1.g0<k>`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::intervene::InterveneError;
use crate::model::{Architecture, Part};

/// Who writes to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// The token embedding.
    Input,
    /// A head.
    Head {
        /// Its block.
        layer: usize,
        /// Its number in the block.
        head: usize,
    },
    /// An MLP.
    Mlp {
        /// Its block.
        layer: usize,
    },
}

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// Queries of a head, or keys or values of a group.
    Attention {
        /// Its block.
        layer: usize,
        /// Which of the three.
        part: Part,
        /// The head of queries, the group of keys and values.
        unit: usize,
    },
    /// An MLP.
    Mlp {
        /// Its block.
        layer: usize,
    },
    /// The final norm and the head of the model.
    Logits,
}

/// One path of length one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Who writes.
    pub sender: Sender,
    /// Who reads.
    pub receiver: Receiver,
}

/// The sizes that fix a decoder's graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathGraph {
    /// Blocks.
    pub n_layers: usize,
    /// Heads of a block.
    pub n_heads: usize,
    /// Groups of heads that share keys and values.
    pub n_groups: usize,
    /// Width of the stream.
    pub d_model: usize,
    /// Whether attention and MLP of a block read the same stream.
    pub parallel: bool,
}

impl PathGraph {
    /// The graph of an architecture.
    pub fn of(architecture: &Architecture) -> Self {
        Self {
            n_layers: architecture.n_layers,
            n_heads: architecture.n_heads,
            n_groups: architecture.n_kv_heads,
            d_model: architecture.d_model,
            parallel: architecture.parallel_residual,
        }
    }

    /// Number of senders: 1 + layers · (heads + 1).
    pub fn senders(&self) -> usize {
        1 + self.n_layers * (self.n_heads + 1)
    }

    /// Number of receivers: layers · (heads + 2 · groups + 1) + 1.
    pub fn receivers(&self) -> usize {
        self.n_layers * self.block() + 1
    }

    /// Receivers of a block.
    fn block(&self) -> usize {
        self.n_heads + 2 * self.n_groups + 1
    }

    /// A sender's place in the order of the pass.
    pub fn sender_index(&self, sender: Sender) -> usize {
        match sender {
            Sender::Input => 0,
            Sender::Head { layer, head } => 1 + layer * (self.n_heads + 1) + head,
            Sender::Mlp { layer } => 1 + layer * (self.n_heads + 1) + self.n_heads,
        }
    }

    /// The sender at a place.
    pub fn sender(&self, index: usize) -> Sender {
        let Some(inner) = index.checked_sub(1) else { return Sender::Input };
        let (layer, place) = (inner / (self.n_heads + 1), inner % (self.n_heads + 1));
        if place == self.n_heads { Sender::Mlp { layer } } else { Sender::Head { layer, head: place } }
    }

    /// A receiver's place: by block the queries, keys, values and the MLP; the logits last.
    pub fn receiver_index(&self, receiver: Receiver) -> usize {
        let (h, g) = (self.n_heads, self.n_groups);
        match receiver {
            Receiver::Attention { layer, part: Part::Query, unit } => layer * self.block() + unit,
            Receiver::Attention { layer, part: Part::Key, unit } => layer * self.block() + h + unit,
            Receiver::Attention { layer, part: Part::Value, unit } => layer * self.block() + h + g + unit,
            Receiver::Mlp { layer } => layer * self.block() + h + 2 * g,
            Receiver::Logits => self.n_layers * self.block(),
        }
    }

    /// The receiver at a place.
    pub fn receiver(&self, index: usize) -> Receiver {
        let (h, g) = (self.n_heads, self.n_groups);
        let (layer, place) = (index / self.block(), index % self.block());
        let attention = |part, unit| Receiver::Attention { layer, part, unit };
        match place {
            _ if layer >= self.n_layers => Receiver::Logits,
            place if place < h => attention(Part::Query, place),
            place if place < h + g => attention(Part::Key, place - h),
            place if place < h + 2 * g => attention(Part::Value, place - h - g),
            _ => Receiver::Mlp { layer },
        }
    }

    /// Heads or groups that a part of a block has.
    pub fn units(&self, part: Part) -> usize {
        match part {
            Part::Query => self.n_heads,
            Part::Key | Part::Value => self.n_groups,
        }
    }

    /// How many senders, from the first on, reach a receiver.
    pub fn reach(&self, receiver: Receiver) -> usize {
        match receiver {
            Receiver::Attention { layer, .. } => 1 + layer * (self.n_heads + 1),
            Receiver::Mlp { layer } if self.parallel => 1 + layer * (self.n_heads + 1),
            Receiver::Mlp { layer } => 1 + layer * (self.n_heads + 1) + self.n_heads,
            Receiver::Logits => self.senders(),
        }
    }

    /// Whether the edge exists.
    pub fn has(&self, edge: Edge) -> bool {
        let sender = match edge.sender {
            Sender::Input => true,
            Sender::Head { layer, head } => layer < self.n_layers && head < self.n_heads,
            Sender::Mlp { layer } => layer < self.n_layers,
        };
        let receiver = match edge.receiver {
            Receiver::Attention { layer, part, unit } => layer < self.n_layers && unit < self.units(part),
            Receiver::Mlp { layer } => layer < self.n_layers,
            Receiver::Logits => true,
        };
        sender && receiver && self.sender_index(edge.sender) < self.reach(edge.receiver)
    }

    /// Refuses an edge that this decoder does not have.
    pub fn check(&self, edge: Edge) -> Result<(), InterveneError> {
        match self.has(edge) {
            true => Ok(()),
            false => Err(InterveneError::Edge {
                text: self.name(edge),
                message: format!(
                    "a decoder of {} layers, {} heads and {} key groups has no such edge; a sender reaches what reads the stream after it",
                    self.n_layers, self.n_heads, self.n_groups
                ),
            }),
        }
    }

    /// Every edge, by receiver and then by sender.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        (0..self.receivers()).flat_map(move |index| {
            let receiver = self.receiver(index);
            (0..self.reach(receiver)).map(move |sender| Edge { sender: self.sender(sender), receiver })
        })
    }

    /// Number of edges.
    pub fn edge_count(&self) -> usize {
        (0..self.receivers()).map(|index| self.reach(self.receiver(index))).sum()
    }

    /// The sender that a receiver is a part of; every head of a group for keys and values, none for the logits.
    pub fn owners(&self, receiver: Receiver) -> Vec<Sender> {
        match receiver {
            Receiver::Attention { layer, part: Part::Query, unit } => vec![Sender::Head { layer, head: unit }],
            Receiver::Attention { layer, unit, .. } => {
                let each = self.n_heads / self.n_groups.max(1);
                (unit * each..(unit + 1) * each).map(|head| Sender::Head { layer, head }).collect()
            }
            Receiver::Mlp { layer } => vec![Sender::Mlp { layer }],
            Receiver::Logits => Vec::new(),
        }
    }

    /// The edge's name.
    pub fn name(&self, edge: Edge) -> String {
        format!("{}->{}", edge.sender, self.receiver_name(edge.receiver))
    }

    /// The receiver's name.
    pub fn receiver_name(&self, receiver: Receiver) -> String {
        let letter = |part| match part {
            Part::Query => 'q',
            Part::Key => 'k',
            Part::Value => 'v',
        };
        match receiver {
            Receiver::Attention { layer, part, unit } => {
                let shared = part != Part::Query && self.n_groups != self.n_heads;
                let unit_letter = if shared { 'g' } else { 'h' };
                format!("a{layer}.{unit_letter}{unit}<{}>", letter(part))
            }
            Receiver::Mlp { layer } => format!("m{layer}"),
            Receiver::Logits => "logits".to_owned(),
        }
    }

    /// Reads an edge's name, and refuses one that this decoder does not have.
    pub fn edge(&self, text: &str) -> Result<Edge, InterveneError> {
        let refuse = || InterveneError::Edge {
            text: text.to_owned(),
            message: "edges are like input->a5.h1<q>, a0.h1->m3 or m2->logits".to_owned(),
        };
        let (sender, receiver) = text.split_once("->").ok_or_else(refuse)?;
        let edge = Edge { sender: sender.parse()?, receiver: self.parse_receiver(receiver).ok_or_else(refuse)? };
        self.check(edge)?;
        Ok(edge)
    }

    fn parse_receiver(&self, text: &str) -> Option<Receiver> {
        if text == "logits" {
            return Some(Receiver::Logits);
        }
        if let Some(layer) = text.strip_prefix('m') {
            return Some(Receiver::Mlp { layer: number(layer)? });
        }
        let (unit, part) = text.strip_suffix('>')?.split_once('<')?;
        let part = match part {
            "q" => Part::Query,
            "k" => Part::Key,
            "v" => Part::Value,
            _ => return None,
        };
        let (layer, unit) = unit.strip_prefix('a')?.split_once('.')?;
        let shared = part != Part::Query && self.n_groups != self.n_heads;
        let unit = unit.strip_prefix(if shared { 'g' } else { 'h' })?;
        Some(Receiver::Attention { layer: number(layer)?, part, unit: number(unit)? })
    }
}

fn number(text: &str) -> Option<usize> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Input => f.write_str("input"),
            Sender::Head { layer, head } => write!(f, "a{layer}.h{head}"),
            Sender::Mlp { layer } => write!(f, "m{layer}"),
        }
    }
}

impl FromStr for Sender {
    type Err = InterveneError;

    fn from_str(text: &str) -> Result<Self, InterveneError> {
        let parse = || {
            if text == "input" {
                return Some(Sender::Input);
            }
            if let Some(layer) = text.strip_prefix('m') {
                return Some(Sender::Mlp { layer: number(layer)? });
            }
            let (layer, head) = text.strip_prefix('a')?.split_once(".h")?;
            Some(Sender::Head { layer: number(layer)?, head: number(head)? })
        };
        parse().ok_or_else(|| InterveneError::Edge {
            text: text.to_owned(),
            message: "senders are input, a<layer>.h<head> and m<layer>".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(n_groups: usize, parallel: bool) -> PathGraph {
        PathGraph { n_layers: 12, n_heads: 12, n_groups, d_model: 768, parallel }
    }

    #[test]
    fn gpt2_small_has_the_packages_number_of_edges() {
        // 32,491 edges: the size of the package's file for this shape.
        assert_eq!(graph(12, false).edge_count(), 32_491);
        assert_eq!(graph(12, false).edges().count(), 32_491);
        assert_eq!(graph(12, false).senders(), 157);
        // Without the 12 · 12 edges from heads to their own block's MLP.
        assert_eq!(graph(12, true).edge_count(), 32_491 - 144);
    }

    #[test]
    fn names_and_indices_lead_back() {
        for graph in [graph(12, false), graph(4, false), graph(12, true)] {
            for index in 0..graph.senders() {
                let sender = graph.sender(index);
                assert_eq!(graph.sender_index(sender), index);
                assert_eq!(sender.to_string().parse::<Sender>().expect("its name"), sender);
            }
            for index in 0..graph.receivers() {
                assert_eq!(graph.receiver_index(graph.receiver(index)), index);
            }
            for edge in graph.edges().step_by(7) {
                assert_eq!(graph.edge(&graph.name(edge)).expect("its name"), edge);
            }
        }
        assert!(graph(4, false).edges().any(|edge| graph(4, false).name(edge) == "m0->a1.g3<k>"));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let graph = graph(12, false);
        for text in ["m3->a2.h0<q>", "a2.h1->a2.h0<v>", "a12.h0->logits", "m0->a1.h12<q>", "input", "a+1.h0->m4"] {
            let error = graph.edge(text).expect_err(text).to_string();
            assert!(error.contains("edge") || error.contains("sender"), "{error}");
        }
        assert!(graph.edge("a2.h1->m2").is_ok());
    }
}
