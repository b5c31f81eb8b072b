//! The comparison as a terminal shows it.

use super::settings::objective_name;
use super::words::{number, p_text};
use super::{CandidateComparison, Comparison, MetricComparison, Pareto, Test, Verdict, pareto_table};
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
    if let Some(found) = &comparison.pareto {
        out.push_str(&pareto(found));
    }
    out.extend(comparison.notes.iter().map(|note| format!("! {note}\n")));
    out.push_str(&format!(
        "Differences are candidate − baseline over the same items, {:.0} % intervals from {} cluster-bootstrap \
         replicates.\np-values: whole clusters trade places (t: Student's t on clusters, where clusters are too few for \
         the family; z: unpaired, one run has no items), Holm-corrected over {} headline tests at α = {};\n~ marks exploratory metrics, corrected by \
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
    let widths = widths(lines.iter().map(|(_, cells)| cells.as_slice()));
    let mut out = String::new();
    let mut objective = None;
    for (of, cells) in &lines {
        if *of != objective {
            out.push_str(&format!("{}\n", of.unwrap_or_default()));
            objective = *of;
        }
        out.push_str(&padded(cells, &widths));
    }
    out
}

fn widths<'a>(lines: impl Iterator<Item = &'a [String]>) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for cells in lines {
        widths.resize(widths.len().max(cells.len()), 0);
        widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = length(cell).max(*width));
    }
    widths
}

fn padded(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::from("  ");
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width - length(cell) + 2));
    }
    format!("{}\n", line.trim_end())
}

/// All objectives at once, with what stands for each, who dominates whom, and what gains cost.
fn pareto(pareto: &Pareto) -> String {
    let mut lines = vec![pareto_table::headings(pareto)];
    lines.extend(pareto_table::rows(pareto));
    let widths = widths(lines.iter().map(Vec::as_slice));
    let mut out = String::from("all objectives at once\n\n");
    out.extend(lines.iter().map(|cells| padded(cells, &widths)));
    let parts = [pareto_table::definitions(pareto), pareto_table::dominance(pareto), pareto_table::trades(pareto)];
    for (title, lines) in ["", "dominance", "trades"].into_iter().zip(parts) {
        out.push_str(&if title.is_empty() { "\n".to_owned() } else { format!("{title}\n") });
        out.extend(lines.iter().map(|line| format!("  {line}\n")));
    }
    out.push('\n');
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
    match (row.headline, row.test) {
        (true, Some(Test::Unpaired)) => " z",
        (false, Some(Test::Unpaired)) => " z~",
        (true, Some(Test::ClusterT)) => " t",
        (false, Some(Test::ClusterT)) => " t~",
        (true, _) => "",
        (false, _) => " ~",
    }
}

pub(super) fn difference(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "undefined".into() };
    let sign = if value > 0.0 { "+" } else { "" };
    match estimate.interval {
        Some(interval) => format!("{sign}{} [{}, {}]", number(value), number(interval.low), number(interval.high)),
        None => format!("{sign}{} (no interval)", number(value)),
    }
}

pub(super) fn verdict(row: &MetricComparison) -> String {
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

pub(super) fn footnotes(candidate: &CandidateComparison) -> Vec<String> {
    let mut notes = Vec::new();
    let mut reasons: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for row in &candidate.rows {
        let place = format!("{} of {}", row.metric, row.population);
        for reason in row.difference.undefined.iter().chain(&row.caution) {
            match reasons.iter_mut().find(|(told, of, _)| *told == reason && *of == row.population) {
                Some((.., metrics)) => metrics.push(&row.metric),
                None => reasons.push((reason, &row.population, vec![&row.metric])),
            }
        }
        if let Some(flips) = row.flips.as_ref().filter(|flips| !flips.gained.is_empty() || !flips.lost.is_empty()) {
            let (gained, lost, unchanged) = (flips.gained.len(), flips.lost.len(), flips.unchanged);
            let mcnemar = row.mcnemar.map_or_else(String::new, |p| format!("; McNemar exact p {}", p_text(p)));
            notes.push(format!("{place}: {gained} items went 0 → 1, {lost} went 1 → 0, {unchanged} stayed{mcnemar}"));
        }
    }
    let told = |(reason, population, metrics): (&str, &str, Vec<&str>)| {
        format!("! {} of {population}: {reason}", metrics.join(", "))
    };
    notes.extend(reasons.into_iter().map(told));
    notes.extend(candidate.unmatched.iter().map(|name| format!("! not compared: {name}")));
    notes
}
