//! What `circuit` prints.

use counterpath::mediate::circuit::{CircuitEvaluation, CircuitReport};
use counterpath::report::terminal::{self, Align};
use counterpath::stats::Estimate;

/// Width of printed tables.
pub const WIDTH: usize = 120;

/// A circuit's numbers and tests.
pub fn print_report(report: &CircuitReport) {
    print_table(&[row_of("", &report.evaluation)]);
    for estimate in [&report.evaluation.faithfulness, &report.evaluation.complement_faithfulness] {
        if let Some(reason) = &estimate.undefined {
            println!("! {reason}");
        }
    }
    if let Some(judgement) = &report.judgement {
        println!("more faithful than random circuits of its size: p = {:.4}", judgement.random.p_value);
        for test in &judgement.tests {
            let verdict = if test.passed { "passed" } else { "failed" };
            println!("{}: {verdict}, p = {:.4} ({})", test.name, test.p_value, test.null);
        }
        let edges = judgement.superfluous.join(", ");
        let edges = if edges.is_empty() { "none".to_owned() } else { edges };
        println!("minimality: superfluous among {} tested: {edges}", judgement.minimality.len());
    }
}

/// A row of the table: a name, mean metrics, and shares with their intervals.
pub fn row_of(name: &str, of: &CircuitEvaluation) -> Vec<String> {
    let mean = |estimate: &Estimate| estimate.value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let mut row = vec![format!("{name}{}", of.ablation), of.edges.to_string()];
    row.extend([&of.whole, &of.empty, &of.circuit, &of.complement].map(mean));
    row.extend([&of.faithfulness, &of.complement_faithfulness].map(cell));
    row
}

/// An estimate as text.
pub fn cell(estimate: &Estimate) -> String {
    match (estimate.value, estimate.interval) {
        (Some(value), Some(found)) => format!("{value:.3} [{:.3}, {:.3}]", found.low, found.high),
        (Some(value), None) => format!("{value:.3}"),
        (None, _) => "undefined".to_owned(),
    }
}

/// Metrics in nats (M the model, C the circuit, 0 the empty circuit), and the shares of the total effect.
pub fn print_table(rows: &[Vec<String>]) {
    let numbers = ["edges", "m(M)", "m(0)", "m(C)", "m(M-C)", "f(C)", "f(M-C)"];
    let heads: Vec<_> =
        [("ablation", Align::Left)].into_iter().chain(numbers.map(|name| (name, Align::Right))).collect();
    print!("{}", terminal::table(&heads, rows, WIDTH));
}
