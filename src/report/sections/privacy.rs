//! Privacy: what membership in the tuning data changed, from canaries decided by coin flips.

use super::{View, estimate_cell, optional_cell, paragraph, titled};
use crate::report::document::{Block, Cell, Column, Section, Table, Tone};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::population_in_words;
use crate::stats::{MetricScore, Objective};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let scores = view.scored(|score| score.objective == Objective::Privacy);
    let canaries = &view.data.summary.canaries;
    if scores.is_empty() && canaries.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> = glossary.introduce(&["canary", "auc"]).into_iter().collect();
    let included = canaries.iter().filter(|canary| canary.included).count();
    if !canaries.is_empty() {
        blocks.push(paragraph(format!(
            "The coin put {included} of {} canaries into the tuning data and left {} out. The base model saw neither, so its \
             row shows what chance looks like.",
            canaries.len(),
            canaries.len() - included
        )));
    }
    if !scores.is_empty() {
        blocks.push(Block::Table(table(view, &scores)));
    }
    if !canaries.is_empty() {
        blocks.push(Block::Details("The canaries and their coin flips".to_owned(), vec![Block::Table(flips(view))]));
    }
    titled("privacy", "Privacy", blocks)
}

fn table(view: &View<'_>, scores: &[&MetricScore]) -> Table {
    let label = |score: &MetricScore| {
        let (name, _) = crate::report::words::metric_in_words(&score.metric, &score.note);
        format!("{name}, {}", number::unit_in_words(&score.unit))
    };
    let columns = std::iter::once(Column::text("arm")).chain(scores.iter().map(|score| Column::number(label(score))));
    let rows = view.arms.iter().map(|arm| {
        let cells = scores.iter().map(|score| {
            let own = arm.record.score(&score.metric, &score.population);
            match own {
                Some(own) => estimate_cell(&own.estimate, &own.unit),
                None => optional_cell(None, &score.unit),
            }
        });
        std::iter::once(Cell::new(arm.label())).chain(cells).collect()
    });
    let populations = super::distinct(scores.iter().map(|score| score.population.as_str()));
    let caption = populations.iter().map(|population| population_in_words(population)).collect::<Vec<_>>().join(", ");
    Table { caption: format!("Membership: {caption}"), columns: columns.collect(), rows: rows.collect() }
}

fn flips(view: &View<'_>) -> Table {
    let columns = vec![Column::text("canary"), Column::text("text"), Column::text("coin")];
    let rows = view.data.summary.canaries.iter().map(|canary| {
        let (tone, word) = if canary.included { (Tone::Unsure, "in") } else { (Tone::Neutral, "left out") };
        vec![Cell::code(canary.id.as_str()), Cell::new(canary.text.as_str()), Cell::default().badge(tone, word)]
    });
    Table { caption: "Coin flips".to_owned(), columns, rows: rows.collect() }
}
