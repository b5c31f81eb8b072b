//! A dot plot with intervals: one metric, one population, one row an arm.

use maud::{Markup, html};

use super::at;
use super::ticks::Axis;
use crate::report::number;
use crate::stats::Estimate;

/// One arm's estimate.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct ForestRow {
    /// The arm's name, as printed.
    pub(in crate::report) label: String,
    /// Its place in the order of arms, which decides its colour.
    pub(in crate::report) arm: usize,
    /// The estimate.
    pub(in crate::report) estimate: Estimate,
}

/// The arms of one metric on one population.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Forest {
    pub(in crate::report) title: String,
    pub(in crate::report) caption: String,
    /// The metric's unit.
    pub(in crate::report) unit: String,
    pub(in crate::report) rows: Vec<ForestRow>,
    /// Values that count as "no harm", drawn as a band.
    pub(in crate::report) band: Option<(f64, f64)>,
    /// Whether 0 belongs on the axis, as it does for effects.
    pub(in crate::report) from_zero: bool,
}

const WIDTH: f64 = 380.0;
const PLOT: (f64, f64) = (100.0, 252.0);
const ROW: f64 = 26.0;
const TOP: f64 = 10.0;

/// The plot as SVG.
pub(super) fn draw(forest: &Forest, key: &str) -> Markup {
    let percent = number::unit_in_words(&forest.unit) == "%";
    let factor = if percent { 100.0 } else { 1.0 };
    let values = forest.rows.iter().flat_map(|row| {
        let interval = row.estimate.interval;
        [row.estimate.value, interval.map(|i| i.low), interval.map(|i| i.high)]
    });
    let band = forest.band.into_iter().flat_map(|(low, high)| [low, high]);
    let axis = Axis::over(
        values.flatten().chain(band).map(|v| v * factor),
        forest.from_zero.then_some(0.0),
        PLOT.0 + 8.0,
        PLOT.1 - 8.0,
    );
    let bottom = TOP + ROW * forest.rows.len() as f64;
    let (ticks, decimals) = axis.ticks(4);
    html! {
        svg class="forest" viewBox={ "0 0 " (at(WIDTH)) " " (at(bottom + 36.0)) } role="img" aria-labelledby={ (key) "-t" } {
            title id={ (key) "-t" } { (forest.title) ": " (in_words(forest)) }
            @if let Some((low, high)) = forest.band {
                rect class="band" x=(at(axis.pixel(low * factor))) y=(at(TOP))
                    width=(at(axis.pixel(high * factor) - axis.pixel(low * factor))) height=(at(bottom - TOP)) {}
            }
            @for tick in &ticks {
                line class=(if *tick == 0.0 { "zero" } else { "grid" }) x1=(at(axis.pixel(*tick))) x2=(at(axis.pixel(*tick)))
                    y1=(at(TOP)) y2=(at(bottom)) {}
                text class="tick" x=(at(axis.pixel(*tick))) y=(at(bottom + 14.0)) { (number::fixed(*tick, decimals)) }
            }
            text class="axis" x=(at((PLOT.0 + PLOT.1) / 2.0)) y=(at(bottom + 30.0)) { (number::unit_in_words(&forest.unit)) }
            @for (index, row) in forest.rows.iter().enumerate() {
                (draw_row(row, forest, &axis, factor, TOP + ROW * (index as f64 + 0.5)))
            }
        }
    }
}

fn draw_row(row: &ForestRow, forest: &Forest, axis: &Axis, factor: f64, y: f64) -> Markup {
    let estimate = &row.estimate;
    let finite = estimate.value.filter(|value| value.is_finite());
    html! {
        g class={ "row arm-" (row.arm % 8) } {
            title { (row.label) ": " (number::in_full(estimate, &forest.unit)) }
            rect class="hit" x="0" y=(at(y - ROW / 2.0)) width=(at(WIDTH)) height=(at(ROW)) {}
            text class="label" x="0" y=(at(y + 4.0)) { (row.label) }
            @match finite {
                Some(value) => {
                    @if let Some(interval) = estimate.interval {
                        line class="whisker" x1=(at(axis.pixel(interval.low * factor))) x2=(at(axis.pixel(interval.high * factor)))
                            y1=(at(y)) y2=(at(y)) {}
                    }
                    circle class="dot" cx=(at(axis.pixel(value * factor))) cy=(at(y)) r="5" {}
                    text class="value" x=(at(PLOT.1 + 10.0)) y=(at(y + 4.0)) {
                        (number::value(estimate, &forest.unit))
                        @if let Some(interval) = number::interval(estimate, &forest.unit) { tspan class="soft" { " " (interval) } }
                    }
                }
                None => { text class="soft" x=(at(PLOT.0 + 6.0)) y=(at(y + 4.0)) { "undefined" } }
            }
        }
    }
}

fn in_words(forest: &Forest) -> String {
    let rows: Vec<String> = forest
        .rows
        .iter()
        .map(|row| format!("{} {}", row.label, number::in_full(&row.estimate, &forest.unit)))
        .collect();
    rows.join("; ")
}
