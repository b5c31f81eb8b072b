//! FCI (Spirtes, Meek and Richardson 1995; Zhang 2008): discovery where latent causes may be at work.
//!
//! Skeleton by PC, colliders, then once more with separating sets among possible d-separators, then the rules R1–R4 and R8–R10.
//! Selection is assumed away, so that R5–R7 have no place. The result is a PAG: an arrowhead at b on an edge from a says
//! that b is no cause of a, a tail that it is, a circle that the independences do not tell.

use super::independence::Independence;
use super::pattern::{Mark, Pattern};
use super::pc::{Separators, combinations, skeleton, unshielded};
use super::{Background, DiscoverError};

/// The largest separating set among possible d-separators that is tried.
const LARGEST: usize = 4;

/// The PAG of data by a test at level `alpha`.
pub fn fci(test: &dyn Independence, alpha: f64, background: &Background) -> Result<Pattern, DiscoverError> {
    background.check(test.names())?;
    let (mut pattern, mut separators) = skeleton(test, alpha, background, Mark::Circle);
    colliders(&mut pattern, &separators, background);
    prune(test, alpha, &mut pattern, &mut separators, background);
    for (a, b) in pattern.edges() {
        pattern.join(a, b, Mark::Circle, Mark::Circle);
    }
    colliders(&mut pattern, &separators, background);
    let mut rules = Rules { pattern, separators, changed: true };
    while rules.changed {
        rules.changed = false;
        rules.once();
    }
    Ok(rules.pattern)
}

/// Arrowheads that follow from tiers, and those of unshielded colliders.
fn colliders(pattern: &mut Pattern, separators: &Separators, background: &Background) {
    for a in 0..pattern.len() {
        for b in 0..pattern.len() {
            if pattern.adjacent(a, b) && background.forbids(b, a) {
                pattern.set(a, b, Mark::Arrow);
            }
            if background.required.contains(&(a, b)) && pattern.adjacent(a, b) {
                pattern.join(a, b, Mark::Tail, Mark::Arrow);
            }
        }
    }
    for (a, middle, b) in unshielded(pattern) {
        if separators.get(&(a, b)).is_some_and(|set| !set.contains(&middle)) {
            for end in [a, b] {
                if pattern.mark(end, middle) == Mark::Circle {
                    pattern.set(end, middle, Mark::Arrow);
                }
            }
        }
    }
}

/// Nodes that a path leads to from `start` on which each inner node is a collider or in a triangle.
fn possible_separators(pattern: &Pattern, start: usize) -> Vec<usize> {
    let mut seen: Vec<(usize, usize)> = pattern.neighbours(start).into_iter().map(|next| (start, next)).collect();
    let mut at = 0;
    while let Some(&(before, node)) = seen.get(at) {
        at += 1;
        for next in pattern.neighbours(node).into_iter().filter(|&next| next != before && next != start) {
            let collider = pattern.mark(before, node) == Mark::Arrow && pattern.mark(next, node) == Mark::Arrow;
            if (collider || pattern.adjacent(before, next)) && !seen.contains(&(node, next)) {
                seen.push((node, next));
            }
        }
    }
    let mut found: Vec<usize> = seen.into_iter().map(|(_, node)| node).filter(|&node| node != start).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn prune(
    test: &dyn Independence,
    alpha: f64,
    pattern: &mut Pattern,
    separators: &mut Separators,
    background: &Background,
) {
    let possible: Vec<Vec<usize>> = (0..pattern.len()).map(|node| possible_separators(pattern, node)).collect();
    for (a, b) in pattern.edges() {
        if background.required.contains(&(a, b)) || background.required.contains(&(b, a)) {
            continue;
        }
        let separated = [a, b].into_iter().find_map(|end| {
            let all = possible.get(end).into_iter().flatten().copied();
            let others: Vec<usize> =
                all.filter(|&node| node != a && node != b && background.may_separate(node, a, b)).collect();
            (1..=others.len().min(LARGEST))
                .find_map(|size| combinations(&others, size).find(|set| test.p_value(a, b, set) > alpha))
        });
        if let Some(set) = separated {
            pattern.cut(a, b);
            separators.insert((a, b), set);
        }
    }
}

struct Rules {
    pattern: Pattern,
    separators: Separators,
    changed: bool,
}

impl Rules {
    fn mark(&self, a: usize, b: usize) -> Mark {
        self.pattern.mark(a, b)
    }

    /// Puts a mark at `b` where a circle stands.
    fn put(&mut self, a: usize, b: usize, mark: Mark) {
        if self.mark(a, b) == Mark::Circle {
            self.pattern.set(a, b, mark);
            self.changed = true;
        }
    }

    fn once(&mut self) {
        let n = self.pattern.len();
        for b in 0..n {
            for a in self.pattern.neighbours(b) {
                for c in self.pattern.neighbours(b) {
                    if a != c {
                        self.triples(a, b, c);
                    }
                }
            }
        }
        for a in 0..n {
            for c in self.pattern.neighbours(a) {
                if self.mark(a, c) == Mark::Arrow && self.mark(c, a) == Mark::Circle {
                    self.tails(a, c);
                }
            }
        }
        self.discriminating();
    }

    /// R1–R3, R8 on a – b – c.
    fn triples(&mut self, a: usize, b: usize, c: usize) {
        let apart = !self.pattern.adjacent(a, c);
        // R1: a *→ b ∘–* c, a and c apart: b → c.
        if apart && self.mark(a, b) == Mark::Arrow && self.mark(c, b) == Mark::Circle {
            self.put(c, b, Mark::Tail);
            self.put(b, c, Mark::Arrow);
        }
        // R2: a → b *→ c or a *→ b → c, and a *–∘ c: arrowhead at c.
        if !apart && self.mark(a, c) == Mark::Circle && self.mark(a, b) == Mark::Arrow && self.mark(b, c) == Mark::Arrow
        {
            let tail = self.mark(b, a) == Mark::Tail || self.mark(c, b) == Mark::Tail;
            if tail {
                self.put(a, c, Mark::Arrow);
            }
        }
        // R3: a *→ b ←* c apart, a *–∘ d ∘–* c, d *–∘ b: arrowhead at b.
        if apart && self.mark(a, b) == Mark::Arrow && self.mark(c, b) == Mark::Arrow {
            for d in 0..self.pattern.len() {
                if d != b
                    && self.mark(a, d) == Mark::Circle
                    && self.mark(c, d) == Mark::Circle
                    && self.mark(d, b) == Mark::Circle
                {
                    self.put(d, b, Mark::Arrow);
                }
            }
        }
        // R8: a → b → c and a ∘→ c: a → c.
        if self.pattern.directed(a, b) && self.pattern.directed(b, c) && self.mark(a, c) == Mark::Arrow {
            self.put(c, a, Mark::Tail);
        }
    }

    /// Whether `a – b` could be `a → b`: no arrowhead at a, no tail at b.
    fn may_lead(&self, a: usize, b: usize) -> bool {
        self.pattern.adjacent(a, b) && self.mark(b, a) != Mark::Arrow && self.mark(a, b) != Mark::Tail
    }

    /// Uncovered, possibly directed paths from `a` to `c` whose second node is `first`.
    fn uncovered(&self, a: usize, first: usize, c: usize) -> bool {
        let mut open = vec![vec![a, first]];
        while let Some(path) = open.pop() {
            let [.., before, last] = path.as_slice() else { continue };
            if *last == c {
                return true;
            }
            for next in self.pattern.neighbours(*last) {
                if !path.contains(&next) && self.may_lead(*last, next) && !self.pattern.adjacent(*before, next) {
                    open.push(path.iter().copied().chain([next]).collect());
                }
            }
        }
        false
    }

    /// R9 and R10 on a ∘→ c: a tail at a.
    fn tails(&mut self, a: usize, c: usize) {
        let starts: Vec<usize> =
            self.pattern.neighbours(a).into_iter().filter(|&node| node != c && self.may_lead(a, node)).collect();
        // R9: an uncovered possibly directed path a, b, …, c with b and c apart.
        let long = starts.iter().any(|&b| !self.pattern.adjacent(b, c) && self.uncovered(a, b, c));
        // R10: b → c ← d and uncovered possibly directed paths from a to b and d that part at once, apart from each other.
        let into: Vec<usize> = (0..self.pattern.len()).filter(|&b| b != a && self.pattern.directed(b, c)).collect();
        let reaches = |first: usize, end: usize| first == end || self.uncovered(a, first, end);
        let two = || {
            into.iter().any(|&b| {
                into.iter().filter(|&&d| d != b).any(|&d| {
                    starts.iter().any(|&m| {
                        starts.iter().any(|&w| m != w && !self.pattern.adjacent(m, w) && reaches(m, b) && reaches(w, d))
                    })
                })
            })
        };
        if long || two() {
            self.put(c, a, Mark::Tail);
        }
    }

    /// R4: on a discriminating path (d, …, a, b, c) for b, with b ∘–* c: b → c if b separates d and c, else a ↔ b ↔ c.
    fn discriminating(&mut self) {
        let n = self.pattern.len();
        for b in 0..n {
            for c in self.pattern.neighbours(b) {
                if self.mark(c, b) != Mark::Circle {
                    continue;
                }
                for a in self.pattern.neighbours(b) {
                    // a is a collider on the path and a parent of c.
                    if a != c
                        && self.pattern.directed(a, c)
                        && self.mark(b, a) == Mark::Arrow
                        && let Some(d) = self.far_end(a, b, c)
                    {
                        self.discriminated(d, (a, b, c));
                    }
                }
            }
        }
    }

    /// The end d of a discriminating path (d, …, a, b, c): not joined to c, all between d and b being colliders and parents
    /// of c.
    fn far_end(&self, a: usize, b: usize, c: usize) -> Option<usize> {
        let mut open = vec![vec![b, a]];
        while let Some(path) = open.pop() {
            let last = path.last().copied()?;
            for next in self.pattern.neighbours(last) {
                if path.contains(&next) || next == c || self.mark(next, last) != Mark::Arrow {
                    continue;
                }
                if !self.pattern.adjacent(next, c) {
                    return Some(next);
                }
                if self.pattern.directed(next, c) && self.mark(last, next) == Mark::Arrow {
                    open.push(path.iter().copied().chain([next]).collect());
                }
            }
        }
        None
    }

    fn discriminated(&mut self, d: usize, (a, b, c): (usize, usize, usize)) {
        let separates = self.separators.get(&(d.min(c), d.max(c))).is_some_and(|set| set.contains(&b));
        if separates {
            self.put(c, b, Mark::Tail);
            self.put(b, c, Mark::Arrow);
        } else {
            self.put(c, b, Mark::Arrow);
            self.put(b, c, Mark::Arrow);
            self.put(a, b, Mark::Arrow);
        }
    }
}
