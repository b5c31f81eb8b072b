//! A gate as Markdown and as text.

use super::super::markdown::{grid, list};
use super::{Correction, Gate, GateCheck, Outcome};

const ORDER: [Outcome; 4] = [Outcome::Failed, Outcome::Missing, Outcome::Undecided, Outcome::Passed];

fn ordered(gate: &Gate) -> impl Iterator<Item = &GateCheck> {
    ORDER.into_iter().flat_map(|outcome| gate.checks.iter().filter(move |check| check.outcome == outcome))
}

fn verdict(gate: &Gate) -> String {
    let parts = ORDER.iter().map(|outcome| format!("{} {}", gate.count(*outcome), outcome.word()));
    let state = if gate.closing() > 0 { "closed" } else { "open" };
    format!("The gate is {state}: {}", parts.collect::<Vec<_>>().join(", "))
}

fn method(gate: &Gate) -> String {
    let correction = match gate.correction {
        Correction::Holm => "Holm",
        Correction::Bh => "Benjamini–Hochberg",
        Correction::None => "no correction",
    };
    format!(
        "α = {}, {correction} over {} regression checks; passing needs the interval of level {:.0} % inside the margin; \
         numbers of items at {:.0} % power.",
        gate.alpha,
        gate.family,
        100.0 * (1.0 - 2.0 * gate.alpha),
        100.0 * gate.power
    )
}

/// What closes the gate first, in one table.
pub(super) fn markdown(gate: &Gate) -> String {
    let against = gate.baseline.as_ref().map_or_else(String::new, |baseline| format!(" against {baseline}"));
    let headings = ["outcome", "candidate", "rule", "metric", "population", "why"].map(str::to_owned);
    let rows: Vec<Vec<String>> = ordered(gate)
        .map(|check| {
            let of = check.clone();
            vec![of.outcome.word().to_owned(), of.candidate, of.rule, of.metric, of.population, of.message]
        })
        .collect();
    let heading = format!("# Gate{}\n\n{}.\n\n", super::super::markdown::escape(&against), verdict(gate));
    format!("{heading}{}{}{}\n", grid(&headings, &rows), list(&gate.notes), method(gate))
}

/// The same for a terminal: a line a check.
pub(super) fn text(gate: &Gate) -> String {
    let mut out = String::new();
    for check in ordered(gate) {
        let place = format!("{} of {} in {}", check.metric, check.population, check.candidate);
        out.push_str(&format!("{:<9}  {}: {place}: {}\n", check.outcome.word(), check.rule, check.message));
    }
    out.extend(gate.notes.iter().map(|note| format!("! {note}\n")));
    out.push_str(&format!("\n{}.\n{}\n", verdict(gate), method(gate)));
    out
}
