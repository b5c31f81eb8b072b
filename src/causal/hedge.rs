//! Hedges: the proof that an effect is not identified, and what would mend it.
//!
//! A hedge for P(y | do(x)) is a pair of C-forests F' ⊂ F with the same roots R, F meeting x and F' not, R among the
//! ancestors of y once the arrows into x are cut (Shpitser and Pearl 2006, theorem 4). Two models that differ only
//! there give the same data and different effects.

use super::cfactor::Stuck;
use super::graph::Graph;
use super::identify::{Query, unchecked};
use super::node_set::NodeSet;
use super::transport::{Source, Transport, transport};

/// A proof of non-identification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hedge {
    /// The graph without latent nodes.
    pub graph: Graph,
    /// What was asked.
    pub query: Query,
    /// The joint effect that the question comes down to: conditions are outcomes or interventions in it.
    pub joint: Query,
    /// The nodes of F.
    pub outer: NodeSet,
    /// The nodes of F'.
    pub inner: NodeSet,
    /// The common roots R.
    pub roots: NodeSet,
}

/// What would make the effect identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Measuring or ruling out what two variables share.
    Unconfound {
        /// One of them.
        a: String,
        /// The other.
        b: String,
    },
    /// An experiment on a variable.
    Experiment(String),
}

impl Hedge {
    pub(super) fn new(graph: &Graph, joint: Query, query: Query, Stuck { outer, inner }: Stuck) -> Self {
        let roots = inner.iter().filter(|&node| graph.children(node).is_disjoint(inner)).collect();
        Self { graph: graph.clone(), query, joint, outer, inner, roots }
    }

    /// Whether it is what it claims to be, from the definition and nothing else.
    pub fn holds(&self) -> bool {
        let Self { graph, joint, outer, inner, roots, .. } = self;
        let connected = |set: NodeSet| graph.districts(set).len() == 1;
        // An edge subgraph with one arrow out of every other node is a forest with these roots.
        let rooted = |set: NodeSet| {
            (set - *roots).iter().all(|node| !graph.children(node).is_disjoint(set)) && roots.is_subset(set)
        };
        let cut = graph.without_incoming(joint.treatments);
        inner.is_subset(*outer)
            && inner != outer
            && !outer.is_disjoint(joint.treatments)
            && inner.is_disjoint(joint.treatments)
            && connected(*outer)
            && connected(*inner)
            && rooted(*outer)
            && rooted(*inner)
            && roots.is_subset(cut.ancestors(joint.outcomes))
    }

    /// The single changes that would identify the effect: a latent cause ruled out (or measured), or an experiment on
    /// one more variable.
    pub fn remedies(&self) -> Vec<Remedy> {
        let Self { graph, query, outer, .. } = self;
        let mut remedies = Vec::new();
        for (a, b) in graph.bidirected().into_iter().filter(|&(a, b)| outer.contains(a) && outer.contains(b)) {
            let ends = NodeSet::one(a).with(b);
            let without = graph.filter_edges(|_, _| true, |c, d| NodeSet::one(c).with(d) != ends);
            if matches!(unchecked(&without, *query), Ok(Ok(_))) {
                remedies.push(Remedy::Unconfound { a: graph.name(a).into(), b: graph.name(b).into() });
            }
        }
        for node in (*outer - query.outcomes - query.given).iter() {
            let observed = Source { domain: 0, experiment: NodeSet::EMPTY, differs: NodeSet::EMPTY };
            let sources = [observed, Source { experiment: NodeSet::one(node), ..observed }];
            if matches!(transport(graph, *query, &sources), Ok(Transport::Transportable { .. })) {
                remedies.push(Remedy::Experiment(graph.name(node).to_owned()));
            }
        }
        remedies
    }

    /// The proof and the ways out, in words.
    pub fn text(&self) -> String {
        let names = |set: NodeSet| self.graph.names(set).join(", ");
        let ways: Vec<String> = self
            .remedies()
            .into_iter()
            .map(|remedy| match remedy {
                Remedy::Unconfound { a, b } => format!("measure or rule out what `{a}` and `{b}` share"),
                Remedy::Experiment(name) => format!("run an experiment on `{name}`"),
            })
            .collect();
        let ways = if ways.is_empty() { "no single change identifies it".to_owned() } else { ways.join("; or ") };
        format!(
            "not identified: {{{}}} hang together through latent causes, and so do {{{}}} inside them, towards the same {{{}}} (a hedge); to identify it: {ways}",
            names(self.outer),
            names(self.inner),
            names(self.roots)
        )
    }
}
