//! Why to believe the numbers: the always-on checks and the refuters.

use super::{View, estimate_cell, optional_cell, paragraph, titled};
use crate::report::document::{Block, Cell, Column, Section, Table, Tone};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{plain, population_in_words};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let mut blocks = Vec::new();
    let refutations = refutations(view);
    if !refutations.rows.is_empty() {
        blocks.extend(glossary.introduce(&["refuter"]));
        blocks.push(Block::Table(refutations));
    }
    let checks = checks(view);
    if !checks.rows.is_empty() {
        blocks.push(paragraph(
            "The checks are identities that hold for any model when the machinery works; one that is broken makes every \
             number above suspect.",
        ));
        blocks.push(Block::Table(checks));
    }
    if blocks.is_empty() { None } else { titled("checks", "Attempts to refute, and checks", blocks) }
}

fn refutations(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("refuter"),
        Column::text("arm"),
        Column::number("found there, nats"),
        Column::number("the finding, nats"),
        Column::text("outcome"),
    ];
    let rows = view.arms.iter().flat_map(|arm| {
        arm.record.refutations.iter().map(|refuter| {
            let (tone, word) = if refuter.passed { (Tone::Good, "survived") } else { (Tone::Bad, "REFUTED") };
            vec![
                Cell::new(plain(&refuter.name)).with(format!(
                    "{} · {}",
                    population_in_words(&refuter.population),
                    refuter.detail
                )),
                Cell::new(arm.label()),
                estimate_cell(&refuter.estimate, "nats"),
                optional_cell(refuter.finding.as_ref(), "nats"),
                Cell::default().badge(tone, word),
            ]
        })
    });
    Table { caption: "Refuters".to_owned(), columns, rows: rows.collect() }
}

fn checks(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("check"),
        Column::text("arm"),
        Column::number("largest deviation"),
        Column::number("allowed"),
        Column::text("outcome"),
    ];
    let deviation = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number::significant);
    let rows = view.arms.iter().flat_map(|arm| {
        arm.record.checks.iter().map(move |check| {
            let (tone, word) = if check.passed { (Tone::Good, "holds") } else { (Tone::Bad, "BROKEN") };
            vec![
                Cell::new(check.name.as_str()).with(check.detail.as_str()),
                Cell::new(arm.label()),
                Cell::new(deviation(check.worst)),
                Cell::new(deviation(check.tolerance)),
                Cell::default().badge(tone, word),
            ]
        })
    });
    Table { caption: "Checks".to_owned(), columns, rows: rows.collect() }
}
