//! A picture of a graph: nodes in layers by their longest path from a root, directed edges as lines with heads, shared
//! latent causes as dashed arcs.

use super::Document;
use crate::causal::graph::Graph;

const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 84.0;
const RADIUS_X: f64 = 56.0;
const RADIUS_Y: f64 = 18.0;

/// The middle of each node.
fn places(graph: &Graph) -> Vec<(f64, f64)> {
    let order = graph.topological_order().unwrap_or_default();
    let mut layer = vec![0usize; graph.len()];
    for &node in &order {
        let above = graph.parents(node).iter().filter_map(|parent| layer.get(parent)).max();
        let depth = above.map_or(0, |depth| depth + 1);
        layer.iter_mut().skip(node).take(1).for_each(|slot| *slot = depth);
    }
    let mut filled = vec![0usize; layer.iter().max().map_or(0, |depth| depth + 1)];
    let mut seats = vec![0usize; graph.len()];
    for &node in &order {
        let depth = layer.get(node).copied().unwrap_or(0);
        let seat = filled.get(depth).copied().unwrap_or(0);
        seats.iter_mut().skip(node).take(1).for_each(|slot| *slot = seat);
        filled.iter_mut().skip(depth).take(1).for_each(|count| *count += 1);
    }
    let widest = filled.iter().copied().max().unwrap_or(1) as f64;
    let middle = |(&depth, &seat): (&usize, &usize)| {
        let own = filled.get(depth).copied().unwrap_or(1) as f64;
        // Layers lean a little, so that an edge over a layer does not run through its nodes.
        let lean = if depth % 2 == 1 { 0.18 } else { 0.0 };
        let x = (seat as f64 + 0.5 + (widest - own) / 2.0 + lean) * WIDTH;
        (x + 20.0, (depth as f64 + 0.5) * HEIGHT)
    };
    layer.iter().zip(&seats).map(middle).collect()
}

pub(super) fn draw(document: &Document) -> String {
    let graph = &document.graph;
    let places = places(graph);
    let at = |node: usize| places.get(node).copied().unwrap_or((0.0, 0.0));
    let width = places.iter().map(|(x, _)| *x).fold(0.0, f64::max) + WIDTH / 2.0 + 20.0;
    let height = places.iter().map(|(_, y)| *y).fold(0.0, f64::max) + HEIGHT / 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"causal graph\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto-start-reverse\"><path d=\"M0 0L10 5L0 10z\" fill=\"#444\"/></marker></defs>\n"
    );
    for (from, to) in graph.edges() {
        let ((x1, y1), (x2, y2)) = (rim(at(from), at(to)), rim(at(to), at(from)));
        svg.push_str(&format!(
            "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#444\" fill=\"none\" marker-end=\"url(#head)\"/>\n"
        ));
    }
    for (a, b) in graph.bidirected() {
        let ((x1, y1), (x2, y2)) = (at(a), at(b));
        // The arc bends to the left of the line from a to b.
        let (middle_x, middle_y) = ((x1 + x2) / 2.0 - (y2 - y1) / 3.0 - 14.0, (y1 + y2) / 2.0 + (x2 - x1) / 3.0);
        let middle = (middle_x, middle_y.clamp(4.0, height - 4.0));
        let ((x1, y1), (x2, y2)) = (rim((x1, y1), middle), rim((x2, y2), middle));
        svg.push_str(&format!(
            "<path d=\"M{x1:.1} {y1:.1}Q{:.1} {:.1} {x2:.1} {y2:.1}\" stroke=\"#a33\" stroke-dasharray=\"5 3\" fill=\"none\" marker-start=\"url(#head)\" marker-end=\"url(#head)\"/>\n",
            middle.0, middle.1
        ));
    }
    for node in 0..graph.len() {
        let (x, y) = at(node);
        let fill = match () {
            () if document.exposures.contains(node) => "#cfe8cf",
            () if document.outcomes.contains(node) => "#cfdcf2",
            () if document.selected.contains(node) => "#ddd",
            () => "#fff",
        };
        let dash = if graph.observed().contains(node) { "" } else { " stroke-dasharray=\"4 3\"" };
        svg.push_str(&format!(
            "<ellipse cx=\"{x:.1}\" cy=\"{y:.1}\" rx=\"{RADIUS_X}\" ry=\"{RADIUS_Y}\" fill=\"{fill}\" stroke=\"#222\"{dash}/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            y + 4.5,
            escaped(&shown(graph.name(node)))
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// A name that fits its ellipse.
fn shown(name: &str) -> String {
    match name.chars().count() {
        0..=14 => name.to_owned(),
        _ => name.chars().take(13).chain(['…']).collect(),
    }
}

/// Where the line from the middle of a node towards a point leaves its ellipse.
fn rim((x, y): (f64, f64), (to_x, to_y): (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (to_x - x, to_y - y);
    let scale = ((dx / RADIUS_X).powi(2) + (dy / RADIUS_Y).powi(2)).sqrt();
    if scale <= 1.0 { (x, y) } else { (x + dx / scale, y + dy / scale) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
