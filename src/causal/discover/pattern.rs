//! Graphs whose edges may have open ends: CPDAGs (`–`, `→`) and PAGs (`∘–∘`, `∘→`, `→`, `↔`).

use serde::Serialize;

use super::Background;
use crate::causal::graph::Graph;
use crate::causal::node::{Role, Visibility};

/// What stands at one end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// No edge.
    None,
    /// A tail.
    Tail,
    /// An arrowhead.
    Arrow,
    /// Not known.
    Circle,
}

/// Marks at both ends of every pair of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    names: Vec<String>,
    /// The mark at the second of a pair, on the edge from the first.
    marks: Vec<Mark>,
}

/// How far one pattern is from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Distance {
    /// Adjacent in truth, not here.
    pub missing: usize,
    /// Adjacent here, not in truth.
    pub extra: usize,
    /// Adjacent in both, with other marks.
    pub orientation: usize,
}

impl Distance {
    /// The structural Hamming distance: each pair that differs counts once.
    pub fn shd(self) -> usize {
        self.missing + self.extra + self.orientation
    }
}

impl Pattern {
    /// No edges.
    pub fn empty(names: Vec<String>) -> Self {
        let marks = vec![Mark::None; names.len() * names.len()];
        Self { names, marks }
    }

    /// All pairs joined, with one mark at every end.
    pub fn complete(names: Vec<String>, mark: Mark) -> Self {
        let mut pattern = Self::empty(names);
        for a in 0..pattern.len() {
            for b in 0..a {
                pattern.join(a, b, mark, mark);
            }
        }
        pattern
    }

    /// The CPDAG of a DAG: what all DAGs with the same independences have in common.
    pub fn of_dag(graph: &Graph) -> Self {
        let mut pattern = Self::empty(graph.nodes().iter().map(|node| node.name.clone()).collect());
        for (from, to) in graph.edges() {
            pattern.join(from, to, Mark::Tail, Mark::Tail);
        }
        for node in 0..graph.len() {
            for a in graph.parents(node).iter() {
                for b in graph.parents(node).iter().filter(|&b| b != a) {
                    if !pattern.adjacent(a, b) {
                        pattern.set(a, node, Mark::Arrow);
                    }
                }
            }
        }
        pattern.meek(&Background::default());
        pattern
    }

    /// The number of variables.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no variables.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The variables' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The mark at `b` on the edge between `a` and `b`.
    pub fn mark(&self, a: usize, b: usize) -> Mark {
        self.marks.get(a * self.len() + b).copied().unwrap_or(Mark::None)
    }

    /// Puts a mark at `b` on the edge between `a` and `b`.
    pub fn set(&mut self, a: usize, b: usize, mark: Mark) {
        let at = a * self.len() + b;
        self.marks.iter_mut().skip(at).take(1).for_each(|slot| *slot = mark);
    }

    /// An edge with a mark at each end.
    pub fn join(&mut self, a: usize, b: usize, at_a: Mark, at_b: Mark) {
        self.set(b, a, at_a);
        self.set(a, b, at_b);
    }

    /// Takes an edge out.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.join(a, b, Mark::None, Mark::None);
    }

    /// Whether there is an edge.
    pub fn adjacent(&self, a: usize, b: usize) -> bool {
        self.mark(a, b) != Mark::None
    }

    /// `a → b`.
    pub fn directed(&self, a: usize, b: usize) -> bool {
        self.mark(a, b) == Mark::Arrow && self.mark(b, a) == Mark::Tail
    }

    /// `a – b`.
    pub fn undirected(&self, a: usize, b: usize) -> bool {
        self.mark(a, b) == Mark::Tail && self.mark(b, a) == Mark::Tail
    }

    /// The variables joined to one.
    pub fn neighbours(&self, a: usize) -> Vec<usize> {
        (0..self.len()).filter(|&b| self.adjacent(a, b)).collect()
    }

    /// All edges, the smaller index first.
    pub fn edges(&self) -> Vec<(usize, usize)> {
        let pairs = (0..self.len()).flat_map(|a| (a + 1..self.len()).map(move |b| (a, b)));
        pairs.filter(|&(a, b)| self.adjacent(a, b)).collect()
    }

    /// `a → b`, `a – b`, `a ∘→ b`, …
    pub fn edge_text(&self, a: usize, b: usize) -> String {
        let name = |node: usize| self.names.get(node).map_or("", String::as_str);
        let left = match self.mark(b, a) {
            Mark::Arrow => "<",
            Mark::Circle => "∘",
            _ => "",
        };
        let right = match self.mark(a, b) {
            Mark::Arrow => ">",
            Mark::Circle => "∘",
            _ => "",
        };
        match (left, right) {
            ("", ">") => format!("{} → {}", name(a), name(b)),
            ("<", "") => format!("{} → {}", name(b), name(a)),
            ("<", ">") => format!("{} ↔ {}", name(a), name(b)),
            ("", "") => format!("{} – {}", name(a), name(b)),
            ("∘", "∘") => format!("{} ∘–∘ {}", name(a), name(b)),
            ("∘", ">") => format!("{} ∘→ {}", name(a), name(b)),
            ("<", "∘") => format!("{} ∘→ {}", name(b), name(a)),
            ("∘", _) => format!("{} ∘– {}", name(a), name(b)),
            _ => format!("{} ∘– {}", name(b), name(a)),
        }
    }

    /// How far it is from the truth; variables must be in the same order.
    pub fn distance(&self, truth: &Self) -> Distance {
        let mut distance = Distance::default();
        for a in 0..self.len() {
            for b in a + 1..self.len() {
                match (truth.adjacent(a, b), self.adjacent(a, b)) {
                    (true, false) => distance.missing += 1,
                    (false, true) => distance.extra += 1,
                    (true, true) if (self.mark(a, b), self.mark(b, a)) != (truth.mark(a, b), truth.mark(b, a)) => {
                        distance.orientation += 1;
                    }
                    _ => {}
                }
            }
        }
        distance
    }

    /// Directs `a – b` to `a → b`; whether it was undirected.
    fn direct(&mut self, a: usize, b: usize) -> bool {
        let open = self.undirected(a, b);
        if open {
            self.set(a, b, Mark::Arrow);
        }
        open
    }

    /// Meek's four rules (1995) until none applies: directions that follow from those found without a new collider or
    /// a cycle. Directions that the background knowledge forbids are never given.
    pub fn meek(&mut self, background: &Background) {
        let n = self.len();
        let mut changed = true;
        while changed {
            changed = false;
            for a in 0..n {
                for b in 0..n {
                    if a != b
                        && self.undirected(a, b)
                        && !background.forbids(a, b)
                        && (self.no_collider(a, b) || self.no_cycle(a, b) || self.kite(a, b) || self.chord(a, b))
                    {
                        changed |= self.direct(a, b);
                    }
                }
            }
        }
    }

    /// Rule 1: c → a – b with c and b apart.
    fn no_collider(&self, a: usize, b: usize) -> bool {
        (0..self.len()).any(|c| c != b && self.directed(c, a) && !self.adjacent(c, b))
    }

    /// Rule 2: a → c → b.
    fn no_cycle(&self, a: usize, b: usize) -> bool {
        (0..self.len()).any(|c| self.directed(a, c) && self.directed(c, b))
    }

    /// Rule 3: a – c → b and a – d → b with c and d apart.
    fn kite(&self, a: usize, b: usize) -> bool {
        let between = |c: &usize| self.undirected(a, *c) && self.directed(*c, b);
        let found: Vec<usize> = (0..self.len()).filter(between).collect();
        found.iter().any(|&c| found.iter().any(|&d| c != d && !self.adjacent(c, d)))
    }

    /// Rule 4: a – d → c → b with b and d apart and a and c joined.
    fn chord(&self, a: usize, b: usize) -> bool {
        (0..self.len()).any(|c| {
            self.directed(c, b)
                && self.adjacent(a, c)
                && (0..self.len())
                    .any(|d| d != b && self.undirected(a, d) && self.directed(d, c) && !self.adjacent(d, b))
        })
    }

    /// A DAG of the class (Dor and Tarsi 1992); `None` where there is none.
    pub fn extension(&self) -> Option<Graph> {
        let mut work = self.clone();
        let mut graph = Graph::new();
        for name in &self.names {
            graph.add_node(name, Role::Plain, Visibility::Observed).ok()?;
        }
        let mut left: Vec<usize> = (0..self.len()).collect();
        while !left.is_empty() {
            let sink = left.iter().copied().find(|&node| work.is_sink(node, &left))?;
            for other in left.iter().copied().filter(|&other| work.adjacent(other, sink)) {
                graph.add_edge(other, sink).ok()?;
            }
            for other in left.clone() {
                work.cut(other, sink);
            }
            left.retain(|&node| node != sink);
        }
        Some(graph)
    }

    /// No arrow leaves it, and each undirected neighbour is joined to all of its neighbours.
    fn is_sink(&self, node: usize, left: &[usize]) -> bool {
        let around: Vec<usize> = left.iter().copied().filter(|&other| self.adjacent(node, other)).collect();
        let leaves = around.iter().any(|&other| self.directed(node, other));
        let joined = |other: &usize| {
            !self.undirected(node, *other) || around.iter().all(|third| third == other || self.adjacent(*other, *third))
        };
        !leaves && around.iter().all(joined)
    }
}
