//! Lines between the nodes of a layered layout.

use super::at;
use super::layout::{Layout, Place};

/// How far things stand apart, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spacing {
    /// Around everything.
    pub(super) margin: f64,
    /// The height of a node.
    pub(super) node: f64,
    /// From one layer's top to the next one's.
    pub(super) step: f64,
    /// What an arrow's head takes above its node.
    pub(super) head: f64,
}

impl Spacing {
    /// The top of a layer's nodes.
    pub(super) fn top(self, layer: usize) -> f64 {
        self.margin + self.step * layer as f64
    }
}

/// For each edge the points that its line runs through. Lines leave and enter a node side by side, in the order of
/// where they come from or go to.
pub(super) fn routes(found: &Layout, pairs: &[(usize, usize)], spacing: Spacing) -> Vec<Vec<(f64, f64)>> {
    let place = |index: usize| found.nodes.get(index).copied().unwrap_or(Place { x: 0.0, layer: 0, width: 0.0 });
    let towards = |edge: usize, end: usize| -> f64 {
        let joint = found.joints.get(edge).and_then(|joints| if end == 0 { joints.first() } else { joints.last() });
        let (from, to) = pairs.get(edge).copied().unwrap_or_default();
        joint.map_or_else(|| place(if end == 0 { to } else { from }).x, |joint| joint.x)
    };
    let port = |edge: usize, end: usize| -> f64 {
        let node = |pair: &(usize, usize)| if end == 0 { pair.0 } else { pair.1 };
        let own = pairs.get(edge).map(node).unwrap_or_default();
        let mut siblings: Vec<usize> = (0..pairs.len()).filter(|e| pairs.get(*e).map(node) == Some(own)).collect();
        siblings.sort_by(|a, b| towards(*a, end).total_cmp(&towards(*b, end)));
        let rank = siblings.iter().position(|e| *e == edge).unwrap_or(0) as f64;
        let step = (place(own).width / (siblings.len() as f64 + 1.0)).min(20.0);
        place(own).x + (rank - (siblings.len() as f64 - 1.0) / 2.0) * step
    };
    (0..pairs.len())
        .map(|edge| {
            let (from, to) = pairs.get(edge).copied().unwrap_or_default();
            let start = (port(edge, 0) + spacing.margin, spacing.top(place(from).layer) + spacing.node);
            let end = (port(edge, 1) + spacing.margin, spacing.top(place(to).layer) - spacing.head);
            let joints = found.joints.get(edge).map(Vec::as_slice).unwrap_or_default();
            let middle =
                joints.iter().map(|joint| (joint.x + spacing.margin, spacing.top(joint.layer) + spacing.node / 2.0));
            std::iter::once(start).chain(middle).chain(std::iter::once(end)).collect()
        })
        .collect()
}

/// A smooth line that is vertical at each of its points.
pub(super) fn path(route: &[(f64, f64)]) -> String {
    let mut text = String::new();
    for (index, (x, y)) in route.iter().enumerate() {
        match index.checked_sub(1).and_then(|i| route.get(i)) {
            None => text.push_str(&format!("M{} {}", at(*x), at(*y))),
            Some((x0, y0)) => {
                let middle = (y0 + y) / 2.0;
                text.push_str(&format!("C{} {} {} {} {} {}", at(*x0), at(middle), at(*x), at(middle), at(*x), at(*y)));
            }
        }
    }
    text
}
