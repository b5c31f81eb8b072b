//! The causal graph, drawn from top to bottom so that it fits a narrow screen.

use maud::{Markup, html};

use super::layout::{Place, layout};
use super::routes::{Spacing, path, routes};
use super::{at, text_width};
use crate::report::data::{EdgeKind, GraphNode, ReportGraph};
use crate::report::words::plain;

const NODE_HEIGHT: f64 = 40.0;
const LAYER_STEP: f64 = 82.0;
const MARGIN: f64 = 12.0;
const GAP: f64 = 22.0;
const SPACING: Spacing = Spacing { margin: MARGIN, node: NODE_HEIGHT, step: LAYER_STEP, head: 7.0 };

/// The graph as SVG.
pub(super) fn draw(graph: &ReportGraph, key: &str) -> Markup {
    let edges = known_edges(graph);
    let widths: Vec<f64> = graph.nodes.iter().map(node_width).collect();
    let wished: Vec<Option<usize>> = graph.nodes.iter().map(|node| node.layer).collect();
    let pairs: Vec<(usize, usize)> = edges.iter().map(|(from, to, _)| (*from, *to)).collect();
    let found = layout(&widths, &wished, &pairs, GAP);
    let width = found.width + 2.0 * MARGIN;
    let height = LAYER_STEP * found.layers.saturating_sub(1) as f64 + NODE_HEIGHT + 2.0 * MARGIN;
    let routes = routes(&found, &pairs, SPACING);
    html! {
        svg class="graph" viewBox={ "0 0 " (at(width)) " " (at(height)) } style={ "max-width:" (at(width)) "px" }
            role="img" aria-labelledby={ (key) "-t " (key) "-d" } {
            title id={ (key) "-t" } { "Causal graph of " (plain(&graph.id)) }
            desc id={ (key) "-d" } { (in_words(graph)) }
            @for ((_, _, kind), route) in edges.iter().zip(&routes) {
                path class={ "edge " (edge_class(*kind)) } d=(path(route)) {}
                (arrow_head(route, *kind))
            }
            @for (node, place) in graph.nodes.iter().zip(&found.nodes) { (draw_node(node, *place)) }
        }
    }
}

/// The edges in words, for those who cannot see the picture.
pub(in crate::report) fn in_words(graph: &ReportGraph) -> String {
    let sentences: Vec<String> = graph
        .edges
        .iter()
        .map(|edge| format!("{} → {} ({})", plain(&edge.from), plain(&edge.to), edge_word(edge.kind)))
        .collect();
    sentences.join("; ")
}

/// What an arrow means, in a word or two.
pub(in crate::report) fn edge_word(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Structural => "part of the world",
        EdgeKind::Spurious => "spurious",
        EdgeKind::Legitimate => "legitimate",
        EdgeKind::Latent => "unobserved cause",
    }
}

/// An arrow's class in the style sheet.
pub(in crate::report) fn edge_class(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Structural => "structural",
        EdgeKind::Spurious => "spurious",
        EdgeKind::Legitimate => "legitimate",
        EdgeKind::Latent => "latent",
    }
}

fn role_in_words(role: &str) -> String {
    match role {
        "latent" => "unobserved".to_owned(),
        "label" => "true label".to_owned(),
        "answer" => "the model's output".to_owned(),
        other => plain(other),
    }
}

fn node_width(node: &GraphNode) -> f64 {
    let name = text_width(&plain(&node.name), 13.5);
    let role = text_width(&role_in_words(&node.role), 10.0);
    (name.max(role) + 26.0).max(66.0)
}

fn known_edges(graph: &ReportGraph) -> Vec<(usize, usize, EdgeKind)> {
    let index = |name: &str| graph.nodes.iter().position(|node| node.name == name);
    graph.edges.iter().filter_map(|edge| Some((index(&edge.from)?, index(&edge.to)?, edge.kind))).collect()
}

fn arrow_head(route: &[(f64, f64)], kind: EdgeKind) -> Markup {
    let (x, y) = route.last().copied().unwrap_or_default();
    let points = format!("{},{} {},{} {},{}", at(x - 4.5), at(y - 2.0), at(x + 4.5), at(y - 2.0), at(x), at(y + 6.5));
    html! { polygon class={ "head " (edge_class(kind)) } points=(points) {} }
}

fn draw_node(node: &GraphNode, place: Place) -> Markup {
    let (x, y) = (place.x + MARGIN, SPACING.top(place.layer));
    let class = match node.role.as_str() {
        "latent" => "latent",
        "answer" => "answer",
        "label" => "label",
        _ => "plain",
    };
    let radius = if class == "latent" { NODE_HEIGHT / 2.0 } else { 7.0 };
    html! {
        g class={ "node " (class) } {
            title { (plain(&node.name)) " (" (role_in_words(&node.role)) ")" @if !node.detail.is_empty() { ": " (node.detail) } }
            rect x=(at(x - place.width / 2.0)) y=(at(y)) width=(at(place.width)) height=(at(NODE_HEIGHT)) rx=(at(radius)) {}
            text class="name" x=(at(x)) y=(at(y + 17.5)) { (plain(&node.name)) }
            text class="role" x=(at(x)) y=(at(y + 31.0)) { (role_in_words(&node.role)) }
        }
    }
}
