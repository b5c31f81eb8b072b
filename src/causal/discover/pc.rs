//! PC (Spirtes, Glymour and Scheines 2000), in its stable form (Colombo and Maathuis 2014).
//!
//! Edges are tested level by level against the adjacencies at the level's start, so that the skeleton depends on no
//! order. Unshielded triples become colliders by the separating set, or, conservatively (Ramsey et al. 2006), where the middle
//! is in none of the sets that separate the ends; where it is in some, the triple stays open. Colliders that contradict each
//! other leave `↔`, which in a CPDAG means: the assumptions fail here.

use std::collections::HashMap;

use rayon::prelude::*;

use super::independence::Independence;
use super::pattern::{Mark, Pattern};
use super::{Background, DiscoverError};

/// How colliders are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colliders {
    /// By the set that separated the ends.
    SeparatingSet,
    /// By all sets that do.
    Conservative,
}

/// The separating set of a pair that was found apart, the smaller index first.
pub(super) type Separators = HashMap<(usize, usize), Vec<usize>>;

/// The CPDAG of data under no latent causes, by a test at level `alpha`.
pub fn pc(
    test: &dyn Independence,
    alpha: f64,
    colliders: Colliders,
    background: &Background,
) -> Result<Pattern, DiscoverError> {
    background.check(test.names())?;
    let (mut pattern, separators) = skeleton(test, alpha, background, Mark::Tail);
    for a in 0..pattern.len() {
        for b in 0..pattern.len() {
            if pattern.undirected(a, b) && (background.forbids(b, a) || background.required.contains(&(a, b))) {
                pattern.set(a, b, Mark::Arrow);
            }
        }
    }
    let found = unshielded(&pattern).into_iter().filter(|&(a, middle, b)| match colliders {
        Colliders::SeparatingSet => separators.get(&(a, b)).is_some_and(|set| !set.contains(&middle)),
        Colliders::Conservative => in_none(test, alpha, &pattern, (a, middle, b)),
    });
    for (a, middle, b) in found.collect::<Vec<_>>() {
        for end in [a, b].into_iter().filter(|&end| !background.forbids(end, middle)) {
            pattern.set(end, middle, Mark::Arrow);
        }
    }
    pattern.meek(background);
    Ok(pattern)
}

/// The skeleton with one mark at all ends, and the separating sets.
pub(super) fn skeleton(
    test: &dyn Independence,
    alpha: f64,
    background: &Background,
    mark: Mark,
) -> (Pattern, Separators) {
    let mut pattern = Pattern::complete(test.names().to_vec(), mark);
    let mut separators = Separators::new();
    for (a, b) in pattern.edges() {
        if background.forbids_edge(a, b) {
            pattern.cut(a, b);
        }
    }
    let n = pattern.len();
    for size in 0..n.saturating_sub(1) {
        let around: Vec<Vec<usize>> = (0..n).map(|node| pattern.neighbours(node)).collect();
        let others = |node: usize, other: usize| -> Vec<usize> {
            let all = around.get(node).into_iter().flatten().copied();
            all.filter(|&third| third != other && background.may_separate(third, node, other)).collect()
        };
        let edges = pattern.edges();
        if edges.iter().all(|&(a, b)| others(a, b).len() < size && others(b, a).len() < size) {
            break;
        }
        let separated = |&(a, b): &(usize, usize)| {
            let known = background.required.contains(&(a, b)) || background.required.contains(&(b, a));
            let (first, second) = (others(a, b), others(b, a));
            let sets = combinations(&first, size).chain(combinations(&second, size).filter(|set| {
                // Sets within the first neighbourhood were tried already.
                !set.iter().all(|node| first.contains(node))
            }));
            (if known { None } else { sets.into_iter().find(|set| test.p_value(a, b, set) > alpha) })
                .map(|set| ((a, b), set))
        };
        let found: Vec<((usize, usize), Vec<usize>)> = edges.par_iter().filter_map(separated).collect();
        for ((a, b), set) in found {
            pattern.cut(a, b);
            separators.insert((a, b), set);
        }
    }
    (pattern, separators)
}

/// All (a, middle, b), a < b, with both joined to the middle and not to each other.
pub(super) fn unshielded(pattern: &Pattern) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    for middle in 0..pattern.len() {
        let around = pattern.neighbours(middle);
        for (at, &a) in around.iter().enumerate() {
            for &b in around.iter().skip(at + 1).filter(|&&b| !pattern.adjacent(a, b)) {
                found.push((a.min(b), middle, a.max(b)));
            }
        }
    }
    found
}

/// Whether some set of neighbours separates the ends and none that does holds the middle.
fn in_none(test: &dyn Independence, alpha: f64, pattern: &Pattern, (a, middle, b): (usize, usize, usize)) -> bool {
    let (mut with, mut without) = (false, false);
    for end in [a, b] {
        let around: Vec<usize> = pattern.neighbours(end).into_iter().filter(|&node| node != a && node != b).collect();
        for size in 0..=around.len() {
            for set in combinations(&around, size) {
                if test.p_value(a, b, &set) > alpha {
                    if set.contains(&middle) { with = true } else { without = true }
                }
                if with {
                    return false;
                }
            }
        }
    }
    without
}

/// All subsets of one size, in lexicographic order.
pub(super) fn combinations(of: &[usize], size: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut places: Option<Vec<usize>> = (size <= of.len()).then(|| (0..size).collect());
    let n = of.len();
    std::iter::from_fn(move || {
        let current = places.clone()?;
        let set = current.iter().filter_map(|&at| of.get(at)).copied().collect();
        // The last place that can still move.
        let movable = (0..size).rev().find(|&at| current.get(at).is_some_and(|place| place + size < n + at));
        places = movable.map(|at| {
            let start = current.get(at).copied().unwrap_or(0) + 1;
            current.iter().take(at).copied().chain(start..start + size - at).collect()
        });
        Some(set)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_complete() {
        let all: Vec<Vec<usize>> = combinations(&[4, 6, 8, 9], 2).collect();
        assert_eq!(all, [[4, 6], [4, 8], [4, 9], [6, 8], [6, 9], [8, 9]]);
        assert_eq!(combinations(&[1], 0).collect::<Vec<_>>(), [Vec::<usize>::new()]);
        assert_eq!(combinations(&[1], 2).count(), 0);
        assert_eq!(combinations(&[1, 2, 3], 3).count(), 1);
    }
}
