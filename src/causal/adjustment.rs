//! Adjustment sets: which covariates make an observational contrast causal.
//!
//! The generalised criterion (Shpitser, VanderWeele, Robins 2010; Perković et al. 2018): Z holds no descendant of a
//! node that lies on a directed path from X to Y (X itself apart), and Z separates X from Y once the first edges of
//! those paths are taken out. It is sound and complete for adjustment in graphs with latent nodes; every valid
//! back-door set passes it. The estimand is Σ_z P(y | x, z) P(z).

use super::graph::Graph;
use super::node::Visibility;
use super::node_set::NodeSet;

/// The answer to "can adjustment identify the total effect of x on y?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjustment {
    /// All minimal valid sets of observed nodes, small ones first. The empty set alone means: no adjustment needed.
    Sets(Vec<NodeSet>),
    /// There is no directed path from x to y, so the effect is zero whatever the data say.
    NoEffect,
    /// No set of observed nodes closes every back door; one that stays open, as `x ← u → y`.
    Refused {
        /// A path that no admissible set closes.
        open_path: String,
    },
}

impl Graph {
    /// Whether `z` is a valid adjustment set for the total effect of `x` on `y`.
    pub fn is_adjustment_set(&self, x: usize, y: usize, z: NodeSet) -> bool {
        z.is_disjoint(self.forbidden(x, y)) && self.proper_back_door(x, y).separated(one(x), one(y), z)
    }

    /// All minimal adjustment sets, or why there is none. Exponential in the number of sets, which is small in
    /// declared graphs.
    pub fn adjustment(&self, x: usize, y: usize) -> Adjustment {
        self.adjustment_with(x, y, NodeSet::EMPTY)
    }

    /// The same where `forced` is adjusted for in any case: all sets that hold it and lose their validity with any other
    /// of their nodes. A forced node that must not be adjusted for is refused.
    pub fn adjustment_with(&self, x: usize, y: usize, forced: NodeSet) -> Adjustment {
        if !self.descendants(one(x)).contains(y) {
            return Adjustment::NoEffect;
        }
        let graph = self.proper_back_door(x, y);
        let forbidden = self.forbidden(x, y);
        let allowed = (graph.ancestors(one(x) | one(y) | forced) & self.observed()) - forbidden;
        let mut sets = Vec::new();
        if forced.is_disjoint(forbidden) {
            graph.minimal_separators((x, y), forced, forced, allowed | forced, &mut sets);
        }
        if sets.is_empty() {
            return Adjustment::Refused { open_path: graph.open_path(x, y, allowed) };
        }
        sets.sort_by_key(|set| (set.len(), *set));
        Adjustment::Sets(sets)
    }

    /// Whether `z` identifies the total effect where only units with given values of `selected` are in the data:
    /// selection counts as one more condition, so it may neither open a path nor respond to x on the way to y.
    pub fn is_adjustment_set_under_selection(&self, x: usize, y: usize, z: NodeSet, selected: NodeSet) -> bool {
        self.is_adjustment_set(x, y, z | selected)
    }

    /// Whether `z` identifies the causal odds ratio of x and y under selection: odds ratios survive selection on the
    /// outcome (case-control sampling), so that beyond a valid `z` only x ⊥ selected | y, z is needed.
    pub fn is_odds_ratio_set_under_selection(&self, x: usize, y: usize, z: NodeSet, selected: NodeSet) -> bool {
        self.is_adjustment_set(x, y, z) && self.separated(one(x), selected, z.with(y))
    }

    /// Nodes that no adjustment set may hold: x, y, latents, and descendants of what lies between x and y.
    fn forbidden(&self, x: usize, y: usize) -> NodeSet {
        self.descendants(self.between(x, y)) | one(x) | one(y) | (self.all() - self.observed())
    }

    /// The nodes on directed paths from x to y, without x.
    fn between(&self, x: usize, y: usize) -> NodeSet {
        (self.descendants(one(x)) & self.ancestors(one(y))).without(x)
    }

    fn proper_back_door(&self, x: usize, y: usize) -> Graph {
        let between = self.between(x, y);
        self.filter_edges(|from, to| from != x || !between.contains(to), |_, _| true)
    }

    /// Collects the minimal separators Z of x and y with `needed` ⊆ Z ⊆ `allowed`. `allowed` holds ancestors of x, y or
    /// `forced` only, where separation is vertex separation in one moral graph: larger sets separate when smaller ones do.
    fn minimal_separators(
        &self,
        (x, y): (usize, usize),
        forced: NodeSet,
        needed: NodeSet,
        allowed: NodeSet,
        found: &mut Vec<NodeSet>,
    ) {
        let separates = |z: NodeSet| self.separated(one(x), one(y), z);
        if !separates(allowed) {
            return;
        }
        if separates(needed) {
            if (needed - forced).iter().all(|node| !separates(needed.without(node))) {
                found.push(needed);
            }
            return;
        }
        if let Some(node) = (allowed - needed).min() {
            self.minimal_separators((x, y), forced, needed, allowed.without(node), found);
            self.minimal_separators((x, y), forced, needed.with(node), allowed, found);
        }
    }

    /// Some path between x and y that is open given z, drawn with its arrows; empty if there is none.
    pub fn open_path(&self, x: usize, y: usize, z: NodeSet) -> String {
        let opened = self.ancestors(z);
        let mut open = vec![(vec![x], String::from(self.name(x)), false)];
        while let Some((path, text, by_head)) = open.pop() {
            let last = path.last().copied().unwrap_or(x);
            if last == y {
                return text;
            }
            let steps = [
                (self.parents(last), " ← ", true, false),
                (self.children(last), " → ", false, true),
                (self.siblings(last), " ↔ ", true, true),
            ];
            for (next, arrow, head_here, head_there) in steps {
                let collider = by_head && head_here;
                let passes = last == x || if collider { opened.contains(last) } else { !z.contains(last) };
                for node in next.iter().filter(|node| passes && !path.contains(node)) {
                    let path = path.iter().copied().chain([node]).collect();
                    open.push((path, format!("{text}{arrow}{}", self.label_of(node)), head_there));
                }
            }
        }
        String::new()
    }

    fn label_of(&self, node: usize) -> String {
        match self.nodes().get(node).map(|node| node.visibility) {
            Some(Visibility::Latent) => format!("{} (latent)", self.name(node)),
            _ => self.name(node).to_owned(),
        }
    }
}

fn one(node: usize) -> NodeSet {
    NodeSet::one(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(names: &[&str], directed: &[(&str, &str)], bidirected: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let graph = Graph::from_edges(names, directed, bidirected).expect("graph");
        match graph.adjustment(graph.id("X").expect("X"), graph.id("Y").expect("Y")) {
            Adjustment::Sets(sets) => Ok(sets.into_iter().map(|set| graph.names(set).join(",")).collect()),
            Adjustment::NoEffect => Err("no effect".into()),
            Adjustment::Refused { open_path } => Err(open_path),
        }
    }

    #[test]
    fn textbook_verdicts() {
        // reference/causal.md 3.2, dagitty facts.
        let fork = [("Z", "X"), ("Z", "Y"), ("X", "Y")];
        assert_eq!(sets(&["Z", "X", "Y"], &fork, &[]), Ok(vec!["Z".into()]));
        assert_eq!(sets(&["X", "M", "Y"], &[("X", "Y"), ("M", "Y")], &[("X", "M")]), Ok(vec!["M".into()]));
        let m_bias = [("A", "X"), ("A", "Z"), ("B", "Z"), ("B", "Y"), ("X", "Y")];
        assert_eq!(sets(&["A", "B", "Z", "X", "Y"], &m_bias, &[]), Ok(vec!["".into()]));
        assert_eq!(sets(&["X", "Y"], &[("X", "Y")], &[("X", "Y")]), Err("X ↔ Y".into()));
        assert_eq!(sets(&["X", "Y"], &[("Y", "X")], &[]), Err("no effect".into()));
        let front_door = [("X", "Z"), ("Z", "Y")];
        assert_eq!(sets(&["X", "Z", "Y"], &front_door, &[("X", "Y")]), Err("X ↔ Y".into()));
    }

    #[test]
    fn all_minimal_sets_of_a_chain_of_back_doors() {
        let directed = [("A", "X"), ("A", "B"), ("B", "Y"), ("X", "M"), ("M", "Y"), ("C", "X"), ("C", "Y")];
        let found = sets(&["A", "B", "C", "X", "M", "Y"], &directed, &[]).expect("identified");
        assert_eq!(found, ["A,C", "B,C"]);
    }

    #[test]
    fn forcing_the_collider_needs_one_of_its_parents() {
        let directed = [("A", "X"), ("A", "Z"), ("B", "Z"), ("B", "Y"), ("X", "Y"), ("X", "W"), ("W", "Y")];
        let graph = Graph::from_edges(&["A", "B", "Z", "X", "W", "Y"], &directed, &[]).expect("graph");
        let (x, y) = (graph.id("X").expect("X"), graph.id("Y").expect("Y"));
        let valid = |names: &[&str]| graph.is_adjustment_set(x, y, graph.ids(names.iter().copied()).expect("nodes"));
        assert!(valid(&[]) && valid(&["A", "Z"]) && valid(&["B", "Z"]));
        assert!(!valid(&["Z"]), "conditioning on the collider biases");
        assert!(!valid(&["W"]), "a mediator is no covariate");
    }

    /// Brute force over all subsets agrees with the branching search on every small graph of a family.
    #[test]
    fn minimal_sets_equal_brute_force() {
        let names = ["X", "Y", "A", "B", "C"];
        let pairs = [("A", "X"), ("A", "Y"), ("B", "X"), ("B", "A"), ("C", "Y"), ("B", "C"), ("X", "C")];
        let both = [("A", "C"), ("X", "B")];
        for mask in 0u32..(1 << (pairs.len() + both.len())) {
            let chosen: Vec<_> = (0..pairs.len()).filter(|i| mask >> i & 1 == 1).map(|i| pairs[i]).collect();
            let latent: Vec<_> =
                (0..both.len()).filter(|i| mask >> (i + pairs.len()) & 1 == 1).map(|i| both[i]).collect();
            let directed: Vec<_> = chosen.into_iter().chain([("X", "Y")]).collect();
            let graph = Graph::from_edges(&names, &directed, &latent).expect("acyclic");
            let valid: Vec<NodeSet> =
                (graph.all().without(0).without(1)).subsets().filter(|&z| graph.is_adjustment_set(0, 1, z)).collect();
            let minimal = |z: &NodeSet| !valid.iter().any(|w| w != z && w.is_subset(*z));
            let mut expected: Vec<NodeSet> = valid.iter().copied().filter(minimal).collect();
            expected.sort_by_key(|set| (set.len(), *set));
            match graph.adjustment(0, 1) {
                Adjustment::Sets(found) => assert_eq!(found, expected, "{directed:?} {latent:?}"),
                other => assert!(expected.is_empty(), "{other:?} but {expected:?} in {directed:?} {latent:?}"),
            }
        }
    }
}
