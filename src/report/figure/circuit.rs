//! A circuit drawn from the input at the top to the logits at the bottom, and the faithfulness of circuits by size.
//!
//! A picture of its own, for a file: colours are in it. Blue edges help the metric, red ones work against it; widths and
//! opacity grow with the size of the effect.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};

use super::{at, text_width};
use crate::report::number;
use crate::stats::circuit::CircuitEdge;

/// One line of a faithfulness chart.
#[derive(Debug, Clone, PartialEq)]
pub struct FaithfulnessLine {
    /// What it is called.
    pub label: String,
    /// Share of edges and faithfulness, ascending.
    pub points: Vec<(f64, f64)>,
}

/// What a picture of a circuit shows.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitFigure {
    /// What stands above it.
    pub title: String,
    /// The edges.
    pub edges: Vec<CircuitEdge>,
    /// Faithfulness by size, beneath; nothing where there are no lines.
    pub lines: Vec<FaithfulnessLine>,
}

const ROW: f64 = 56.0;
const NODE: f64 = 22.0;
const MARGIN: f64 = 16.0;
const HELPS: &str = "#2166ac";
const HINDERS: &str = "#b2182b";
const CHART: (f64, f64) = (420.0, 200.0);
const LINES: [&str; 4] = ["#2166ac", "#b2182b", "#4d9221", "#7b3294"];

/// The row of a node: the input, then attention and MLP of each block, then the logits.
pub(super) fn rank(name: &str) -> (usize, usize) {
    let number = |text: &str| text.parse::<usize>().unwrap_or(usize::MAX / 4);
    if name == "input" {
        return (0, 0);
    }
    if let Some(layer) = name.strip_prefix('m') {
        return (2 + 2 * number(layer), 0);
    }
    match name.strip_prefix('a').and_then(|rest| rest.split_once('.')) {
        Some((layer, unit)) => (1 + 2 * number(layer), number(unit.trim_start_matches(|c: char| !c.is_ascii_digit()))),
        None => (usize::MAX, 0),
    }
}

/// Where each node stands (its middle), and how wide and high the drawing is.
fn places(edges: &[CircuitEdge]) -> (BTreeMap<&str, (f64, f64)>, f64, f64) {
    let names: BTreeSet<&str> = edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]).collect();
    let mut rows: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for name in names {
        rows.entry(rank(name).0).or_default().push(name);
    }
    let space = |name: &str| text_width(name, 12.0) + 26.0;
    let row_width = |row: &Vec<&str>| row.iter().map(|name| space(name)).sum::<f64>();
    let width = rows.values().map(row_width).fold(160.0, f64::max) + 2.0 * MARGIN;
    let mut places = BTreeMap::new();
    for (number, row) in rows.values_mut().enumerate() {
        row.sort_by_key(|name| rank(name));
        let mut x = (width - row_width(row)) / 2.0;
        for name in row.iter() {
            places.insert(*name, (x + space(name) / 2.0, MARGIN + NODE + ROW * number as f64 + 12.0));
            x += space(name);
        }
    }
    let height = 2.0 * MARGIN + 2.0 * NODE + ROW * rows.len().saturating_sub(1) as f64 + 12.0;
    (places, width, height)
}

/// The picture as a whole SVG file.
pub fn circuit_svg(figure: &CircuitFigure) -> String {
    let (places, width, height) = places(&figure.edges);
    let chart = if figure.lines.is_empty() { 0.0 } else { CHART.1 + MARGIN };
    let width = if chart > 0.0 { width.max(CHART.0) } else { width };
    let largest = figure.edges.iter().map(|edge| edge.effect.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (at(width)) " " (at(height + chart)) }
            width=(at(width)) height=(at(height + chart)) font-family="system-ui, sans-serif" font-size="12" role="img" {
            title { (figure.title) }
            rect width="100%" height="100%" fill="#ffffff" {}
            text x=(at(width / 2.0)) y=(at(MARGIN)) text-anchor="middle" fill="#333333" { (figure.title) }
            @for edge in &figure.edges { (draw_edge(edge, &places, largest)) }
            @for (name, place) in &places { (draw_node(name, *place)) }
            @if chart > 0.0 { (draw_chart(&figure.lines, height)) }
        }
    };
    svg.into_string()
}

fn draw_edge(edge: &CircuitEdge, places: &BTreeMap<&str, (f64, f64)>, largest: f64) -> Markup {
    let ends = (places.get(edge.from.as_str()), places.get(edge.to.as_str()));
    let (Some((x, y)), Some((to_x, to_y))) = ends else { return PreEscaped(String::new()) };
    let share = (edge.effect.abs() / largest).sqrt();
    let colour = if edge.effect < 0.0 { HINDERS } else { HELPS };
    let (start, end) = (y + NODE / 2.0, to_y - NODE / 2.0);
    let middle = (start + end) / 2.0;
    let path = format!(
        "M{},{} C{},{} {},{} {},{}",
        at(*x),
        at(start),
        at(*x),
        at(middle),
        at(*to_x),
        at(middle),
        at(*to_x),
        at(end)
    );
    let input = if edge.input.is_empty() { String::new() } else { format!(" ({})", edge.input) };
    html! {
        path d=(path) fill="none" stroke=(colour) stroke-width=(at(0.6 + 3.4 * share))
            stroke-opacity=(at(0.3 + 0.6 * share)) {
            title { (edge.from) " → " (edge.to) (input) ": " (number::fixed(edge.effect, 4)) }
        }
    }
}

fn draw_node(name: &str, (x, y): (f64, f64)) -> Markup {
    let width = text_width(name, 12.0) + 14.0;
    html! {
        rect x=(at(x - width / 2.0)) y=(at(y - NODE / 2.0)) width=(at(width)) height=(at(NODE)) rx="5"
            fill="#f7f7f7" stroke="#666666" {}
        text x=(at(x)) y=(at(y + 4.0)) text-anchor="middle" fill="#222222" { (name) }
    }
}

/// Faithfulness against the share of edges on a logarithmic axis; the line at 1 is the whole model.
fn draw_chart(lines: &[FaithfulnessLine], top: f64) -> Markup {
    let points = || lines.iter().flat_map(|line| &line.points).filter(|(share, f)| *share > 0.0 && f.is_finite());
    let left = points().map(|(share, _)| share.log10()).fold(-0.5, f64::min);
    let (low, high) = points().fold((0.0f64, 1.0f64), |(low, high), (_, f)| (low.min(*f), high.max(*f)));
    let x = |share: f64| 46.0 + (CHART.0 - 62.0) * (share.log10() - left) / -left;
    let y = |f: f64| top + CHART.1 - 30.0 - (CHART.1 - 50.0) * (f - low) / (high - low);
    let ticks = [0.001, 0.01, 0.1, 1.0].into_iter().filter(|share: &f64| share.log10() >= left - 1e-9);
    html! {
        @for f in [0.0, 1.0] {
            line x1="46" x2=(at(CHART.0 - 16.0)) y1=(at(y(f))) y2=(at(y(f))) stroke="#bbbbbb" {}
            text x="40" y=(at(y(f) + 4.0)) text-anchor="end" fill="#333333" { (f) }
        }
        @for share in ticks {
            text x=(at(x(share))) y=(at(top + CHART.1 - 12.0)) text-anchor="middle" fill="#333333" { (share) }
        }
        text x=(at(CHART.0 / 2.0)) y=(at(top + CHART.1 + 4.0)) text-anchor="middle" fill="#333333" { "share of edges" }
        @for (line, colour) in lines.iter().zip(LINES.into_iter().cycle()) {
            polyline fill="none" stroke=(colour) stroke-width="1.8" points=(
                line.points.iter().filter(|(share, f)| *share > 0.0 && f.is_finite())
                    .map(|(share, f)| format!("{},{}", at(x(*share)), at(y(*f)))).collect::<Vec<_>>().join(" ")
            ) { title { (line.label) } }
        }
        @for (number, (line, colour)) in lines.iter().zip(LINES.into_iter().cycle()).enumerate() {
            text x="54" y=(at(top + 14.0 + 14.0 * number as f64)) fill=(colour) { (line.label) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, input: &str, effect: f64) -> CircuitEdge {
        CircuitEdge { from: from.into(), to: to.into(), input: input.into(), effect }
    }

    #[test]
    fn nodes_stand_by_layer_and_signs_have_colours() {
        let edges = vec![
            edge("input", "a0.h10", "v", 1.0),
            edge("input", "a0.h2", "q", -0.5),
            edge("a0.h10", "m0", "", 0.2),
            edge("m0", "logits", "", 0.3),
        ];
        let (places, ..) = places(&edges);
        let (x, y) = (|name: &str| places[name].0, |name: &str| places[name].1);
        assert!(y("input") < y("a0.h2") && y("a0.h2") == y("a0.h10") && y("a0.h10") < y("m0") && y("m0") < y("logits"));
        assert!(x("a0.h2") < x("a0.h10"), "heads stand by number, not by text");
        let lines = vec![FaithfulnessLine { label: "by score".into(), points: vec![(0.001, 0.0), (1.0, 1.0)] }];
        let figure = CircuitFigure { title: "a < b".into(), edges, lines };
        let svg = circuit_svg(&figure);
        assert!(svg.starts_with("<svg") && svg.contains("a &lt; b") && svg.contains("a0.h2 (q): −0.5000"), "{svg}");
        assert_eq!((svg.matches(HINDERS).count(), svg.matches("<path").count()), (1, 4));
        assert!(svg.contains("share of edges") && !svg.contains("NaN"));
        let empty = circuit_svg(&CircuitFigure { title: "none".into(), edges: Vec::new(), lines: Vec::new() });
        assert!(!empty.contains("share of edges") && !empty.contains("NaN"));
    }
}
