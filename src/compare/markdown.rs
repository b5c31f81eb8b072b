//! The comparison as Markdown, for pull requests and reports.

use super::settings::objective_name;
use super::words::{number, p_text};
use super::{CandidateComparison, Comparison, MetricComparison, pareto_table, table};

/// The whole comparison.
pub(super) fn render(comparison: &Comparison) -> String {
    let mut out = format!("# {} and what became of it\n\n", escape(&comparison.baseline));
    for candidate in &comparison.candidates {
        out.push_str(&section(candidate, &comparison.baseline));
    }
    if let Some(pareto) = &comparison.pareto {
        out.push_str("## All objectives at once\n\n");
        out.push_str(&grid(&pareto_table::headings(pareto), &pareto_table::rows(pareto)));
        out.push_str(&list(&pareto_table::definitions(pareto)));
        out.push_str("Dominance (no objective worse, one better), shares of joint bootstrap replicates:\n\n");
        out.push_str(&list(&pareto_table::dominance(pareto)));
        out.push_str("What each gain over the baseline cost:\n\n");
        out.push_str(&list(&pareto_table::trades(pareto)));
    }
    if !comparison.notes.is_empty() {
        out.push_str("## Before comparing\n\n");
        out.push_str(&list(&comparison.notes));
    }
    out.push_str(&format!(
        "{:.0} % intervals from {} cluster-bootstrap replicates; Holm over {} headline tests at α = {}.\n",
        100.0 * comparison.level,
        comparison.replicates,
        comparison.family,
        comparison.alpha
    ));
    out
}

fn section(candidate: &CandidateComparison, baseline: &str) -> String {
    let mut out = format!("## {} against {}\n\n", escape(&candidate.name), escape(baseline));
    let headings =
        ["metric", "population", "baseline", "candidate", "difference", "corrected p", "McNemar p", "verdict"];
    let mut rows: Vec<&MetricComparison> = candidate.rows.iter().collect();
    rows.sort_by_key(|row| row.objective);
    let rows: Vec<Vec<String>> = rows.into_iter().map(cells).collect();
    out.push_str(&grid(&headings.map(str::to_owned), &rows));
    out.push_str(&list(&table::footnotes(candidate)));
    out
}

fn cells(row: &MetricComparison) -> Vec<String> {
    let value = |value: Option<f64>| value.map_or_else(|| "undefined".to_owned(), number);
    vec![
        format!("{} ({})", row.metric, objective_name(row.objective)),
        row.population.clone(),
        value(row.baseline.value),
        value(row.candidate.value),
        table::difference(&row.difference),
        row.adjusted_p.map_or_else(|| "–".to_owned(), p_text),
        row.mcnemar.map_or_else(|| "–".to_owned(), p_text),
        table::verdict(row),
    ]
}

pub(super) fn grid(headings: &[String], rows: &[Vec<String>]) -> String {
    let line =
        |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| escape(cell)).collect::<Vec<_>>().join(" | "));
    let rule = format!("|{}\n", " --- |".repeat(headings.len()));
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{rule}{body}\n", line(headings))
}

pub(super) fn list(lines: &[String]) -> String {
    match lines.is_empty() {
        true => String::new(),
        false => lines.iter().map(|line| format!("* {}\n", escape(line))).collect::<String>() + "\n",
    }
}

/// Text that no Markdown table or tag can be broken by.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace('\n', " ")
}
