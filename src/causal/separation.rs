//! d-separation, and m-separation where bidirected edges are present.
//!
//! A walk is open given Z when each of its colliders is an ancestor of Z and none of its other inner nodes is in Z
//! (Richardson 2003). One breadth-first pass over (node, how it was entered), linear in the edges.

use super::graph::Graph;
use super::node_set::NodeSet;

impl Graph {
    /// Whether Z separates X from Y. Nodes of X or Y that are also in Z count as separated.
    pub fn separated(&self, x: NodeSet, y: NodeSet, z: NodeSet) -> bool {
        self.connected_to(x, z).is_disjoint(y)
    }

    /// All nodes outside Z that some open walk joins to X given Z; X itself is among them.
    pub fn connected_to(&self, x: NodeSet, z: NodeSet) -> NodeSet {
        let opened = self.ancestors(z);
        // `by_tail`: entered along an edge whose tail is here (or the start); `by_head`: along an arrowhead.
        let (mut by_tail, mut by_head) = (x - z, NodeSet::EMPTY);
        let (mut open_tail, mut open_head) = (by_tail, NodeSet::EMPTY);
        loop {
            let (mut to_tail, mut to_head) = (NodeSet::EMPTY, NodeSet::EMPTY);
            if let Some(node) = open_tail.min() {
                open_tail.remove(node);
                if !z.contains(node) {
                    to_tail = self.parents(node);
                    to_head = self.children(node) | self.siblings(node);
                }
            } else if let Some(node) = open_head.min() {
                open_head.remove(node);
                if !z.contains(node) {
                    to_head = self.children(node);
                }
                if opened.contains(node) {
                    to_tail = self.parents(node);
                    to_head |= self.siblings(node);
                }
            } else {
                break;
            }
            open_tail |= to_tail - by_tail;
            open_head |= to_head - by_head;
            by_tail |= to_tail;
            by_head |= to_head;
        }
        (by_tail | by_head) - z
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asia() -> Graph {
        Graph::from_edges(
            &["asia", "tub", "smoke", "lung", "bronc", "either", "xray", "dysp"],
            &[
                ("asia", "tub"),
                ("smoke", "lung"),
                ("smoke", "bronc"),
                ("tub", "either"),
                ("lung", "either"),
                ("either", "xray"),
                ("bronc", "dysp"),
                ("either", "dysp"),
            ],
            &[],
        )
        .expect("asia")
    }

    /// Separated unordered pairs by the size of the conditioning set.
    fn counts(graph: &Graph) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); graph.len().saturating_sub(1)];
        for a in 0..graph.len() {
            for b in a + 1..graph.len() {
                for z in (graph.all().without(a).without(b)).subsets() {
                    counts[z.len()].1 += 1;
                    counts[z.len()].0 += usize::from(graph.separated(NodeSet::one(a), NodeSet::one(b), z));
                }
            }
        }
        counts
    }

    fn total(graph: &Graph) -> (usize, usize) {
        counts(graph).into_iter().fold((0, 0), |sum, (separated, all)| (sum.0 + separated, sum.1 + all))
    }

    #[test]
    fn separation_counts_of_the_reference_graphs() {
        // Numbers: reference/causal.md 3.2.
        let expected = [(6, 28), (34, 168), (116, 420), (207, 560), (196, 420), (94, 168), (18, 28)];
        assert_eq!(counts(&asia()), expected);
        let mit = Graph::from_edges(
            &["A", "B", "C", "D", "E", "F", "G"],
            &[("A", "C"), ("B", "C"), ("C", "D"), ("C", "E"), ("D", "F"), ("F", "G")],
            &[],
        );
        assert_eq!(total(&mit.expect("mit")), (293, 672));
        let sachs_names: Vec<String> = (1..=11).map(|n| n.to_string()).collect();
        let sachs = Graph::from_edges(
            &sachs_names.iter().map(String::as_str).collect::<Vec<_>>(),
            &[
                ("2", "1"),
                ("4", "2"),
                ("7", "6"),
                ("8", "1"),
                ("8", "2"),
                ("8", "3"),
                ("8", "4"),
                ("8", "5"),
                ("8", "11"),
                ("9", "3"),
                ("9", "4"),
                ("9", "5"),
                ("9", "8"),
                ("9", "11"),
                ("10", "6"),
                ("10", "7"),
                ("11", "4"),
            ],
            &[],
        );
        assert_eq!(total(&sachs.expect("sachs")), (14_528, 28_160));
    }

    #[test]
    fn m_separation_counts_of_the_reference_graphs() {
        // Numbers: reference/causal.md 3.2; graphs: 3.1.
        let of = |names: &[&str], directed: &[(&str, &str)], bidirected: &[(&str, &str)]| {
            total(&Graph::from_edges(names, directed, bidirected).expect("graph"))
        };
        assert_eq!(of(&["X", "Z", "Y"], &[("X", "Z"), ("Z", "Y")], &[("X", "Y")]), (0, 6));
        let napkin = [("Z2", "Z1"), ("Z1", "X"), ("X", "Y")];
        assert_eq!(of(&["Z2", "Z1", "X", "Y"], &napkin, &[("Z2", "X"), ("Z2", "Y")]), (0, 24));
        let chain = [("W", "X"), ("X", "Z"), ("Z", "Y")];
        assert_eq!(of(&["W", "X", "Z", "Y"], &chain, &[("X", "Y")]), (1, 24));
        let fig_2g = [("Z2", "Z1"), ("Z2", "X"), ("Z2", "Z3"), ("X", "Z1"), ("Z1", "Y"), ("Z3", "Y")];
        let latent = [("Z2", "X"), ("Z2", "Y"), ("X", "Z3"), ("X", "Y")];
        assert_eq!(of(&["Z2", "X", "Z1", "Z3", "Y"], &fig_2g, &latent), (1, 80));
        assert_eq!(of(&["Z", "X", "Y"], &[("X", "Y")], &[("X", "Z"), ("Y", "Z")]), (0, 6));
    }

    #[test]
    fn spot_checks_on_asia_and_with_latents() {
        let graph = asia();
        let separated = |x: &str, y: &str, z: &[&str]| {
            let of = |name: &str| graph.ids([name]).expect("node");
            graph.separated(of(x), of(y), graph.ids(z.iter().copied()).expect("nodes"))
        };
        assert!(separated("asia", "smoke", &[]));
        assert!(!separated("asia", "smoke", &["dysp"]));
        assert!(separated("tub", "lung", &[]) && !separated("tub", "lung", &["either"]));
        assert!(!separated("tub", "lung", &["xray"]), "a descendant of the collider opens it");
        assert!(separated("xray", "dysp", &["either"]));
        assert!(separated("lung", "bronc", &["smoke"]) && !separated("lung", "bronc", &["smoke", "dysp"]));
        assert!(separated("asia", "lung", &["tub", "either"]));
        // x ↔ m ↔ b ↔ y: separated given m, connected given m and b.
        let latent = [("x", "m"), ("m", "b"), ("b", "y")];
        let graph = Graph::from_edges(&["x", "m", "b", "y"], &[], &latent).expect("graph");
        let set = |names: &[&str]| graph.ids(names.iter().copied()).expect("nodes");
        assert!(graph.separated(set(&["x"]), set(&["y"]), set(&["m"])));
        assert!(!graph.separated(set(&["x"]), set(&["y"]), set(&["m", "b"])));
    }
}
