//! The comparison as a terminal shows it.

use super::settings::objective_name;
use super::{CandidateComparison, Comparison, MetricComparison, Test, Verdict};
use crate::stats::{Direction, Equivalence, Estimate};

const HEADER: [&str; 8] =
    ["metric", "population", "better", "baseline", "candidate", "difference", "corrected p", "verdict"];

/// The whole table, one block a candidate, with what a reader must know at the end.
pub(super) fn render(comparison: &Comparison) -> String {
    let mut out = String::new();
    for candidate in &comparison.candidates {
        out.push_str(&format!("{} against {}\n\n", candidate.name, comparison.baseline));
        out.push_str(&grid(candidate));
        for line in footnotes(candidate) {
            out.push_str(&format!("  {line}\n"));
        }
        out.push('\n');
    }
    out.push_str(&format!(
        "Differences are candidate − baseline over the same items, {:.0} % intervals from {} cluster-bootstrap \
         replicates.\np-values: whole clusters trade places (t: Student's t on clusters, where clusters are too few for \
         the family), Holm-corrected over {} headline tests at α = {};\n~ marks exploratory metrics, corrected by \
         Benjamini–Hochberg among themselves.\nEquivalent: the {:.0} % interval lies inside the margin. Undecided is no \
         \"no harm\": `detectable` is the smallest difference that these\nitems would have shown with {:.0} % power.\n",
        100.0 * comparison.level,
        comparison.replicates,
        comparison.family,
        comparison.alpha,
        100.0 * (1.0 - 2.0 * comparison.alpha),
        100.0 * comparison.power,
    ));
    out
}

fn grid(candidate: &CandidateComparison) -> String {
    let mut lines: Vec<(Option<&'static str>, Vec<String>)> =
        vec![(None, HEADER.iter().map(|title| (*title).to_owned()).collect())];
    let mut rows: Vec<&MetricComparison> = candidate.rows.iter().collect();
    rows.sort_by_key(|row| row.objective);
    lines.extend(rows.iter().map(|row| (Some(objective_name(row.objective)), cells(row))));
    let width = |column: usize| lines.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..HEADER.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    let mut objective = None;
    for (of, cells) in &lines {
        if *of != objective {
            out.push_str(&format!("{}\n", of.unwrap_or_default()));
            objective = *of;
        }
        let mut line = String::from("  ");
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - length(cell) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cells(row: &MetricComparison) -> Vec<String> {
    let better = match row.direction {
        Direction::Higher => "higher",
        Direction::Lower => "lower",
        Direction::Descriptive => "-",
    };
    let value = |estimate: &Estimate| estimate.value.map_or("undefined".to_owned(), number);
    vec![
        row.metric.clone(),
        row.population.clone(),
        better.to_owned(),
        value(&row.baseline),
        value(&row.candidate),
        difference(&row.difference),
        row.adjusted_p.map_or("-".to_owned(), |p| format!("{}{}", p_text(p), marks(row))),
        verdict(row),
    ]
}

fn marks(row: &MetricComparison) -> &'static str {
    match (row.headline, row.test == Some(Test::ClusterT)) {
        (true, false) => "",
        (true, true) => " t",
        (false, false) => " ~",
        (false, true) => " t~",
    }
}

fn difference(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "undefined".into() };
    let sign = if value > 0.0 { "+" } else { "" };
    match estimate.interval {
        Some(interval) => format!("{sign}{} [{}, {}]", number(value), number(interval.low), number(interval.high)),
        None => format!("{sign}{} (no interval)", number(value)),
    }
}

fn verdict(row: &MetricComparison) -> String {
    let mut text = row.verdict.word().to_owned();
    let claim = matches!(row.verdict, Verdict::Better | Verdict::Worse | Verdict::Changed);
    match (row.margin, row.minimum_detectable) {
        (Some(margin), _) if claim && row.equivalence == Some(Equivalence::Equivalent) => {
            text.push_str(&format!(", within ±{}", number(margin)));
        }
        (Some(margin), _) if row.verdict == Verdict::Equivalent => {
            text.push_str(&format!(" within ±{}", number(margin)))
        }
        (_, Some(detectable)) if row.verdict == Verdict::Undecided => {
            text.push_str(&format!(" (detectable {})", number(detectable)));
        }
        _ => {}
    }
    if row.verdict == Verdict::Undecided && row.no_harm == Some(true) {
        text.push_str(", no harm beyond the margin");
    }
    text
}

fn footnotes(candidate: &CandidateComparison) -> Vec<String> {
    let mut notes = Vec::new();
    for row in &candidate.rows {
        let place = format!("{} of {}", row.metric, row.population);
        if let Some(reason) = &row.difference.undefined {
            notes.push(format!("! {place}: {reason}"));
        }
        if let Some(caution) = &row.caution {
            notes.push(format!("! {place}: {caution}"));
        }
        if let Some(flips) = row.flips.as_ref().filter(|flips| !flips.gained.is_empty() || !flips.lost.is_empty()) {
            let (gained, lost, unchanged) = (flips.gained.len(), flips.lost.len(), flips.unchanged);
            notes.push(format!("{place}: {gained} items went 0 → 1, {lost} went 1 → 0, {unchanged} stayed"));
        }
    }
    notes.extend(candidate.unmatched.iter().map(|name| format!("! not compared: {name}")));
    notes
}

/// Four significant digits' worth, plain in the range that tables have.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e4).contains(&size) => {
            let decimals = if size >= 100.0 {
                1
            } else if size >= 10.0 {
                2
            } else {
                3
            };
            format!("{value:.decimals$}")
        }
        size if size < 1e-12 => "0".into(),
        _ => format!("{value:.1e}"),
    }
}

fn p_text(p: f64) -> String {
    if p < 0.001 { "<0.001".into() } else { format!("{p:.3}") }
}
