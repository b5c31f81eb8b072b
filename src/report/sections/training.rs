//! The training curves, one panel a term, and what the clock says.

use super::{View, distinct, paragraph, picture_note, titled};
use crate::report::document::{Block, Cell, Column, Figure, Section, Table};
use crate::report::figure::{Curve, Curves};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::capitalised;

pub(super) fn section(view: &View<'_>, _: &mut Glossary) -> Option<Section> {
    let curves = &view.data.summary.curves;
    let mut blocks = Vec::new();
    if !curves.is_empty() {
        blocks.push(paragraph(format!(
            "Each term of the training objective is logged alone and unweighted.{}",
            budget(view).unwrap_or_default()
        )));
        blocks.push(picture_note("Lines are moving averages over a twentieth of the steps; a thin line is an arm that was not trained on the term."));
        let shown = view.arms.iter().filter(|arm| curves.iter().any(|curve| curve.arm == arm.name));
        blocks.push(Block::Legend(shown.map(|arm| (arm.index, arm.label())).collect()));
        let terms = distinct(curves.iter().map(|curve| curve.term.as_str()));
        blocks.push(Block::Figures(terms.into_iter().map(|term| panel(view, term)).collect()));
    }
    let timings = &view.data.timings;
    if !timings.stages.is_empty() {
        blocks.push(Block::Details(
            format!("Seconds of each stage ({} together)", number::seconds(timings.total_seconds())),
            vec![Block::Table(stages(view))],
        ));
    }
    if blocks.is_empty() { None } else { titled("training", "Training", blocks) }
}

/// Whether the arms had the same budget, as far as the records show it.
fn budget(view: &View<'_>) -> Option<String> {
    let parameters: Vec<usize> =
        view.arms.iter().filter_map(|arm| Some(arm.record.adapter.as_ref()?.parameters)).collect();
    // Steps are counted from 0 or from 1; either way the count is what the reader wants.
    let last_step = |arm: &str| {
        let points =
            || view.data.summary.curves.iter().filter(|curve| curve.arm == arm).flat_map(|curve| &curve.points);
        let (first, last) = (points().map(|(step, _)| *step).min()?, points().map(|(step, _)| *step).max()?);
        Some(if first == 0 { last + 1 } else { last })
    };
    let steps: Vec<u64> = view.arms.iter().filter_map(|arm| last_step(arm.name)).collect();
    let (first, step) = (parameters.first()?, steps.first()?);
    let equal = parameters.iter().all(|n| n == first) && steps.iter().all(|n| n == step);
    Some(match equal {
        true => format!(" Every arm has {} trainable parameters and {step} steps.", number::count(*first)),
        false => {
            " The arms differ in trainable parameters or steps, so that their results do not compare at equal budget."
                .to_owned()
        }
    })
}

fn panel(view: &View<'_>, term: &str) -> Figure {
    let lines = view.arms.iter().filter_map(|arm| {
        let curve = view.data.summary.curves.iter().find(|curve| curve.arm == arm.name && curve.term == term)?;
        Some(Curve {
            label: arm.label(),
            arm: arm.index,
            trained: curve.weight.is_some_and(|w| w != 0.0),
            points: curve.points.clone(),
        })
    });
    Figure::Curves(Curves { caption: capitalised(term), lines: lines.collect() })
}

fn stages(view: &View<'_>) -> Table {
    let columns = vec![Column::text("stage"), Column::text("arm"), Column::text("work"), Column::number("time")];
    let rows = view.data.timings.stages.iter().map(|stage| {
        vec![
            Cell::new(stage.stage.as_str()),
            Cell::new(stage.arm.as_deref().map_or_else(|| "–".to_owned(), crate::report::words::plain)),
            Cell::new(stage.work.as_str()),
            Cell::new(number::seconds(stage.seconds)),
        ]
    });
    Table { caption: "Wall-clock time".to_owned(), columns, rows: rows.collect() }
}
