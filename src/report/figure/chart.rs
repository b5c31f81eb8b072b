//! Lines with intervals over a linear or logarithmic axis, with marks and a line of reference: faithfulness over size,
//! the actual false-discovery rate over the claimed one.

use maud::{Markup, html};

use super::ticks::Axis;
use super::{at, text_width};
use crate::report::number;
use crate::stats::Estimate;

/// What stands on the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Spread {
    /// The value.
    Linear,
    /// Its logarithm to base ten; ticks stand at powers of ten. What is not positive is left out.
    Logarithmic,
}

/// The line that a perfect result lies on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) enum Ideal {
    /// y at one value.
    Level(f64),
    /// y = x.
    Diagonal,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct ChartLine {
    pub(in crate::report) label: String,
    /// A colour and dash of the style sheet.
    pub(in crate::report) style: usize,
    pub(in crate::report) points: Vec<(f64, Estimate)>,
}

/// Values at one place of the horizontal axis, without a line.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct ChartMarks {
    pub(in crate::report) label: String,
    pub(in crate::report) x: f64,
    pub(in crate::report) values: Vec<f64>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Chart {
    pub(in crate::report) caption: String,
    /// What the axes are.
    pub(in crate::report) axes: (String, String),
    pub(in crate::report) spread: Spread,
    pub(in crate::report) ideal: Ideal,
    pub(in crate::report) lines: Vec<ChartLine>,
    pub(in crate::report) marks: Vec<ChartMarks>,
}

const WIDTH: f64 = 340.0;
const PLOT: (f64, f64, f64, f64) = (46.0, 330.0, 10.0, 164.0);
const LEGEND_ROW: f64 = 16.0;

struct Frame {
    x: Axis,
    y: Axis,
    spread: Spread,
}

impl Frame {
    fn of(chart: &Chart) -> Self {
        let xs = chart.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x));
        let xs = xs.chain(chart.marks.iter().map(|marks| marks.x)).filter_map(|x| placed(chart.spread, x));
        let values = chart.lines.iter().flat_map(|line| &line.points).flat_map(|(_, estimate)| {
            let interval = estimate.interval;
            [estimate.value, interval.map(|i| i.low), interval.map(|i| i.high)].into_iter().flatten()
        });
        let values = values.chain(chart.marks.iter().flat_map(|marks| marks.values.iter().copied()));
        let ideal = match chart.ideal {
            Ideal::Level(level) => vec![level],
            Ideal::Diagonal => xs.clone().collect(),
        };
        let anchor = (chart.spread == Spread::Linear).then_some(0.0);
        let x = Axis::over(xs, anchor, PLOT.0 + 6.0, PLOT.1 - 12.0);
        let y = Axis::over(values.chain(ideal), Some(0.0), PLOT.3 - 4.0, PLOT.2 + 4.0);
        Self { x, y, spread: chart.spread }
    }

    fn place(&self, x: f64) -> Option<f64> {
        placed(self.spread, x).map(|x| self.x.pixel(x))
    }

    /// Ticks of the horizontal axis: pixel and text.
    fn x_ticks(&self) -> Vec<(f64, String)> {
        let (ticks, decimals) = match self.spread {
            Spread::Linear => self.x.ticks(4),
            Spread::Logarithmic => (self.x.wholes(), 0),
        };
        let text = |tick: f64| match self.spread {
            Spread::Linear => number::fixed(tick, decimals),
            Spread::Logarithmic => format!("{}", 10f64.powf(tick)),
        };
        ticks.into_iter().map(|tick| (self.x.pixel(tick), text(tick))).collect()
    }
}

fn placed(spread: Spread, x: f64) -> Option<f64> {
    match spread {
        Spread::Linear => Some(x),
        Spread::Logarithmic => (x > 0.0).then(|| x.log10()),
    }
}

/// The chart as SVG.
pub(super) fn draw(chart: &Chart, key: &str) -> Markup {
    let frame = Frame::of(chart);
    let (y_ticks, y_digits) = frame.y.ticks(4);
    let legend = legend_places(chart);
    let rows = legend.last().map_or(0.0, |(_, row, _)| (row + 1) as f64);
    let height = PLOT.3 + 40.0 + LEGEND_ROW * rows;
    html! {
        svg class="curves chart" viewBox={ "0 0 " (at(WIDTH)) " " (at(height)) } role="img" aria-labelledby={ (key) "-t " (key) "-d" } {
            title id={ (key) "-t" } { (chart.caption) }
            desc id={ (key) "-d" } { (in_words(chart)) }
            @for tick in &y_ticks {
                line class=(if *tick == 0.0 { "zero" } else { "grid" }) x1=(at(PLOT.0)) x2=(at(PLOT.1)) y1=(at(frame.y.pixel(*tick))) y2=(at(frame.y.pixel(*tick))) {}
                text class="rowlabel" x=(at(PLOT.0 - 6.0)) y=(at(frame.y.pixel(*tick) + 4.0)) { (number::fixed(*tick, y_digits)) }
            }
            (ideal(chart, &frame))
            @for (x, label) in frame.x_ticks() {
                text class="tick" x=(at(x)) y=(at(PLOT.3 + 16.0)) { (label) }
            }
            text class="axis" x=(at((PLOT.0 + PLOT.1) / 2.0)) y=(at(PLOT.3 + 31.0)) { (chart.axes.0) }
            text class="axis" transform={ "translate(10 " (at((PLOT.2 + PLOT.3) / 2.0)) ") rotate(-90)" } { (chart.axes.1) }
            @for marks in &chart.marks { (draw_marks(marks, &frame)) }
            @for (at, line) in chart.lines.iter().enumerate() { (draw_line(line, &frame, aside(chart, at))) }
            @for (x, row, entry) in legend {
                g transform={ "translate(" (at(x)) " " (at(PLOT.3 + 46.0 + LEGEND_ROW * row as f64)) ")" } { (entry) }
            }
        }
    }
}

fn ideal(chart: &Chart, frame: &Frame) -> Markup {
    let ((x1, y1), (x2, y2)) = match chart.ideal {
        Ideal::Level(level) => ((PLOT.0, frame.y.pixel(level)), (PLOT.1, frame.y.pixel(level))),
        Ideal::Diagonal => {
            let point = |value: f64| (frame.x.pixel(value), frame.y.pixel(value));
            (point(frame.x.low()), point(frame.x.high()))
        }
    };
    html! { line class="ideal" x1=(at(x1)) y1=(at(y1)) x2=(at(x2)) y2=(at(y2)) {} }
}

/// How far a line's points stand aside, in pixels: on a linear axis lines share their places, and their intervals would
/// lie on each other.
fn aside(chart: &Chart, at: usize) -> f64 {
    match chart.spread {
        Spread::Linear => 3.5 * (at as f64 - (chart.lines.len() as f64 - 1.0) / 2.0),
        Spread::Logarithmic => 0.0,
    }
}

fn draw_line(line: &ChartLine, frame: &Frame, aside: f64) -> Markup {
    let finite = || {
        line.points.iter().filter_map(|(x, estimate)| {
            let value = estimate.value.filter(|value| value.is_finite())?;
            Some((*x, frame.place(*x)? + aside, frame.y.pixel(value), estimate))
        })
    };
    let points: Vec<String> = finite().map(|(_, x, y, _)| format!("{},{}", at(x), at(y))).collect();
    html! {
        g class={ "line arm-" (line.style % 8) } {
            title { (line_in_words(line)) }
            polyline points=(points.join(" ")) {}
            @for (share, x, y, estimate) in finite() {
                g {
                    title { (line.label) " at " (number::significant(share)) ": " (number::in_full(estimate, "")) }
                    @if let Some(interval) = estimate.interval {
                        line class="whisker" x1=(at(x)) x2=(at(x)) y1=(at(frame.y.pixel(interval.low))) y2=(at(frame.y.pixel(interval.high))) {}
                    }
                    circle class="dot" cx=(at(x)) cy=(at(y)) r="3" {}
                }
            }
        }
    }
}

fn draw_marks(marks: &ChartMarks, frame: &Frame) -> Markup {
    let Some(x) = frame.place(marks.x) else { return html! {} };
    html! {
        g class="marks" {
            title { (marks_in_words(marks)) }
            @for value in marks.values.iter().filter(|value| value.is_finite()) {
                line x1=(at(x - 5.0)) x2=(at(x + 5.0)) y1=(at(frame.y.pixel(*value))) y2=(at(frame.y.pixel(*value))) {}
            }
        }
    }
}

/// Legend entries with their places: x, row, drawing. As many stand in a row as fit.
fn legend_places(chart: &Chart) -> Vec<(f64, usize, Markup)> {
    let of_line = |line: &ChartLine| {
        let sample = html! {
            g class={ "line arm-" (line.style % 8) } { polyline points="0,-4 20,-4" {} circle class="dot" cx="10" cy="-4" r="3" {} }
            text x="25" y="0" { (line.label) }
        };
        (line.label.clone(), sample)
    };
    let of_marks = |marks: &ChartMarks| {
        let sample = html! {
            g class="marks" { line x1="5" x2="15" y1="-7" y2="-7" {} line x1="5" x2="15" y1="-2" y2="-2" {} }
            text x="25" y="0" { (marks.label) }
        };
        (marks.label.clone(), sample)
    };
    let mut places = Vec::new();
    let (mut x, mut row) = (8.0, 0);
    for (label, sample) in chart.lines.iter().map(of_line).chain(chart.marks.iter().map(of_marks)) {
        let width = 25.0 + text_width(&label, 11.0) + 14.0;
        if x > 8.0 && x + width > WIDTH {
            (x, row) = (8.0, row + 1);
        }
        places.push((x, row, sample));
        x += width;
    }
    places
}

fn line_in_words(line: &ChartLine) -> String {
    let point = |(x, estimate): &(f64, Estimate)| match estimate.value {
        Some(value) => format!("{} at {}", number::significant(value), number::significant(*x)),
        None => format!("undefined at {}", number::significant(*x)),
    };
    format!("{}: {}", line.label, line.points.iter().map(point).collect::<Vec<_>>().join(", "))
}

fn marks_in_words(marks: &ChartMarks) -> String {
    let finite = || marks.values.iter().copied().filter(|value| value.is_finite());
    match (finite().reduce(f64::min), finite().reduce(f64::max)) {
        (Some(low), Some(high)) => format!(
            "{} at {}: {} from {} to {}",
            marks.label,
            number::significant(marks.x),
            finite().count(),
            number::significant(low),
            number::significant(high)
        ),
        _ => format!("{}: none", marks.label),
    }
}

/// Everything in words, for those who cannot see the picture.
fn in_words(chart: &Chart) -> String {
    let lines = chart.lines.iter().map(line_in_words);
    lines.chain(chart.marks.iter().map(marks_in_words)).collect::<Vec<_>>().join("; ")
}

/// Rows of a table that says the same: a heading of each column, and for each place its values.
pub(in crate::report) fn rows(chart: &Chart) -> (Vec<String>, Vec<Vec<String>>) {
    let mut places: Vec<f64> = chart.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let value = |line: &ChartLine, x: f64| {
        let found = line.points.iter().find(|(place, _)| *place == x);
        found.map_or_else(|| "–".to_owned(), |(_, estimate)| number::in_full(estimate, ""))
    };
    let row = |x: &f64| {
        let values = chart.lines.iter().map(|line| value(line, *x));
        std::iter::once(number::significant(*x)).chain(values).collect()
    };
    let heads = chart.lines.iter().map(|line| line.label.clone());
    (std::iter::once(chart.axes.0.clone()).chain(heads).collect(), places.iter().map(row).collect())
}

/// What marks say, one sentence each.
pub(in crate::report) fn marks(chart: &Chart) -> Vec<String> {
    chart.marks.iter().map(marks_in_words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    fn estimate(value: f64) -> Estimate {
        let interval = Some(Interval { low: value - 0.1, high: value + 0.1, level: 0.95 });
        Estimate { value: Some(value), interval, undefined: None, n: 9, clusters: 3, method: String::new() }
    }

    fn chart() -> Chart {
        let line = |label: &str, style, points| ChartLine { label: label.into(), style, points };
        Chart {
            caption: "f < 1".into(),
            axes: ("share of edges".into(), "faithfulness".into()),
            spread: Spread::Logarithmic,
            ideal: Ideal::Level(1.0),
            lines: vec![
                line("signed", 5, vec![(0.001, estimate(0.0)), (0.1, estimate(0.7)), (1.0, estimate(1.0))]),
                line("absolute", 4, vec![(0.0, estimate(0.2)), (0.1, Estimate::undefined("no effect", 9, 3))]),
            ],
            marks: vec![ChartMarks { label: "random".into(), x: 0.1, values: vec![0.1, -0.2, f64::NAN] }],
        }
    }

    #[test]
    fn powers_of_ten_are_equally_far_and_what_has_no_place_is_left_out() {
        let chart = chart();
        let frame = Frame::of(&chart);
        let (a, b, c) = (frame.place(0.01), frame.place(0.1), frame.place(1.0));
        assert!((c.unwrap() - b.unwrap() - (b.unwrap() - a.unwrap())).abs() < 1e-9);
        assert_eq!(frame.place(0.0), None);
        let labels: Vec<String> = frame.x_ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0.001", "0.01", "0.1", "1"]);
        let svg = draw(&chart, "k").into_string();
        // Of the second line one point has no place and the other no value.
        assert_eq!(svg.matches("class=\"whisker\"").count(), 3);
        assert!(svg.contains("f &lt; 1") && !svg.contains("NaN") && svg.contains("class=\"ideal\""), "{svg}");
        assert!(svg.contains("random at 0.100: 2 from −0.200 to 0.100"), "{svg}");
    }

    #[test]
    fn the_table_says_the_same() {
        let (heads, rows) = rows(&chart());
        assert_eq!(heads, ["share of edges", "signed", "absolute"]);
        assert_eq!(rows[0], ["0", "–", "0.20 [0.10, 0.30]"]);
        assert_eq!(rows[2], ["0.100", "0.70 [0.60, 0.80]", "undefined (no effect)"]);
    }

    #[test]
    fn a_diagonal_runs_where_both_axes_say_the_same() {
        let mut chart = chart();
        (chart.spread, chart.ideal) = (Spread::Linear, Ideal::Diagonal);
        let frame = Frame::of(&chart);
        assert_eq!((frame.x.low(), frame.x.high()), (0.0, 1.0));
        let y = at(frame.y.pixel(1.0));
        let svg = draw(&chart, "k").into_string();
        let line = svg.split("<line class=\"ideal\"").nth(1).expect("a line");
        assert!(line.split('>').next().expect("its end").contains(&format!("y2=\"{y}\"")), "{line}");
    }
}
