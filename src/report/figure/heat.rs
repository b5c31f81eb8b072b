//! A sweep as a heat map: layer × position or layer × head, orange where a site carries the effect and violet where it
//! works against it (both ends of a scale that colour-blind readers tell apart), empty where nothing was measured.

use maud::{Markup, html};

use super::{at, text_width};
use crate::report::number;
use crate::stats::EffectGrid;

/// One heat map.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Heat {
    pub(in crate::report) caption: String,
    pub(in crate::report) grid: EffectGrid,
    /// What the rows and columns are.
    pub(in crate::report) axes: (String, String),
    /// The absolute value that gets the full colour; maps that are to be compared share it.
    pub(in crate::report) full: f64,
}

/// Below this q-value a cell is marked.
const MARKED_BELOW: f64 = 0.05;

/// Whether the cell's q-value is small enough to be marked.
pub(in crate::report) fn is_marked(heat: &Heat, row: usize, column: usize) -> bool {
    q_value(&heat.grid, row, column).is_some_and(|q| q < MARKED_BELOW)
}

const TOP: f64 = 20.0;

struct Frame {
    cell: (f64, f64),
    left: f64,
    head: f64,
    numbers: bool,
    slanted: bool,
    columns: usize,
    rows: usize,
}

impl Frame {
    fn of(heat: &Heat) -> Self {
        let columns = heat.grid.columns.len();
        let numbers = columns <= 16;
        let widest = |labels: &[String]| labels.iter().map(|label| text_width(label, 11.0)).fold(0.0, f64::max);
        let (label, row_label) = (widest(&heat.grid.columns), widest(&heat.grid.rows));
        let cell = if numbers { (if columns <= 4 { 56.0 } else { 44.0 }, 28.0) } else { (20.0, 20.0) };
        let slanted = label > cell.0 - 6.0;
        let head = if slanted { 10.0 + 0.75 * label } else { 20.0 };
        Self { cell, left: row_label + 30.0, head, numbers, slanted, columns, rows: heat.grid.rows.len() }
    }

    fn x(&self, column: usize) -> f64 {
        self.left + self.cell.0 * column as f64
    }

    fn y(&self, row: usize) -> f64 {
        TOP + self.head + self.cell.1 * row as f64
    }

    fn width(&self) -> f64 {
        let overhang = if self.slanted { 0.8 * self.head } else { 6.0 };
        (self.x(self.columns) + overhang).max(230.0)
    }
}

/// The heat map as SVG.
pub(super) fn draw(heat: &Heat, key: &str) -> Markup {
    let frame = Frame::of(heat);
    let legend = frame.y(frame.rows) + 16.0;
    let (width, height) = (frame.width(), legend + 28.0);
    html! {
        svg class="heat" viewBox={ "0 0 " (at(width)) " " (at(height)) } style={ "width:" (at(width)) "px" }
            role="img" aria-labelledby={ (key) "-t" } {
            title id={ (key) "-t" } { (heat.grid.title) ": " (strongest_in_words(heat)) }
            text class="axis" x=(at((frame.left + frame.x(frame.columns)) / 2.0)) y="12" { (heat.axes.1) }
            text class="axis" transform={ "translate(11 " (at((frame.y(0) + frame.y(frame.rows)) / 2.0)) ") rotate(-90)" } { (heat.axes.0) }
            @for (column, label) in heat.grid.columns.iter().enumerate() { (column_label(&frame, column, label)) }
            @for (row, label) in heat.grid.rows.iter().enumerate() {
                text class="rowlabel" x=(at(frame.left - 6.0)) y=(at(frame.y(row) + frame.cell.1 / 2.0 + 4.0)) { (label) }
            }
            @for (row, values) in heat.grid.values.iter().enumerate() {
                @for (column, value) in values.iter().enumerate() { (cell(heat, &frame, row, column, *value)) }
            }
            (scale(heat, frame.left, legend))
        }
    }
}

fn column_label(frame: &Frame, column: usize, label: &str) -> Markup {
    let (x, y) = (frame.x(column) + frame.cell.0 / 2.0, TOP + frame.head - 6.0);
    html! {
        @if frame.slanted {
            text class="slanted" transform={ "translate(" (at(x)) " " (at(y)) ") rotate(-45)" } { (label) }
        } @else {
            text class="columnlabel" x=(at(x)) y=(at(y)) { (label) }
        }
    }
}

fn cell(heat: &Heat, frame: &Frame, row: usize, column: usize, value: Option<f64>) -> Markup {
    let value = value.filter(|value| value.is_finite());
    let share = value.map_or(0.0, |value| if heat.full > 0.0 { (value.abs() / heat.full).min(1.0) } else { 0.0 });
    let sign = match value {
        None => "none",
        Some(value) if value < 0.0 => "negative",
        Some(_) => "positive",
    };
    let (x, y) = (frame.x(column), frame.y(row));
    let strength = if share > 0.55 { "strong" } else { "weak" };
    html! {
        g class="cell" {
            title { (cell_in_words(heat, row, column)) }
            rect class=(sign) x=(at(x)) y=(at(y)) width=(at(frame.cell.0 - 1.5)) height=(at(frame.cell.1 - 1.5)) rx="2"
                fill-opacity=(if value.is_some() { format!("{share:.3}") } else { "1".to_owned() }) {}
            @if let (Some(value), true) = (value, frame.numbers) {
                text class=(strength) x=(at(x + frame.cell.0 / 2.0 - 0.75)) y=(at(y + frame.cell.1 / 2.0 + 3.5)) {
                    (number::fixed(value, if heat.full < 1.0 { 2 } else { 1 }))
                }
            }
            @if is_marked(heat, row, column) {
                circle class=(strength) cx=(at(x + frame.cell.0 - 6.5)) cy=(at(y + 5.0)) r="2" {}
            }
        }
    }
}

fn scale(heat: &Heat, x: f64, y: f64) -> Markup {
    let steps: i32 = 10;
    let digits = if heat.full < 1.0 { 2 } else { 1 };
    html! {
        g class="cell" aria-hidden="true" {
            text class="scalelabel end" x=(at(x + 18.0)) y=(at(y + 9.0)) { (number::fixed(-heat.full, digits)) }
            @for step in 0..=2 * steps {
                rect class=(if step < steps { "negative" } else { "positive" }) x=(at(x + 24.0 + 5.0 * f64::from(step))) y=(at(y)) width="5" height="10"
                    fill-opacity=(format!("{:.2}", f64::from(i32::abs(step - steps)) / f64::from(steps))) {}
            }
            text class="scalelabel" x=(at(x + 24.0 + 5.0 * f64::from(2 * steps + 1) + 6.0)) y=(at(y + 9.0)) {
                (number::fixed(heat.full, digits)) " nats"
            }
        }
    }
}

fn q_value(grid: &EffectGrid, row: usize, column: usize) -> Option<f64> {
    grid.q_values.get(row).and_then(|row| row.get(column)).copied().flatten()
}

/// One cell in words: `layer 2, last: 1.83 nats (q < 0.001)`.
fn cell_in_words(heat: &Heat, row: usize, column: usize) -> String {
    let label = |labels: &[String], index: usize| labels.get(index).cloned().unwrap_or_default();
    let place = format!(
        "{} {}, {} {}",
        heat.axes.0,
        label(&heat.grid.rows, row),
        heat.axes.1,
        label(&heat.grid.columns, column)
    );
    let value = heat.grid.values.get(row).and_then(|row| row.get(column)).copied().flatten();
    match (value.filter(|value| value.is_finite()), q_value(&heat.grid, row, column)) {
        (None, _) => format!("{place}: not measured"),
        (Some(value), None) => format!("{place}: {} nats", number::significant(value)),
        (Some(value), Some(q)) => format!("{place}: {} nats (q {})", number::significant(value), number::p_value(q)),
    }
}

fn strongest_in_words(heat: &Heat) -> String {
    let cells = heat.grid.values.iter().enumerate().flat_map(|(row, values)| {
        values
            .iter()
            .enumerate()
            .filter_map(move |(column, value)| value.filter(|v| v.is_finite()).map(|v| (row, column, v)))
    });
    match cells.max_by(|a, b| a.2.abs().total_cmp(&b.2.abs())) {
        Some((row, column, _)) => format!("strongest at {}", cell_in_words(heat, row, column)),
        None => "nothing was measured".to_owned(),
    }
}
