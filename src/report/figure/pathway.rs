//! A circuit on the page: the input at the top, the logits at the bottom, a row for the attention and one for the MLP of
//! each layer, and a line for each edge. Colour and dash follow the sign of the score, width its size, both by class, so
//! that the picture follows the page's colours.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::circuit::rank;
use super::layout::{Layout, layout};
use super::routes::{Spacing, path, routes};
use super::{at, text_width};
use crate::report::number;
use crate::stats::circuit::CircuitEdge;

/// A circuit's diagram.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct PathwayDiagram {
    pub(in crate::report) caption: String,
    /// The edges that are drawn, the strongest first.
    pub(in crate::report) edges: Vec<CircuitEdge>,
    /// Edges of the circuit, drawn or not.
    pub(in crate::report) of: usize,
}

const SPACING: Spacing = Spacing { margin: 10.0, node: 24.0, step: 62.0, head: 7.0 };
const GAP: f64 = 12.0;
const FONT: f64 = 12.0;

/// Nodes in the order of their rows, and edges between them by index.
struct Wiring<'a> {
    nodes: Vec<&'a str>,
    pairs: Vec<(usize, usize)>,
    found: Layout,
}

fn wire(diagram: &PathwayDiagram) -> Wiring<'_> {
    let names: BTreeSet<&str> = diagram.edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]).collect();
    let mut nodes: Vec<&str> = names.into_iter().collect();
    nodes.sort_by_key(|name| rank(name));
    // Rows that nobody stands in take no space.
    let rows: BTreeSet<usize> = nodes.iter().map(|name| rank(name).0).collect();
    let row: BTreeMap<usize, usize> = rows.into_iter().enumerate().map(|(at, rank)| (rank, at)).collect();
    let wished: Vec<Option<usize>> = nodes.iter().map(|name| row.get(&rank(name).0).copied()).collect();
    let index = |name: &str| nodes.iter().position(|node| *node == name).unwrap_or_default();
    let pairs: Vec<(usize, usize)> = diagram.edges.iter().map(|edge| (index(&edge.from), index(&edge.to))).collect();
    let widths: Vec<f64> = nodes.iter().map(|name| text_width(name, FONT) + 18.0).collect();
    let found = layout(&widths, &wished, &pairs, GAP);
    Wiring { nodes, pairs, found }
}

/// The diagram as SVG.
pub(super) fn draw(diagram: &PathwayDiagram, key: &str) -> Markup {
    let wiring = wire(diagram);
    let found = &wiring.found;
    let width = found.width + 2.0 * SPACING.margin;
    let height = SPACING.top(found.layers.saturating_sub(1)) + SPACING.node + SPACING.margin;
    let largest = diagram.edges.iter().map(|edge| edge.effect.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let routes = routes(found, &wiring.pairs, SPACING);
    // The strongest last, so that they lie on top.
    let drawn: Vec<_> = diagram.edges.iter().zip(&routes).rev().collect();
    html! {
        svg class="pathway" viewBox={ "0 0 " (at(width)) " " (at(height)) } style={ "width:" (at(width)) "px" }
            role="img" aria-labelledby={ (key) "-t " (key) "-d" } {
            title id={ (key) "-t" } { (diagram.caption) }
            desc id={ (key) "-d" } { (in_words(diagram)) }
            @for (edge, route) in drawn { (line(edge, route, largest)) }
            @for (name, place) in wiring.nodes.iter().zip(&found.nodes) {
                g class=(if matches!(*name, "input" | "logits") { "node end" } else { "node" }) {
                    title { (node_in_words(name)) }
                    rect x=(at(SPACING.margin + place.x - place.width / 2.0)) y=(at(SPACING.top(place.layer)))
                        width=(at(place.width)) height=(at(SPACING.node)) rx="6" {}
                    text x=(at(SPACING.margin + place.x)) y=(at(SPACING.top(place.layer) + 16.0)) { (name) }
                }
            }
        }
    }
}

fn line(edge: &CircuitEdge, route: &[(f64, f64)], largest: f64) -> Markup {
    let share = (edge.effect.abs() / largest).sqrt();
    let sign = if edge.effect < 0.0 { "against" } else { "carries" };
    let (x, y) = route.last().copied().unwrap_or_default();
    let points = format!("{},{} {},{} {},{}", at(x - 4.0), at(y - 1.5), at(x + 4.0), at(y - 1.5), at(x), at(y + 6.0));
    html! {
        g class={ "edge " (sign) } {
            title { (edge_in_words(edge)) }
            path d=(path(route)) stroke-width=(at(0.8 + 3.7 * share)) {}
            polygon points=(points) {}
            @if !edge.input.is_empty() { text class="input" x=(at(x + 5.5)) y=(at(y - 2.0)) { (edge.input) } }
        }
    }
}

/// `a0.h1 → m2: −0.53 nats`, with the reader's input where it has several.
pub(in crate::report) fn edge_in_words(edge: &CircuitEdge) -> String {
    format!("{}: {} nats", ends_in_words(edge), number::significant(edge.effect))
}

/// `a0.h1 → a2.h3 (v)`.
pub(in crate::report) fn ends_in_words(edge: &CircuitEdge) -> String {
    let input = if edge.input.is_empty() { String::new() } else { format!(" ({})", edge.input) };
    format!("{} → {}{input}", edge.from, edge.to)
}

fn node_in_words(name: &str) -> String {
    match name {
        "input" => return "the embeddings of the prompt".to_owned(),
        "logits" => return "the logits that the answer is read off".to_owned(),
        _ => {}
    }
    if let Some(layer) = name.strip_prefix('m') {
        return format!("MLP of layer {layer}");
    }
    match name.strip_prefix('a').and_then(|rest| rest.split_once(".h")) {
        Some((layer, head)) => format!("attention head {head} of layer {layer}"),
        None => name.to_owned(),
    }
}

/// The edges in words, for those who cannot see the picture.
pub(in crate::report) fn in_words(diagram: &PathwayDiagram) -> String {
    diagram.edges.iter().map(edge_in_words).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, input: &str, effect: f64) -> CircuitEdge {
        CircuitEdge { from: from.into(), to: to.into(), input: input.into(), effect }
    }

    fn diagram() -> PathwayDiagram {
        let edges = vec![
            edge("m0", "logits", "", 1.2),
            edge("input", "a0.h1", "v", -0.8),
            edge("a0.h1", "m0", "", 0.4),
            edge("input", "a0.h1", "k", 0.2),
            edge("a0.h1", "m2", "", 0.2),
            edge("m2", "logits", "", 0.1),
        ];
        PathwayDiagram { caption: "a < b".into(), edges, of: 9 }
    }

    #[test]
    fn nodes_stand_by_layer_and_lines_run_around_them() {
        let diagram = diagram();
        let wiring = wire(&diagram);
        assert_eq!(wiring.nodes, ["input", "a0.h1", "m0", "m2", "logits"]);
        let layers: Vec<usize> = wiring.found.nodes.iter().map(|place| place.layer).collect();
        assert_eq!(layers, [0, 1, 2, 3, 4], "no empty row for layer 1");
        // m0 → logits passes the row of m2 beside its box.
        let joint = wiring.found.joints[0][0];
        let m2 = wiring.found.nodes[3];
        assert!((joint.x - m2.x).abs() >= (joint.width + m2.width) / 2.0, "{joint:?} {m2:?}");
    }

    #[test]
    fn signs_sizes_and_inputs_are_drawn_and_told() {
        let svg = draw(&diagram(), "k").into_string();
        assert_eq!((svg.matches("edge carries").count(), svg.matches("edge against").count()), (5, 1));
        assert!(svg.contains("stroke-width=\"4.5\"") && svg.contains("stroke-width=\"3.8\""), "{svg}");
        assert!(svg.contains("input → a0.h1 (v): −0.800 nats") && svg.contains(">v</text>"));
        assert!(svg.contains("a &lt; b") && svg.contains("aria-labelledby=\"k-t k-d\"") && !svg.contains("NaN"));
        let nothing = PathwayDiagram { caption: String::new(), edges: Vec::new(), of: 0 };
        assert!(!draw(&nothing, "k").into_string().contains("NaN"));
    }
}
