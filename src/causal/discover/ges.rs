//! Greedy equivalence search (Chickering 2002): from no edge, the best single insertion into the class until none gains, then
//! the best deletion until none gains. With enough data it ends in the class of the truth.

use std::cell::RefCell;
use std::collections::HashMap;

use super::pattern::{Mark, Pattern};
use super::score::Score;
use super::{Background, DiscoverError};

/// One change of the class.
struct Move {
    gain: f64,
    from: usize,
    to: usize,
    /// T of an insertion, H of a deletion.
    set: Vec<usize>,
}

struct Search<'a> {
    score: &'a dyn Score,
    background: &'a Background,
    known: RefCell<HashMap<(usize, Vec<usize>), f64>>,
}

/// Neighbours beyond this many are not tried in all combinations.
const WIDE: usize = 10;

/// The CPDAG with the best score that greedy moves reach.
pub fn ges(score: &dyn Score, background: &Background) -> Result<Pattern, DiscoverError> {
    background.check(score.names())?;
    let search = Search { score, background, known: RefCell::default() };
    let mut pattern = Pattern::empty(score.names().to_vec());
    while let Some(found) = search.best(&pattern, &Search::insertions) {
        let Some(next) = insert(&pattern, &found).and_then(|changed| search.completed(&changed)) else { break };
        pattern = next;
    }
    while let Some(found) = search.best(&pattern, &Search::deletions) {
        let Some(next) = search.completed(&delete(&pattern, &found)) else { break };
        pattern = next;
    }
    for a in 0..pattern.len() {
        for b in 0..pattern.len() {
            if pattern.undirected(a, b) && background.forbids(b, a) {
                pattern.set(a, b, Mark::Arrow);
            }
        }
    }
    pattern.meek(background);
    Ok(pattern)
}

fn insert(pattern: &Pattern, Move { from, to, set, .. }: &Move) -> Option<Pattern> {
    let mut changed = pattern.clone();
    changed.join(*from, *to, Mark::Tail, Mark::Arrow);
    set.iter().for_each(|&other| changed.set(other, *to, Mark::Arrow));
    Some(changed)
}

fn delete(pattern: &Pattern, Move { from, to, set, .. }: &Move) -> Pattern {
    let mut changed = pattern.clone();
    changed.cut(*from, *to);
    for &other in set {
        changed.set(*to, other, Mark::Arrow);
        if changed.undirected(*from, other) {
            changed.set(*from, other, Mark::Arrow);
        }
    }
    changed
}

impl Search<'_> {
    fn local(&self, node: usize, mut parents: Vec<usize>) -> f64 {
        parents.sort_unstable();
        parents.dedup();
        let key = (node, parents);
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let value = self.score.local(node, &key.1);
        self.known.borrow_mut().insert(key, value);
        value
    }

    /// The CPDAG of the class that a changed pattern stands for.
    fn completed(&self, changed: &Pattern) -> Option<Pattern> {
        Some(Pattern::of_dag(&changed.extension()?))
    }

    fn best(&self, pattern: &Pattern, moves: &dyn Fn(&Self, &Pattern, usize, usize) -> Vec<Move>) -> Option<Move> {
        let n = pattern.len();
        let pairs = (0..n).flat_map(|from| (0..n).map(move |to| (from, to))).filter(|(from, to)| from != to);
        let all = pairs.flat_map(|(from, to)| moves(self, pattern, from, to));
        all.filter(|found| found.gain > 1e-9).max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    fn insertions(&self, pattern: &Pattern, from: usize, to: usize) -> Vec<Move> {
        if pattern.adjacent(from, to) || self.background.forbids(from, to) {
            return Vec::new();
        }
        let free: Vec<usize> =
            around(pattern, to).into_iter().filter(|&node| !pattern.adjacent(node, from)).take(WIDE).collect();
        let shared = shared(pattern, from, to);
        let mut found = Vec::new();
        for set in subsets(&free) {
            let mut both = shared.clone();
            both.extend(&set);
            if !clique(pattern, &both) || semi_directed(pattern, to, from, &both) {
                continue;
            }
            both.extend(parents(pattern, to));
            let without = self.local(to, both.clone());
            both.push(from);
            found.push(Move { gain: self.local(to, both) - without, from, to, set });
        }
        found
    }

    fn deletions(&self, pattern: &Pattern, from: usize, to: usize) -> Vec<Move> {
        if !pattern.undirected(from, to) && !pattern.directed(from, to) {
            return Vec::new();
        }
        if self.background.required.contains(&(from, to)) || self.background.required.contains(&(to, from)) {
            return Vec::new();
        }
        let shared = shared(pattern, from, to);
        let mut found = Vec::new();
        for set in subsets(&shared.iter().copied().take(WIDE).collect::<Vec<_>>()) {
            let mut rest: Vec<usize> = shared.iter().copied().filter(|node| !set.contains(node)).collect();
            if !clique(pattern, &rest) {
                continue;
            }
            rest.extend(parents(pattern, to).into_iter().filter(|&parent| parent != from));
            let without = self.local(to, rest.clone());
            rest.push(from);
            found.push(Move { gain: without - self.local(to, rest), from, to, set });
        }
        found
    }
}

/// Undirected neighbours.
fn around(pattern: &Pattern, node: usize) -> Vec<usize> {
    (0..pattern.len()).filter(|&other| pattern.undirected(node, other)).collect()
}

fn parents(pattern: &Pattern, node: usize) -> Vec<usize> {
    (0..pattern.len()).filter(|&other| pattern.directed(other, node)).collect()
}

/// Undirected neighbours of `to` that are joined to `from`.
fn shared(pattern: &Pattern, from: usize, to: usize) -> Vec<usize> {
    around(pattern, to).into_iter().filter(|&node| node != from && pattern.adjacent(node, from)).collect()
}

fn clique(pattern: &Pattern, nodes: &[usize]) -> bool {
    nodes.iter().all(|&a| nodes.iter().all(|&b| a == b || pattern.adjacent(a, b)))
}

/// Whether a path leads from `start` to `end` along `→` and `–` that avoids `blocked`.
fn semi_directed(pattern: &Pattern, start: usize, end: usize, blocked: &[usize]) -> bool {
    let (mut open, mut seen) = (vec![start], vec![start]);
    while let Some(node) = open.pop() {
        for next in 0..pattern.len() {
            let step = pattern.directed(node, next) || pattern.undirected(node, next);
            if step && next == end {
                return true;
            }
            if step && !blocked.contains(&next) && !seen.contains(&next) {
                seen.push(next);
                open.push(next);
            }
        }
    }
    false
}

fn subsets(of: &[usize]) -> Vec<Vec<usize>> {
    let pick =
        |mask: usize| of.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, node)| *node).collect();
    (0..1usize << of.len()).map(pick).collect()
}
