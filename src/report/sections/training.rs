//! The training curves, one panel a term, and what the clock says.

use super::{View, distinct, paragraph, titled};
use crate::report::document::{Block, Cell, Column, Figure, Section, Table};
use crate::report::figure::{Curve, Curves};
use crate::report::glossary::{Glossary, capitalised};
use crate::report::number;

pub(super) fn section(view: &View<'_>, _: &mut Glossary) -> Option<Section> {
    let curves = &view.data.summary.curves;
    let mut blocks = Vec::new();
    if !curves.is_empty() {
        blocks.push(paragraph(
            "Each term of the training objective is logged alone and unweighted, in every arm; a thin line is an arm that \
             was not trained on the term. All arms have the same trainable parameters, steps, task tokens and data order.",
        ));
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

fn panel(view: &View<'_>, term: &str) -> Figure {
    let lines = view.arms.iter().filter_map(|arm| {
        let curve = view.data.summary.curves.iter().find(|curve| curve.arm == arm.name && curve.term == term)?;
        Some(Curve { label: arm.label(), arm: arm.index, trained: curve.weight.is_some_and(|w| w != 0.0), points: curve.points.clone() })
    });
    Figure::Curves(Curves { caption: capitalised(term), lines: lines.collect() })
}

fn stages(view: &View<'_>) -> Table {
    let columns = vec![Column::text("stage"), Column::text("arm"), Column::text("work"), Column::number("time")];
    let rows = view.data.timings.stages.iter().map(|stage| {
        vec![
            Cell::new(stage.stage.as_str()),
            Cell::new(stage.arm.as_deref().map_or_else(|| "–".to_owned(), crate::report::glossary::plain)),
            Cell::new(stage.work.as_str()),
            Cell::new(number::seconds(stage.seconds)),
        ]
    });
    Table { caption: "Wall-clock time".to_owned(), columns, rows: rows.collect() }
}
