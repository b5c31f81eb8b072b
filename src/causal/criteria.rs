//! Graphical criteria with names: the front door, the optimal adjustment set, conditional instruments.

use super::graph::Graph;
use super::node_set::NodeSet;

/// A variable that moves x and, given `given`, nothing else that moves y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instrument {
    /// The instrument.
    pub instrument: usize,
    /// A minimal set to condition on.
    pub given: NodeSet,
}

/// Candidates beyond this number are not searched: the search is exponential in it.
const SEARCHED: usize = 14;

impl Graph {
    /// All minimal front-door sets: observed sets that every directed path from x to y passes, that nothing reaches from x
    /// by a back door, and whose back doors to y are closed by x (Pearl 1995).
    pub fn front_door_sets(&self, x: usize, y: usize) -> Vec<NodeSet> {
        let (one_x, one_y) = (NodeSet::one(x), NodeSet::one(y));
        let between = (self.descendants(one_x) & self.ancestors(one_y) & self.observed()).without(x).without(y);
        if between.len() > SEARCHED || between.is_empty() {
            return Vec::new();
        }
        let holds = |z: NodeSet| {
            let avoiding = self.descendants_within(one_x, self.all() - z);
            let from_x = self.without_outgoing(one_x).separated(one_x, z, NodeSet::EMPTY);
            !avoiding.contains(y) && from_x && self.without_outgoing(z).separated(z, one_y, one_x)
        };
        minimal(between.subsets().filter(|z| !z.is_empty()).filter(|&z| holds(z)).collect())
    }

    /// Pa(nodes on causal paths) \ forbidden nodes: where it is a valid adjustment set and there are no latents, no valid
    /// set gives a smaller asymptotic variance (Henckel, Perković and Maathuis 2022). `None` where it is not valid.
    pub fn optimal_adjustment_set(&self, x: usize, y: usize) -> Option<NodeSet> {
        let (one_x, one_y) = (NodeSet::one(x), NodeSet::one(y));
        let causal = (self.descendants(one_x) & self.ancestors(one_y)).without(x);
        let set = self.parents_of(causal) - self.descendants(causal) - one_x - one_y;
        (!causal.is_empty() && set.is_subset(self.observed()) && self.is_adjustment_set(x, y, set)).then_some(set)
    }

    /// All conditional instruments for x → y with minimal conditions: `given` holds no descendant of y, and separates the
    /// instrument from y but not from x once the arrow x → y is out (Brito and Pearl 2002). They identify a linear
    /// effect of the arrow alone.
    pub fn instruments(&self, x: usize, y: usize) -> Vec<Instrument> {
        let without = self.filter_edges(|from, to| (from, to) != (x, y), |_, _| true);
        let below = without.descendants(NodeSet::one(y));
        let candidates = (self.observed() - below).without(x).without(y);
        if candidates.len() > SEARCHED {
            return Vec::new();
        }
        let mut found = Vec::new();
        for instrument in candidates.iter() {
            let one = NodeSet::one(instrument);
            let works = |z: &NodeSet| {
                without.separated(one, NodeSet::one(y), *z) && !without.separated(one, NodeSet::one(x), *z)
            };
            let sets = minimal(candidates.without(instrument).subsets().filter(works).collect());
            found.extend(sets.into_iter().map(|given| Instrument { instrument, given }));
        }
        found
    }
}

/// The sets that hold no other of them, small ones first.
fn minimal(mut sets: Vec<NodeSet>) -> Vec<NodeSet> {
    sets.sort_by_key(|set| (set.len(), *set));
    let mut kept: Vec<NodeSet> = Vec::new();
    for set in sets {
        if !kept.iter().any(|other| other.is_subset(set)) {
            kept.push(set);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(names: &[&str], directed: &[(&str, &str)], bidirected: &[(&str, &str)]) -> Graph {
        Graph::from_edges(names, directed, bidirected).expect("graph")
    }

    #[test]
    fn front_doors() {
        let g = graph(&["X", "Z", "Y"], &[("X", "Z"), ("Z", "Y")], &[("X", "Y")]);
        assert_eq!(g.front_door_sets(0, 2), [NodeSet::one(1)]);
        let leak = graph(&["X", "Z", "Y"], &[("X", "Z"), ("Z", "Y"), ("X", "Y")], &[("X", "Y")]);
        assert!(leak.front_door_sets(0, 2).is_empty(), "a path goes round the set");
        let confounded = graph(&["X", "Z", "Y"], &[("X", "Z"), ("Z", "Y")], &[("X", "Y"), ("Z", "Y")]);
        assert!(confounded.front_door_sets(0, 2).is_empty(), "a back door of the set is open");
        let two = [("X", "A"), ("X", "B"), ("A", "Y"), ("B", "C"), ("C", "Y")];
        let g = graph(&["X", "A", "B", "C", "Y"], &two, &[("X", "Y")]);
        let names: Vec<String> = g.front_door_sets(0, 4).into_iter().map(|set| g.names(set).join(",")).collect();
        assert_eq!(names, ["A,B", "A,C"]);
    }

    #[test]
    fn the_optimal_set_takes_what_moves_the_outcome() {
        // C moves x alone, O the outcome alone, Z both, P the mediator.
        let edges = [("C", "X"), ("Z", "X"), ("Z", "Y"), ("O", "Y"), ("X", "M"), ("P", "M"), ("M", "Y")];
        let g = graph(&["C", "Z", "O", "P", "X", "M", "Y"], &edges, &[]);
        let set = g.optimal_adjustment_set(4, 6).expect("valid");
        assert_eq!(g.names(set), ["Z", "O", "P"]);
        let confounded = graph(&["X", "Y"], &[("X", "Y")], &[("X", "Y")]);
        assert_eq!(confounded.optimal_adjustment_set(0, 1), None);
    }

    #[test]
    fn conditional_instruments() {
        // reference/causal.md 3.2: u latent, w → z → x → y, w → u → x, u → y: z given w.
        let mut g = graph(
            &["u", "w", "z", "x", "y"],
            &[("w", "z"), ("z", "x"), ("x", "y"), ("w", "u"), ("u", "x"), ("u", "y")],
            &[],
        );
        g = g.with_latent(0);
        let found = g.instruments(3, 4);
        assert_eq!(found, [Instrument { instrument: 2, given: NodeSet::one(1) }]);
        let plain = graph(&["z", "x", "y"], &[("z", "x"), ("x", "y")], &[("x", "y")]);
        assert_eq!(plain.instruments(1, 2), [Instrument { instrument: 0, given: NodeSet::EMPTY }]);
        let invalid = graph(&["z", "x", "y"], &[("z", "x"), ("x", "y"), ("z", "y")], &[("x", "y")]);
        assert!(invalid.instruments(1, 2).is_empty());
    }
}
