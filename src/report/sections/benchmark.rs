//! The sections of the benchmark's page.

use super::{distinct, estimate_cell, paragraph, picture_note};
use crate::report::benchmark::{BenchmarkPage, CalibrationPoint, MethodTable, Trap};
use crate::report::document::{Block, Cell, Column, Document, Figure, Section, Table, Tone};
use crate::report::figure::{Chart, ChartLine, Ideal, Spread};
use crate::report::number;
use crate::report::words::capitalised;
use crate::stats::PatchDirection;

/// From this share of wrong nodes on a method counts as fallen into a trap.
const FALLEN: f64 = 0.5;

/// The whole page.
pub(in crate::report) fn document(page: &BenchmarkPage) -> Document {
    let mut sections = vec![traps(page), methods(page)];
    sections.extend(calibration(&page.calibration));
    if !page.command.is_empty() {
        let blocks = vec![Block::Preformatted(page.command.clone())];
        sections.push(Section { id: "provenance", title: "To make this again".to_owned(), blocks });
    }
    Document {
        title: "Pathway discovery on planted models".to_owned(),
        subtitle: page.subtitle.clone(),
        sections,
        origin: "Made by Counterpath from pathways.json, which holds every number; pathways.md beside it is the same as text.".to_owned(),
    }
}

fn traps(page: &BenchmarkPage) -> Section {
    let mut blocks = vec![paragraph(
        "Every model has nodes of which it is known whether they lie on a pathway, some of them built so that a method of \
         some kind gets them wrong. Each method names as many nodes as are truly on a pathway; the tables give the share \
         of a trap's nodes that it then gets wrong. A share of half or more is marked.",
    )];
    for tier in distinct(page.traps.iter().map(|trap| trap.tier.as_str())) {
        blocks.push(Block::Heading(format!("{} models", capitalised(tier))));
        let own: Vec<&Trap> = page.traps.iter().filter(|trap| trap.tier == tier).collect();
        for (on, caption) in [(true, "On a pathway: share missed"), (false, "On no pathway: share taken for one")] {
            let traps: Vec<&Trap> = own.iter().filter(|trap| trap.on_pathway == on).copied().collect();
            blocks.extend(trap_table(&traps, caption).map(Block::Table));
        }
    }
    if !page.dormant.is_empty() {
        blocks.push(paragraph(page.dormant.as_str()));
    }
    Section { id: "traps", title: "Who falls into which trap".to_owned(), blocks }
}

/// Methods by traps.
fn trap_table(traps: &[&Trap], caption: &str) -> Option<Table> {
    let first = traps.first()?;
    let mut columns = vec![Column::text("method")];
    columns.extend(traps.iter().map(|trap| Column::number(format!("{} ({})", trap.label, trap.nodes))));
    let row = |(at, (method, _)): (usize, &(String, f64))| {
        let share = |trap: &&Trap| match trap.fallen.get(at) {
            Some((_, share)) if *share >= FALLEN => Cell::default().badge(Tone::Bad, percent(*share)),
            Some((_, share)) => Cell::new(percent(*share)),
            None => Cell::new("–"),
        };
        std::iter::once(Cell::new(method.as_str())).chain(traps.iter().map(share)).collect()
    };
    let rows = first.fallen.iter().enumerate().map(row).collect();
    Some(Table { caption: format!("{caption} (number of nodes in brackets)"), columns, rows })
}

fn percent(share: f64) -> String {
    format!("{} %", number::fixed(100.0 * share, 0))
}

fn methods(page: &BenchmarkPage) -> Section {
    let mut blocks = vec![paragraph(
        "Scores are ranked by magnitude. Brackets are 95 % intervals over models; AUROC is by rank, precision and recall are at \
         the true number of units.",
    )];
    for table in &page.tables {
        blocks.push(Block::Heading(capitalised(&table.title)));
        blocks.push(paragraph(table.note.as_str()));
        blocks.push(Block::Table(method_table(table)));
        blocks.extend(differences(table));
    }
    if !page.accepted.is_empty() {
        let lines = page.accepted.iter().map(|line| vec![crate::report::document::text(line.as_str())]).collect();
        blocks.push(Block::Details("Acceptance of the trained models".to_owned(), vec![Block::List(lines)]));
    }
    Section { id: "methods", title: "Methods".to_owned(), blocks }
}

fn method_table(table: &MethodTable) -> Table {
    let columns = vec![
        Column::text("method"),
        Column::number("AUROC"),
        Column::number("average precision"),
        Column::number("precision"),
        Column::number("recall"),
    ];
    let rows = table.rows.iter().map(|row| {
        let numbers = [&row.auroc, &row.average_precision, &row.precision, &row.recall];
        let cells = numbers.map(|estimate| match estimate.interval {
            // Few models leave no interval; the reason is told once, below the table.
            None => Cell::new(number::value(estimate, "")),
            Some(_) => estimate_cell(estimate, ""),
        });
        std::iter::once(Cell::new(row.method.as_str())).chain(cells).collect()
    });
    Table { caption: String::new(), columns, rows: rows.collect() }
}

fn differences(table: &MethodTable) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(reason) = table.rows.iter().find_map(|row| row.auroc.undefined.as_ref()) {
        blocks.push(paragraph(format!("Where an interval is missing: {reason}.")));
    }
    let Some((clear, tested)) = table.compared.filter(|(_, tested)| *tested > 0) else { return blocks };
    let columns = vec![Column::text("methods"), Column::number("difference of AUROC"), Column::number("q")];
    let rows = table.differences.iter().map(|row| {
        vec![
            Cell::new(row.methods.as_str()),
            estimate_cell(&row.difference, ""),
            Cell::new(row.adjusted.map_or_else(|| "–".to_owned(), number::p_value)),
        ]
    });
    let largest = Table { caption: "The largest differences".to_owned(), columns, rows: rows.collect() };
    let told = format!("{clear} of {tested} paired differences of AUROC hold at a false-discovery rate of 5 %");
    blocks.push(Block::Details(told, vec![Block::Table(largest)]));
    blocks
}

fn calibration(points: &[CalibrationPoint]) -> Option<Section> {
    if points.is_empty() {
        return None;
    }
    let mut blocks = vec![
        paragraph(
            "Exact effects, sign flips over pairs, Benjamini–Hochberg over a model's nodes, at several strengths of the planted \
             paths; strength 0 plants nothing.",
        ),
        picture_note("On the dashed line the actual rate is the claimed one; below it the claim is kept."),
    ];
    let directions = [(PatchDirection::Noise, "Noising"), (PatchDirection::Denoise, "Denoising")];
    let figures = directions.iter().filter_map(|(direction, name)| panel(points, *direction, name).map(Figure::Chart));
    blocks.push(Block::Figures(figures.collect()));
    blocks.push(Block::Details("Every point".to_owned(), vec![Block::Table(every_point(points, &directions))]));
    Some(Section { id: "calibration", title: "Claimed and actual false-discovery rate".to_owned(), blocks })
}

/// One direction: a line a strength.
fn panel(points: &[CalibrationPoint], direction: PatchDirection, name: &str) -> Option<Chart> {
    let own: Vec<&CalibrationPoint> = points.iter().filter(|point| point.direction == direction).collect();
    let mut strengths: Vec<f64> = own.iter().map(|point| point.strength).collect();
    strengths.dedup();
    let line = |(at, strength): (usize, &f64)| ChartLine {
        label: format!("strength {strength}"),
        style: at % 8,
        points: own
            .iter()
            .filter(|point| point.strength == *strength)
            .map(|point| (point.claimed, point.actual.clone()))
            .collect(),
    };
    (!own.is_empty()).then(|| Chart {
        caption: name.to_owned(),
        axes: ("claimed rate".to_owned(), "actual rate".to_owned()),
        spread: Spread::Linear,
        ideal: Ideal::Diagonal,
        lines: strengths.iter().enumerate().map(line).collect(),
        marks: Vec::new(),
    })
}

fn every_point(points: &[CalibrationPoint], directions: &[(PatchDirection, &str)]) -> Table {
    let columns = vec![
        Column::text("direction and strength"),
        Column::number("claimed"),
        Column::number("actual"),
        Column::number("discoveries a model"),
        Column::number("power"),
    ];
    let rows = points.iter().map(|point| {
        let direction = directions.iter().find(|(direction, _)| *direction == point.direction);
        vec![
            Cell::new(format!("{}, {}", direction.map_or("", |(_, name)| name), point.strength)),
            Cell::new(point.claimed.to_string()),
            estimate_cell(&point.actual, ""),
            Cell::new(number::fixed(point.discoveries, 2)),
            Cell::new(point.power.map_or_else(|| "–".to_owned(), |power| number::fixed(power, 3))),
        ]
    });
    Table { caption: "Every point of the curve".to_owned(), columns, rows: rows.collect() }
}
