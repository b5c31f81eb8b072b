//! C-factors and the identification of one from another (Tian and Pearl 2002; Huang and Valtorta 2006).
//!
//! Q\[C\] = P(c | do(v \ c)). In a graph on V each district S has Q\[S\] = Π P(v_i | v before i); an ancestral subset of a
//! known c-factor follows by summation, a district of that by telescoping. [`narrow`] repeats the two until it has the
//! wanted set or finds that a district is its own ancestral closure: then it and the wanted set are a hedge's forests.

use super::estimand::{Estimand, Regime};
use super::graph::Graph;
use super::node_set::NodeSet;

/// A known c-factor: its nodes in topological order, and the expression.
#[derive(Debug, Clone)]
pub struct CFactor {
    /// The nodes.
    pub nodes: NodeSet,
    /// Q of the nodes.
    pub body: Estimand,
}

/// The two node sets at which identification stops: the outer is a district of itself and of ancestors of the inner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// The known c-factor that cannot be narrowed.
    pub outer: NodeSet,
    /// The wanted one inside.
    pub inner: NodeSet,
}

/// Q of the district of the subgraph on `within` that holds `wanted`, from the distribution of a regime over `within`.
pub fn district_factor(graph: &Graph, order: &[usize], within: NodeSet, wanted: NodeSet, regime: Regime) -> CFactor {
    let district = wanted.min().map_or(NodeSet::EMPTY, |node| graph.district(node, within));
    let mut before = NodeSet::EMPTY;
    let mut factors = Vec::new();
    for &node in order.iter().filter(|&&node| within.contains(node)) {
        if district.contains(node) {
            let given = graph.markov_pillow(node, before);
            factors.push(Estimand::probability(NodeSet::one(node), given, regime));
        }
        before.insert(node);
    }
    CFactor { nodes: district, body: Estimand::product(factors) }
}

/// Q\[wanted\] from a known Q that contains it, `wanted` being a district of itself.
pub fn narrow(graph: &Graph, order: &[usize], wanted: NodeSet, known: CFactor) -> Result<Estimand, Stuck> {
    let closure = graph.ancestors_within(wanted, known.nodes);
    if closure == wanted {
        return Ok(Estimand::sum(known.nodes - wanted, known.body));
    }
    if closure == known.nodes {
        return Err(Stuck { outer: known.nodes, inner: wanted });
    }
    let body = Estimand::sum(known.nodes - closure, known.body);
    let district = wanted.min().map_or(NodeSet::EMPTY, |node| graph.district(node, closure));
    let body = telescope(order, closure, district, &body);
    narrow(graph, order, wanted, CFactor { nodes: district, body })
}

/// Q\[district\] = Π over its nodes of Q\[nodes up to i\] / Q\[nodes before i\].
fn telescope(order: &[usize], nodes: NodeSet, district: NodeSet, body: &Estimand) -> Estimand {
    let mut later = nodes;
    let mut factors = Vec::new();
    for &node in order.iter().filter(|&&node| nodes.contains(node)) {
        let with_node = later.without(node);
        if district.contains(node) {
            let top = Estimand::sum(with_node, body.clone());
            let bottom = Estimand::sum(later, body.clone());
            factors.push(Estimand::quotient(top, bottom));
        }
        later = with_node;
    }
    Estimand::product(factors)
}
