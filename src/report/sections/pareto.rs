//! All objectives at once: values, dominance, and what gains cost.

use super::{View, estimate_cell, paragraph, titled};
use crate::compare::Pareto;
use crate::report::document::{Block, Cell, Column, Section, Table, Tone, text};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::plain;
use crate::stats::{Direction, Objective};

/// The section of a run's report.
pub(super) fn section(view: &View<'_>, _: &mut Glossary) -> Option<Section> {
    let pareto = view.data.comparisons.iter().find_map(|comparison| comparison.pareto.as_ref())?;
    titled("trade-offs", "All objectives at once", blocks(pareto))
}

/// The table with what stands for each objective, who dominates whom, and what each gain cost.
pub(in crate::report) fn blocks(pareto: &Pareto) -> Vec<Block> {
    vec![
        paragraph(format!(
            "One metric stands for each objective. All runs and objectives were resampled together ({} replicates, the \
             same clusters in each); intervals are those of this joint bootstrap. A run is on the front where none is at \
             least as good in all objectives and better in one; the number beside it is the share of replicates in which \
             that holds.",
            pareto.replicates
        )),
        Block::Table(table(pareto)),
        Block::Heading("What each gain cost".to_owned()),
        lines(pareto.trades_in_words()),
        Block::Heading("Who dominates whom".to_owned()),
        lines(pareto.dominance_in_words()),
        Block::Details("What stands for each objective".to_owned(), vec![lines(pareto.definitions())]),
    ]
}

fn lines(lines: Vec<String>) -> Block {
    Block::List(lines.into_iter().map(|line| vec![text(line)]).collect())
}

fn table(pareto: &Pareto) -> Table {
    let objectives = pareto.objectives.iter().map(|of| {
        let better = if of.direction == Direction::Lower { "lower is better" } else { "higher is better" };
        Column::number(format!("{} ({}), {better}", name(of.objective), number::unit_in_words(&of.unit)))
    });
    let columns = [Column::text("run")].into_iter().chain(objectives).chain([Column::number("on the front")]);
    let rows = pareto.runs.iter().map(|run| {
        let values = run.values.iter().zip(&pareto.objectives).map(|(value, of)| estimate_cell(value, &of.unit));
        let (tone, word) = if run.on_front { (Tone::Good, "yes") } else { (Tone::Neutral, "no") };
        let front = Cell::new(format!("{:.2}", run.front_share)).badge(tone, word);
        [Cell::new(plain(&run.name))].into_iter().chain(values).chain([front]).collect()
    });
    Table { caption: "Objectives by run".to_owned(), columns: columns.collect(), rows: rows.collect() }
}

fn name(objective: Objective) -> &'static str {
    match objective {
        Objective::Accuracy => "accuracy",
        Objective::Fairness => "fairness",
        Objective::Robustness => "robustness",
        Objective::Explainability => "explainability",
        Objective::Privacy => "privacy",
        Objective::Calibration => "calibration",
        Objective::Sensitivity => "sensitivity",
    }
}
