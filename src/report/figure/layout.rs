//! A layered layout of a small directed graph (Sugiyama, Tagawa and Toda 1981): layers by longest path, long edges
//! broken by invisible joints, order within layers by barycentres, positions by isotonic regression.

use std::collections::BTreeMap;

/// A node or a joint with its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) layer: usize,
    pub(super) width: f64,
}

/// Places of the nodes, and of the joints of each edge from its source to its target.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Place>,
    pub(super) joints: Vec<Vec<Place>>,
    pub(super) layers: usize,
    pub(super) width: f64,
}

const JOINT_WIDTH: f64 = 14.0;
const SWEEPS: usize = 8;

/// Lays out nodes of given widths (and wished layers) with `edges` as index pairs. Edges that point to an unknown node
/// or close a cycle are not used for the layering; every node gets a place all the same.
pub(super) fn layout(widths: &[f64], wished: &[Option<usize>], edges: &[(usize, usize)], gap: f64) -> Layout {
    let layer_of = layers(widths.len(), wished, edges);
    let mut all: Vec<Place> =
        widths.iter().zip(&layer_of).map(|(width, layer)| Place { x: 0.0, layer: *layer, width: *width }).collect();
    let (joints, links) = break_long_edges(&mut all, edges);
    let layers = all.iter().map(|place| place.layer + 1).max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layers];
    for (index, place) in all.iter().enumerate() {
        if let Some(row) = rows.get_mut(place.layer) {
            row.push(index);
        }
    }
    let neighbours = Neighbours::of(all.len(), &links);
    order(&mut rows, &neighbours, &all);
    position(&rows, &neighbours, &mut all, gap);
    let left = all.iter().map(|place| place.x - place.width / 2.0).fold(f64::INFINITY, f64::min);
    let right = all.iter().map(|place| place.x + place.width / 2.0).fold(f64::NEG_INFINITY, f64::max);
    all.iter_mut().for_each(|place| place.x -= left);
    let pick = |index: &usize| all.get(*index).copied();
    Layout {
        joints: joints.iter().map(|edge| edge.iter().filter_map(pick).collect()).collect(),
        nodes: all.iter().take(widths.len()).copied().collect(),
        layers,
        width: if right > left { right - left } else { 0.0 },
    }
}

/// Longest path from the sources; sources then sink to just above their first child; wishes win.
fn layers(n: usize, wished: &[Option<usize>], edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0usize; n];
    // At most n rounds: a cycle stops growing there instead of for ever.
    for _ in 0..n {
        let mut moved = false;
        for (from, to) in edges {
            let wanted = layer.get(*from).map_or(0, |l| l + 1);
            if let Some(current) = layer.get_mut(*to).filter(|current| **current < wanted && wanted < n) {
                *current = wanted;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    for node in 0..n {
        let has_parent = edges.iter().any(|(_, to)| *to == node);
        let first_child =
            edges.iter().filter(|(from, _)| *from == node).filter_map(|(_, to)| layer.get(*to)).min().copied();
        if let (false, Some(child), Some(own)) = (has_parent, first_child, layer.get_mut(node)) {
            *own = child.saturating_sub(1);
        }
    }
    for (own, wish) in layer.iter_mut().zip(wished) {
        *own = wish.map_or(*own, |wish| wish.min(2 * n));
    }
    layer
}

type Links = Vec<(usize, usize)>;

/// Adds a joint on every layer that an edge crosses. Returns the joints of each edge and the short links.
fn break_long_edges(all: &mut Vec<Place>, edges: &[(usize, usize)]) -> (Vec<Vec<usize>>, Links) {
    let mut joints = Vec::with_capacity(edges.len());
    let mut links = Vec::new();
    for (from, to) in edges {
        let (Some(start), Some(end)) = (all.get(*from).copied(), all.get(*to).copied()) else {
            joints.push(Vec::new());
            continue;
        };
        let mut own = Vec::new();
        let mut last = *from;
        for layer in start.layer + 1..end.layer {
            own.push(all.len());
            links.push((last, all.len()));
            last = all.len();
            all.push(Place { x: 0.0, layer, width: JOINT_WIDTH });
        }
        links.push((last, *to));
        joints.push(own);
    }
    (joints, links)
}

struct Neighbours {
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
}

impl Neighbours {
    fn of(n: usize, links: &Links) -> Self {
        let mut lists = Self { above: vec![Vec::new(); n], below: vec![Vec::new(); n] };
        for (from, to) in links {
            if let (Some(below), Some(above)) = (lists.below.get_mut(*from), lists.above.get_mut(*to)) {
                below.push(*to);
                above.push(*from);
            }
        }
        lists
    }
}

/// Sorts each layer by the mean rank of its neighbours, downwards and upwards in turn, and keeps the order with the
/// fewest crossings.
fn order(rows: &mut Vec<Vec<usize>>, neighbours: &Neighbours, all: &[Place]) {
    let mut best = (crossings(rows, neighbours), rows.clone());
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let lists = if down { &neighbours.above } else { &neighbours.below };
        let sequence: Vec<usize> = if down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in sequence {
            let rank = ranks(rows);
            let Some(row) = rows.get_mut(layer) else { continue };
            let key = |index: &usize| {
                let near = lists.get(*index).map(Vec::as_slice).unwrap_or_default();
                let own = rank.get(index).copied().unwrap_or(0.0);
                mean(near.iter().filter_map(|n| rank.get(n)).copied()).unwrap_or(own)
            };
            row.sort_by(|a, b| key(a).total_cmp(&key(b)));
        }
        let found = crossings(rows, neighbours);
        if found < best.0 {
            best = (found, rows.clone());
        }
    }
    debug_assert_eq!(best.1.iter().map(Vec::len).sum::<usize>(), all.len());
    *rows = best.1;
}

fn ranks(rows: &[Vec<usize>]) -> BTreeMap<usize, f64> {
    rows.iter()
        .flat_map(|row| row.iter().enumerate().map(|(rank, index)| (*index, rank as f64 - row.len() as f64 / 2.0)))
        .collect()
}

fn crossings(rows: &[Vec<usize>], neighbours: &Neighbours) -> usize {
    let rank = ranks(rows);
    let mut count = 0;
    for row in rows {
        let ends: Vec<(f64, f64)> = row
            .iter()
            .flat_map(|index| neighbours.below.get(*index).into_iter().flatten().map(move |to| (*index, *to)))
            .filter_map(|(from, to)| Some((*rank.get(&from)?, *rank.get(&to)?)))
            .collect();
        for (i, a) in ends.iter().enumerate() {
            count += ends.iter().skip(i + 1).filter(|b| (a.0 - b.0) * (a.1 - b.1) < 0.0).count();
        }
    }
    count
}

/// Moves every node towards the mean of its neighbours, as far as the gaps allow.
fn position(rows: &[Vec<usize>], neighbours: &Neighbours, all: &mut [Place], gap: f64) {
    for row in rows {
        let total: f64 = row.iter().filter_map(|i| all.get(*i)).map(|place| place.width + gap).sum();
        let mut x = -total / 2.0;
        for index in row {
            if let Some(place) = all.get_mut(*index) {
                place.x = x + (place.width + gap) / 2.0;
                x += place.width + gap;
            }
        }
    }
    for _ in 0..3 * SWEEPS {
        for row in rows {
            let wanted: Vec<f64> = row
                .iter()
                .map(|index| {
                    let near = [&neighbours.above, &neighbours.below]
                        .into_iter()
                        .filter_map(|lists| lists.get(*index))
                        .flatten();
                    let own = all.get(*index).map_or(0.0, |place| place.x);
                    mean(near.filter_map(|n| all.get(*n)).map(|place| place.x)).unwrap_or(own)
                })
                .collect();
            let widths: Vec<f64> = row.iter().filter_map(|i| all.get(*i)).map(|place| place.width).collect();
            for (index, x) in row.iter().zip(separated(&wanted, &widths, gap)) {
                if let Some(place) = all.get_mut(*index) {
                    place.x = x;
                }
            }
        }
    }
}

/// The positions nearest to `wanted` (least squares) that keep the order and the gaps: isotonic regression of
/// `wanted` less the cumulative separation, by pooling adjacent violators.
fn separated(wanted: &[f64], widths: &[f64], gap: f64) -> Vec<f64> {
    let mut offset = 0.0;
    let mut offsets = Vec::with_capacity(widths.len());
    for (index, width) in widths.iter().enumerate() {
        let previous = index.checked_sub(1).and_then(|i| widths.get(i));
        offset += previous.map_or(0.0, |previous| (previous + width) / 2.0 + gap);
        offsets.push(offset);
    }
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wanted, offset) in wanted.iter().zip(&offsets) {
        let mut pool = (wanted - offset, 1usize);
        while let Some((mean, n)) = pools.last().copied().filter(|(mean, _)| *mean > pool.0) {
            pools.pop();
            pool = ((mean * n as f64 + pool.0 * pool.1 as f64) / (n + pool.1) as f64, n + pool.1);
        }
        pools.push(pool);
    }
    let levels = pools.iter().flat_map(|(mean, n)| std::iter::repeat_n(*mean, *n));
    levels.zip(&offsets).map(|(level, offset)| level + offset).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_point_down_and_nothing_overlaps() {
        // pool → gender → name → answer, pool → years → answer, years → decision: the hiring scenario.
        let edges = [(0, 1), (1, 2), (2, 5), (0, 3), (3, 5), (3, 4)];
        let found = layout(&[80.0; 6], &[None; 6], &edges, 20.0);
        for (from, to) in edges {
            assert!(found.nodes[from].layer < found.nodes[to].layer);
        }
        for (i, a) in found.nodes.iter().enumerate() {
            for b in found.nodes.iter().skip(i + 1).filter(|b| b.layer == a.layer) {
                assert!((a.x - b.x).abs() >= 99.9, "{a:?} {b:?}");
            }
        }
        assert_eq!(found.joints[4].len(), found.nodes[5].layer - found.nodes[3].layer - 1);
    }

    #[test]
    fn a_cycle_and_an_unknown_end_still_get_a_layout() {
        let found = layout(&[50.0; 3], &[None; 3], &[(0, 1), (1, 2), (2, 0), (1, 9)], 10.0);
        assert_eq!(found.nodes.len(), 3);
        assert!(found.nodes.iter().all(|place| place.x.is_finite()));
    }

    #[test]
    fn separation_is_the_least_squares_one() {
        assert_eq!(separated(&[0.0, 0.0], &[10.0, 10.0], 0.0), vec![-5.0, 5.0]);
        assert_eq!(separated(&[0.0, 50.0], &[10.0, 10.0], 0.0), vec![0.0, 50.0]);
    }
}
