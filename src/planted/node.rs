//! The units that path discovery is judged on: one attention head or one MLP, at all positions.
//!
//! Names are EAP-IG's: `a0.h1` is head 1 of block 0, `m2` the MLP of block 2.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::intervene::{Site, SiteKind};
use crate::model::Architecture;

/// One head or one MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// What a head adds to the stream.
    Head {
        /// The block.
        layer: usize,
        /// The query head.
        head: usize,
    },
    /// What an MLP adds to the stream.
    Mlp {
        /// The block.
        layer: usize,
    },
}

impl Node {
    /// Every node of a model: block by block, heads before the MLP.
    pub fn all(architecture: &Architecture) -> Vec<Node> {
        let block = |layer| {
            let heads = (0..architecture.n_heads).map(move |head| Node::Head { layer, head });
            heads.chain([Node::Mlp { layer }])
        };
        (0..architecture.n_layers).flat_map(block).collect()
    }

    /// Where a plan patches it.
    pub fn site(self) -> Site {
        match self {
            Node::Head { layer, head } => Site::of_head(layer, head),
            Node::Mlp { layer } => Site::everywhere(SiteKind::MlpOut, layer),
        }
    }

    /// Its block.
    pub fn layer(self) -> usize {
        match self {
            Node::Head { layer, .. } | Node::Mlp { layer } => layer,
        }
    }

    /// The name of this node at one token: `a0.h1@5`.
    pub fn at(self, position: usize) -> String {
        format!("{self}@{position}")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Head { layer, head } => write!(f, "a{layer}.h{head}"),
            Node::Mlp { layer } => write!(f, "m{layer}"),
        }
    }
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no node; heads are called like a0.h1, MLPs like m2")]
pub struct UnknownNode(String);

impl FromStr for Node {
    type Err = UnknownNode;

    fn from_str(text: &str) -> Result<Self, UnknownNode> {
        let unknown = || UnknownNode(text.to_owned());
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| unknown());
        let node = match (text.strip_prefix('m'), text.strip_prefix('a').and_then(|rest| rest.split_once(".h"))) {
            (Some(layer), _) => Node::Mlp { layer: number(layer)? },
            (None, Some((layer, head))) => Node::Head { layer: number(layer)?, head: number(head)? },
            (None, None) => return Err(unknown()),
        };
        // One text a node: `m01` and `m+1` are no names.
        if node.to_string() == text { Ok(node) } else { Err(unknown()) }
    }
}

impl Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_refused() {
        for node in [Node::Head { layer: 0, head: 12 }, Node::Mlp { layer: 3 }] {
            assert_eq!(node.to_string().parse(), Ok(node));
            let json = serde_json::to_string(&node).expect("text");
            assert_eq!(serde_json::from_str::<Node>(&json).expect("node"), node);
        }
        for bad in ["", "m", "m01", "m+1", "a1", "a1.h", "a.h1", "input", "a1.h2@3"] {
            assert!(bad.parse::<Node>().is_err(), "{bad}");
        }
    }
}
