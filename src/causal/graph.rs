//! Directed graphs with latent nodes and bidirected edges.
//!
//! A latent common cause may be written as a node of its own (`Visibility::Latent`) or as a bidirected edge between
//! the two that it moves; [`Graph::project`] turns the first form into the second. Adjacency is a bit set a node, so
//! ancestors, separation and c-components cost a few machine words a step. At most [`NodeSet::CAPACITY`] nodes.

use super::node::{GraphError, Node, Role, Visibility};
use super::node_set::NodeSet;
use crate::base::suggestion;

/// A directed graph whose nodes may be latent and may be joined by bidirected edges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// The graph without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// An unlabelled observed graph from names and directed and bidirected edges, as papers print them.
    pub fn from_edges(
        names: &[&str],
        directed: &[(&str, &str)],
        bidirected: &[(&str, &str)],
    ) -> Result<Self, GraphError> {
        let mut graph = Self::new();
        for name in names {
            graph.add_node(name, Role::Plain, Visibility::Observed)?;
        }
        for (from, to) in directed {
            graph.add_edge(graph.id(from)?, graph.id(to)?)?;
        }
        for (a, b) in bidirected {
            graph.add_bidirected(graph.id(a)?, graph.id(b)?)?;
        }
        graph.topological_order()?;
        Ok(graph)
    }

    /// Adds a node and returns its index.
    pub fn add_node(&mut self, name: &str, role: Role, visibility: Visibility) -> Result<usize, GraphError> {
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(GraphError::DuplicateNode(name.to_owned()));
        }
        if self.nodes.len() >= NodeSet::CAPACITY {
            return Err(GraphError::TooManyNodes);
        }
        let [parents, children, siblings] = [NodeSet::EMPTY; 3];
        self.nodes.push(Node { name: name.to_owned(), role, visibility, parents, children, siblings });
        Ok(self.nodes.len() - 1)
    }

    /// Adds `from → to`. Cycles are found by [`Graph::topological_order`].
    pub fn add_edge(&mut self, from: usize, to: usize) -> Result<(), GraphError> {
        if from == to {
            return Err(GraphError::SelfLoop(self.name(from).to_owned()));
        }
        if let Some(node) = self.nodes.get_mut(from) {
            node.children.insert(to);
        }
        if let Some(node) = self.nodes.get_mut(to) {
            node.parents.insert(from);
        }
        Ok(())
    }

    /// Adds `a ↔ b`: some latent cause moves both.
    pub fn add_bidirected(&mut self, a: usize, b: usize) -> Result<(), GraphError> {
        if a == b {
            return Err(GraphError::SelfLoop(self.name(a).to_owned()));
        }
        for (node, other) in [(a, b), (b, a)] {
            if let Some(node) = self.nodes.get_mut(node) {
                node.siblings.insert(other);
            }
        }
        Ok(())
    }

    /// The graph with one node declared unobserved.
    pub fn with_latent(mut self, node: usize) -> Self {
        self.set_visibility(node, Visibility::Latent);
        self
    }

    /// Declares whether a node can be observed.
    pub fn set_visibility(&mut self, node: usize, visibility: Visibility) {
        self.nodes.iter_mut().skip(node).take(1).for_each(|node| node.visibility = visibility);
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes in the order of their indexes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node's name; empty for an index that does not exist.
    pub fn name(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |node| node.name.as_str())
    }

    /// The index of the node called `name`.
    pub fn id(&self, name: &str) -> Result<usize, GraphError> {
        self.nodes.iter().position(|node| node.name == name).ok_or_else(|| GraphError::UnknownNode {
            name: name.to_owned(),
            suggestion: suggestion(name, self.nodes.iter().map(|node| node.name.as_str())).map(str::to_owned),
        })
    }

    /// The indexes of several names.
    pub fn ids<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<NodeSet, GraphError> {
        names.into_iter().map(|name| self.id(name)).collect()
    }

    /// The names of a set, in node order.
    pub fn names(&self, set: NodeSet) -> Vec<String> {
        set.iter().map(|node| self.name(node).to_owned()).collect()
    }

    /// All nodes.
    pub fn all(&self) -> NodeSet {
        NodeSet::first(self.nodes.len())
    }

    /// The nodes whose values can be seen.
    pub fn observed(&self) -> NodeSet {
        let seen = |(index, node): (usize, &Node)| (node.visibility == Visibility::Observed).then_some(index);
        self.nodes.iter().enumerate().filter_map(seen).collect()
    }

    /// Nodes with an edge into `node`.
    pub fn parents(&self, node: usize) -> NodeSet {
        self.nodes.get(node).map_or(NodeSet::EMPTY, |node| node.parents)
    }

    /// Nodes with an edge out of `node`.
    pub fn children(&self, node: usize) -> NodeSet {
        self.nodes.get(node).map_or(NodeSet::EMPTY, |node| node.children)
    }

    /// Nodes joined to `node` by a bidirected edge.
    pub fn siblings(&self, node: usize) -> NodeSet {
        self.nodes.get(node).map_or(NodeSet::EMPTY, |node| node.siblings)
    }

    /// All directed edges, by origin and then by end.
    pub fn edges(&self) -> Vec<(usize, usize)> {
        let out = |from: usize| self.children(from).iter().map(move |to| (from, to));
        (0..self.len()).flat_map(out).collect()
    }

    /// All bidirected edges, the smaller index first.
    pub fn bidirected(&self) -> Vec<(usize, usize)> {
        let out = |a: usize| self.siblings(a).iter().filter(move |b| a < *b).map(move |b| (a, b));
        (0..self.len()).flat_map(out).collect()
    }

    /// `set` and everything that has a directed path into it.
    pub fn ancestors(&self, set: NodeSet) -> NodeSet {
        self.closure(set, |node| node.parents)
    }

    /// `set` and everything that it has a directed path to.
    pub fn descendants(&self, set: NodeSet) -> NodeSet {
        self.closure(set, |node| node.children)
    }

    fn closure(&self, set: NodeSet, next: impl Fn(&Node) -> NodeSet) -> NodeSet {
        let (mut reached, mut open) = (set, set);
        while let Some(index) = open.min() {
            open.remove(index);
            let new = self.nodes.get(index).map_or(NodeSet::EMPTY, &next) - reached;
            reached |= new;
            open |= new;
        }
        reached
    }

    /// The nodes with parents before children, ties in index order; or the cycle, by name.
    pub fn topological_order(&self) -> Result<Vec<usize>, GraphError> {
        let mut placed = NodeSet::EMPTY;
        let mut order = Vec::with_capacity(self.len());
        while order.len() < self.len() {
            let ready = (self.all() - placed).iter().find(|&node| self.parents(node).is_subset(placed));
            let Some(node) = ready else { return Err(GraphError::Cycle(self.cycle_in(self.all() - placed))) };
            placed.insert(node);
            order.push(node);
        }
        Ok(order)
    }

    /// Walks backwards among nodes that all have a parent among themselves until one comes twice.
    fn cycle_in(&self, stuck: NodeSet) -> String {
        let mut walk: Vec<usize> = stuck.min().into_iter().collect();
        while let Some(parent) = walk.last().and_then(|&node| (self.parents(node) & stuck).min()) {
            if let Some(start) = walk.iter().position(|&node| node == parent) {
                let mut names: Vec<&str> = walk.iter().skip(start).map(|&node| self.name(node)).collect();
                names.push(self.name(parent));
                names.reverse();
                return names.join(" → ");
            }
            walk.push(parent);
        }
        String::new()
    }

    /// All directed paths from `from` to `to`, each with both ends, in lexicographic order.
    pub fn directed_paths(&self, from: usize, to: usize) -> Vec<Vec<usize>> {
        let useful = self.ancestors(NodeSet::one(to));
        let (mut found, mut open) = (Vec::new(), vec![vec![from]]);
        while let Some(path) = open.pop() {
            let last = path.last().copied().unwrap_or(from);
            if last == to {
                found.push(path);
                continue;
            }
            for child in (self.children(last) & useful).iter() {
                if !path.contains(&child) {
                    open.push(path.iter().copied().chain([child]).collect());
                }
            }
        }
        found.sort();
        found
    }

    /// `a → b → c`.
    pub fn path_text(&self, path: &[usize]) -> String {
        path.iter().map(|&node| self.name(node)).collect::<Vec<_>>().join(" → ")
    }

    /// The graph with every edge into `set` taken out: the world of `do(set)`.
    pub fn without_incoming(&self, set: NodeSet) -> Self {
        self.filter_edges(|_, to| !set.contains(to), |a, b| !set.contains(a) && !set.contains(b))
    }

    /// The graph with every directed edge out of `set` taken out.
    pub fn without_outgoing(&self, set: NodeSet) -> Self {
        self.filter_edges(|from, _| !set.contains(from), |_, _| true)
    }

    /// The graph with only those directed and bidirected edges that the two conditions keep.
    pub fn filter_edges(
        &self,
        directed: impl Fn(usize, usize) -> bool,
        bidirected: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let mut graph = self.clone();
        for (index, node) in graph.nodes.iter_mut().enumerate() {
            node.parents = node.parents.iter().filter(|&from| directed(from, index)).collect();
            node.children = node.children.iter().filter(|&to| directed(index, to)).collect();
            node.siblings = node.siblings.iter().filter(|&other| bidirected(index, other)).collect();
        }
        graph
    }

    /// The latent projection: only observed nodes, `a → b` where a directed path leads over latents alone, `a ↔ b`
    /// where some latent reaches both over latents alone. Node order is kept. (Verma and Pearl 1990.)
    pub fn project(&self) -> Self {
        let observed: Vec<usize> = self.observed().iter().collect();
        let latents = self.all() - self.observed();
        // For each node: the observed nodes that it reaches along directed paths whose inner nodes are latent.
        let reach = |start: usize| {
            let (mut open, mut seen, mut ends) = (self.children(start), NodeSet::EMPTY, NodeSet::EMPTY);
            while let Some(node) = open.min() {
                open.remove(node);
                seen.insert(node);
                match latents.contains(node) {
                    true => open |= self.children(node) - seen,
                    false => ends |= NodeSet::one(node),
                }
            }
            ends
        };
        let place = |node: usize| observed.iter().position(|&other| other == node).unwrap_or(0);
        let mut graph = Self::new();
        for node in observed.iter().filter_map(|&index| self.nodes.get(index)) {
            let [parents, children, siblings] = [NodeSet::EMPTY; 3];
            graph.nodes.push(Node { parents, children, siblings, ..node.clone() });
        }
        for &from in &observed {
            for to in reach(from).iter().filter(|&to| to != from) {
                let _ = graph.add_edge(place(from), place(to));
            }
        }
        // A bidirected edge is one more latent; its ends may themselves be latent.
        let over = |node: usize| if latents.contains(node) { reach(node) } else { NodeSet::one(node) };
        let pairs = latents.iter().map(|latent| (reach(latent), reach(latent)));
        let joined = self.bidirected().into_iter().map(|(a, b)| (over(a), over(b)));
        for (left, right) in pairs.chain(joined).collect::<Vec<_>>() {
            for a in left.iter() {
                for b in right.iter().filter(|&b| b != a) {
                    let _ = graph.add_bidirected(place(a), place(b));
                }
            }
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_named_in_edge_direction() {
        let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")];
        let error = Graph::from_edges(&["a", "b", "c", "d"], &edges, &[]).expect_err("cyclic").to_string();
        assert!(error.contains("a → b → c → a"), "{error}");
    }

    #[test]
    fn bad_names_and_edges_are_refused() {
        let mut graph = Graph::from_edges(&["gender", "name"], &[("gender", "name")], &[]).expect("graph");
        assert!(graph.id("gendr").expect_err("typo").to_string().contains("did you mean `gender`?"));
        assert_eq!(graph.add_edge(0, 0), Err(GraphError::SelfLoop("gender".into())));
        let again = graph.add_node("name", Role::Plain, Visibility::Observed);
        assert_eq!(again, Err(GraphError::DuplicateNode("name".into())));
    }

    #[test]
    fn paths_and_relatives() {
        let edges = [("a", "b"), ("b", "d"), ("a", "c"), ("c", "d"), ("d", "e")];
        let graph = Graph::from_edges(&["a", "b", "c", "d", "e"], &edges, &[]).expect("graph");
        let paths: Vec<String> = graph.directed_paths(0, 3).iter().map(|path| graph.path_text(path)).collect();
        assert_eq!(paths, ["a → b → d", "a → c → d"]);
        assert_eq!(graph.names(graph.ancestors(NodeSet::one(3))), ["a", "b", "c", "d"]);
        assert_eq!(graph.names(graph.descendants(NodeSet::one(2))), ["c", "d", "e"]);
        assert!(graph.without_incoming(NodeSet::one(3)).parents(3).is_empty());
    }

    #[test]
    fn projection_turns_latents_into_bidirected_edges() {
        // u → v → a, u → b, v → c: all three share a latent ancestor; and a → l → c is a directed path over a latent.
        let mut graph = Graph::new();
        for (name, visibility) in [
            ("u", Visibility::Latent),
            ("v", Visibility::Latent),
            ("a", Visibility::Observed),
            ("b", Visibility::Observed),
            ("c", Visibility::Observed),
            ("l", Visibility::Latent),
        ] {
            graph.add_node(name, Role::Plain, visibility).expect("node");
        }
        for (from, to) in [(0, 1), (1, 2), (0, 3), (1, 4), (2, 5), (5, 4)] {
            graph.add_edge(from, to).expect("edge");
        }
        let projected = graph.project();
        assert_eq!(projected.names(projected.all()), ["a", "b", "c"]);
        assert_eq!(projected.edges(), [(0, 2)]);
        assert_eq!(projected.bidirected(), [(0, 1), (0, 2), (1, 2)]);
    }
}
