//! One term of the training objective over the steps, a line an arm.

use maud::{Markup, html};

use super::at;
use super::ticks::Axis;
use crate::report::number;

/// One arm's line.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Curve {
    /// The arm's name, as printed.
    pub(in crate::report) label: String,
    /// Its place in the order of arms, which decides its colour and dash.
    pub(in crate::report) arm: usize,
    /// Whether the term was trained on (or only logged).
    pub(in crate::report) trained: bool,
    /// Steps and values.
    pub(in crate::report) points: Vec<(u64, f64)>,
}

/// The arms' lines of one term.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Curves {
    pub(in crate::report) caption: String,
    pub(in crate::report) lines: Vec<Curve>,
}

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 190.0;
const PLOT: (f64, f64, f64, f64) = (46.0, 330.0, 10.0, 154.0);

/// The panel as SVG.
pub(super) fn draw(curves: &Curves, key: &str) -> Markup {
    let points: Vec<(u64, f64)> = curves.lines.iter().flat_map(|line| smoothed(&line.points)).collect();
    let x = Axis::over(points.iter().map(|(step, _)| *step as f64), None, PLOT.0, PLOT.1);
    let y = Axis::over(points.iter().map(|(_, value)| *value), Some(0.0), PLOT.3, PLOT.2);
    let (x_ticks, x_digits) = x.ticks(4);
    let (y_ticks, y_digits) = y.ticks(4);
    html! {
        svg class="curves" viewBox={ "0 0 " (at(WIDTH)) " " (at(HEIGHT)) } role="img" aria-labelledby={ (key) "-t" } {
            title id={ (key) "-t" } { (curves.caption) ": " (in_words(curves)) }
            @for tick in &y_ticks {
                line class=(if *tick == 0.0 { "zero" } else { "grid" }) x1=(at(PLOT.0)) x2=(at(PLOT.1)) y1=(at(y.pixel(*tick))) y2=(at(y.pixel(*tick))) {}
                text class="rowlabel" x=(at(PLOT.0 - 6.0)) y=(at(y.pixel(*tick) + 4.0)) { (number::fixed(*tick, y_digits)) }
            }
            @for tick in &x_ticks {
                text class="tick" x=(at(x.pixel(*tick))) y=(at(PLOT.3 + 16.0)) { (number::fixed(*tick, x_digits)) }
            }
            text class="axis" x=(at((PLOT.0 + PLOT.1) / 2.0)) y=(at(PLOT.3 + 32.0)) { "step" }
            @for line in &curves.lines {
                g class={ "line arm-" (line.arm % 8) (if line.trained { "" } else { " logged" }) } {
                    title { (line_in_words(line)) }
                    polyline points=(polyline(line, &x, &y)) {}
                }
            }
        }
    }
}

fn polyline(line: &Curve, x: &Axis, y: &Axis) -> String {
    let points: Vec<String> = smoothed(&line.points)
        .iter()
        .map(|(step, value)| format!("{},{}", at(x.pixel(*step as f64)), at(y.pixel(*value))))
        .collect();
    points.join(" ")
}

/// A centred moving average over a twentieth of the finite points; at the ends over what there is of it.
fn smoothed(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let finite: Vec<(u64, f64)> = points.iter().filter(|(_, value)| value.is_finite()).copied().collect();
    let reach = finite.len() / 40;
    let mean = |at: usize| {
        let window = finite.get(at.saturating_sub(reach)..(at + reach + 1).min(finite.len())).unwrap_or_default();
        window.iter().map(|(_, value)| value).sum::<f64>() / window.len().max(1) as f64
    };
    finite.iter().enumerate().map(|(at, (step, _))| (*step, mean(at))).collect()
}

fn line_in_words(line: &Curve) -> String {
    let mut finite = line.points.iter().filter(|(_, value)| value.is_finite());
    match (finite.next(), line.points.iter().rev().find(|(_, value)| value.is_finite())) {
        (Some((_, first)), Some((step, last))) => {
            let how = if line.trained { "" } else { ", not trained on" };
            format!(
                "{} from {} to {} at step {step}{how}",
                line.label,
                number::significant(*first),
                number::significant(*last)
            )
        }
        _ => format!("{}: no finite value", line.label),
    }
}

fn in_words(curves: &Curves) -> String {
    curves.lines.iter().map(line_in_words).collect::<Vec<_>>().join("; ")
}
