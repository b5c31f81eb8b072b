//! Induced subgraphs and their districts (c-components): maximal sets joined by bidirected edges.

use super::graph::Graph;
use super::node_set::NodeSet;

impl Graph {
    /// The districts of the subgraph on `within`, ordered by their smallest node.
    pub fn districts(&self, within: NodeSet) -> Vec<NodeSet> {
        let (mut rest, mut found) = (within, Vec::new());
        while let Some(node) = rest.min() {
            let district = self.district(node, within);
            rest = rest - district;
            found.push(district);
        }
        found
    }

    /// The district of `node` in the subgraph on `within`.
    pub fn district(&self, node: usize, within: NodeSet) -> NodeSet {
        self.spread(NodeSet::one(node), within, |index| self.siblings(index))
    }

    /// `set` and its ancestors along paths that stay in `within`.
    pub fn ancestors_within(&self, set: NodeSet, within: NodeSet) -> NodeSet {
        self.spread(set, within, |index| self.parents(index))
    }

    /// `set` and its descendants along paths that stay in `within`.
    pub fn descendants_within(&self, set: NodeSet, within: NodeSet) -> NodeSet {
        self.spread(set, within, |index| self.children(index))
    }

    /// All parents of the members of a set, members among them where they are parents.
    pub fn parents_of(&self, set: NodeSet) -> NodeSet {
        set.iter().fold(NodeSet::EMPTY, |all, node| all | self.parents(node))
    }

    /// All children of the members of a set.
    pub fn children_of(&self, set: NodeSet) -> NodeSet {
        set.iter().fold(NodeSet::EMPTY, |all, node| all | self.children(node))
    }

    fn spread(&self, set: NodeSet, within: NodeSet, next: impl Fn(usize) -> NodeSet) -> NodeSet {
        let (mut reached, mut open) = (set & within, set & within);
        while let Some(index) = open.min() {
            open.remove(index);
            let new = (next(index) & within) - reached;
            reached |= new;
            open |= new;
        }
        reached
    }

    /// What `node` depends on among the nodes of `before`, itself being last: its district in the subgraph on both,
    /// and the parents of that district (the ordered local Markov property; Richardson 2003).
    pub fn markov_pillow(&self, node: usize, before: NodeSet) -> NodeSet {
        let within = before.with(node);
        let district = self.district(node, within);
        ((district | self.parents_of(district)) & within).without(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn districts_and_pillows_of_the_napkin() {
        let directed = [("Z2", "Z1"), ("Z1", "X"), ("X", "Y")];
        let graph = Graph::from_edges(&["Z2", "Z1", "X", "Y"], &directed, &[("Z2", "X"), ("Z2", "Y")]).expect("napkin");
        let names = |set| graph.names(set).join(",");
        let all: Vec<String> = graph.districts(graph.all()).into_iter().map(names).collect();
        assert_eq!(all, ["Z2,X,Y", "Z1"]);
        let without: Vec<String> = graph.districts(graph.all().without(0)).into_iter().map(names).collect();
        assert_eq!(without, ["Z1", "X", "Y"]);
        assert_eq!(names(graph.markov_pillow(3, NodeSet::first(3))), "Z2,Z1,X");
        assert_eq!(names(graph.markov_pillow(1, NodeSet::first(1))), "Z2");
    }
}
