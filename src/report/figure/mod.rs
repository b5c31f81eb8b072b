//! The report's pictures: what each shows (data), drawn as SVG that follows the page's colour scheme.
//!
//! Colours and dashes come from the page's style sheet by class; values are in `<title>` elements, so that they are
//! read on hover and by screen readers.

mod circuit;
mod curves;
mod forest;
mod graph;
mod heat;
mod layout;
mod ticks;

pub use circuit::{CircuitEdge, CircuitFigure, FaithfulnessLine, circuit_svg};
pub(super) use curves::{Curve, Curves};
pub(super) use forest::{Forest, ForestRow};
pub(super) use graph::{edge_class, edge_word};
pub(super) use heat::{Heat, is_marked};

use maud::Markup;

use super::document::Figure;

/// The picture with its caption's text.
pub(super) fn draw(figure: &Figure, key: &str) -> Markup {
    match figure {
        Figure::Graph(graph) => graph::draw(graph, key),
        Figure::Forest(forest) => forest::draw(forest, key),
        Figure::Heat(heat) => heat::draw(heat, key),
        Figure::Curves(curves) => curves::draw(curves, key),
    }
}

/// What stands under the picture.
pub(super) fn caption(figure: &Figure) -> String {
    match figure {
        Figure::Graph(graph) => graph.id.clone(),
        Figure::Forest(forest) => forest.caption.clone(),
        Figure::Heat(heat) => heat.caption.clone(),
        Figure::Curves(curves) => curves.caption.clone(),
    }
}

/// A coordinate with one digit after the point.
fn at(value: f64) -> String {
    let text = format!("{:.1}", if value.is_finite() { value } else { 0.0 });
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// The width in pixels that a text of the figures' font takes, roughly.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if c.is_ascii() { 0.56 } else { 0.75 }).sum::<f64>() * size
}
