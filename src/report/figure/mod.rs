//! The report's pictures: what each shows (data), drawn as SVG that follows the page's colour scheme.
//!
//! Colours and dashes come from the page's style sheet by class; values are in `<title>` elements, so that they are
//! read on hover and by screen readers.

mod chart;
mod circuit;
mod curves;
mod forest;
mod graph;
mod heat;
mod layout;
mod pathway;
mod routes;
mod ticks;

pub(super) use chart::{Chart, ChartLine, ChartMarks, Ideal, Spread};
pub use circuit::{CircuitFigure, FaithfulnessLine, circuit_svg};
pub(super) use curves::{Curve, Curves};
pub(super) use forest::{Forest, ForestRow};
pub(super) use graph::{edge_class, edge_word};
pub(super) use heat::{Heat, is_marked};
pub(super) use pathway::{PathwayDiagram, ends_in_words};

use maud::Markup;

use super::document::Figure;

/// The picture with its caption's text.
pub(super) fn draw(figure: &Figure, key: &str) -> Markup {
    match figure {
        Figure::Graph(graph) => graph::draw(graph, key),
        Figure::Forest(forest) => forest::draw(forest, key),
        Figure::Heat(heat) => heat::draw(heat, key),
        Figure::Curves(curves) => curves::draw(curves, key),
        Figure::Pathway(diagram) => pathway::draw(diagram, key),
        Figure::Chart(chart) => chart::draw(chart, key),
    }
}

/// What stands under the picture.
pub(super) fn caption(figure: &Figure) -> String {
    match figure {
        Figure::Graph(graph) => graph.id.clone(),
        Figure::Forest(forest) => forest.caption.clone(),
        Figure::Heat(heat) => heat.caption.clone(),
        Figure::Curves(curves) => curves.caption.clone(),
        Figure::Pathway(diagram) => diagram.caption.clone(),
        Figure::Chart(chart) => chart.caption.clone(),
    }
}

/// A chart as the rows of a table, and what its marks say.
pub(super) fn table_of(chart: &Chart) -> (Vec<String>, Vec<Vec<String>>, Vec<String>) {
    let (heads, rows) = chart::rows(chart);
    (heads, rows, chart::marks(chart))
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
