//! Why to believe the numbers: the always-on checks and the refuters.

use super::{View, distinct, estimate_cell, optional_cell, paragraph, titled};
use crate::report::document::{Block, Cell, Column, Section, Table, Tone};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{plain, population_in_words};
use crate::stats::{Check, Refutation};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let mut blocks = Vec::new();
    let refutations = refutations(view);
    if !refutations.rows.is_empty() {
        blocks.extend(glossary.introduce(&["refuter"]));
        blocks.push(Block::Table(refutations));
    }
    let made = made(view);
    if !made.is_empty() {
        blocks.push(paragraph(
            "The checks are identities that hold for any model when the machinery works; one that is broken makes every \
             number above suspect.",
        ));
        blocks.push(Block::Table(checks(&made)));
        let broken: Vec<&Made<'_>> = made.iter().filter(|made| !made.check.passed).collect();
        if !broken.is_empty() {
            blocks.push(Block::Table(every_check(&broken, "Broken checks")));
        }
        let all: Vec<&Made<'_>> = made.iter().collect();
        blocks.push(Block::Details("Every check".to_owned(), vec![Block::Table(every_check(&all, "Every check"))]));
    }
    if blocks.is_empty() { None } else { titled("checks", "Attempts to refute, and checks", blocks) }
}

/// What became of an attempt to refute; one that could not be made refutes nothing and supports nothing.
pub(super) fn outcome(refuter: &Refutation) -> (Tone, &'static str) {
    match (refuter.passed, refuter.estimate.value) {
        (true, _) => (Tone::Good, "survived"),
        (false, Some(_)) => (Tone::Bad, "REFUTED"),
        (false, None) => (Tone::Unsure, "not run"),
    }
}

fn refutations(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("refuter"),
        Column::number("found there, nats"),
        Column::number("the finding, nats"),
        Column::text("outcome"),
    ];
    let mut rows = Vec::new();
    for arm in &view.arms {
        let mut population = "";
        for refuter in &arm.record.refutations {
            if refuter.population != population {
                population = &refuter.population;
                rows.push(vec![Cell::new(format!("{}, {}", population_in_words(population), arm.label()))]);
            }
            let (tone, word) = outcome(refuter);
            rows.push(vec![
                Cell::new(plain(&refuter.name)).with(refuter.detail.as_str()),
                estimate_cell(&refuter.estimate, "nats"),
                optional_cell(refuter.finding.as_ref(), "nats"),
                Cell::default().badge(tone, word),
            ]);
        }
    }
    Table { caption: "Refuters".to_owned(), columns, rows }
}

/// A check with the arm that it was made in, and its name without the eval set.
struct Made<'a> {
    check: &'a Check,
    arm: String,
    name: &'a str,
}

fn made<'a>(view: &View<'a>) -> Vec<Made<'a>> {
    let sets = view.base().map(|base| base.record.eval_sets.as_slice()).unwrap_or_default();
    let bare = |check: &'a Check| match check.name.split_once(": ") {
        Some((set, name)) if sets.iter().any(|known| known.id == set) => name,
        _ => check.name.as_str(),
    };
    let of = |arm: &super::ArmView<'a>| {
        let label = arm.label();
        arm.record.checks.iter().map(move |check| Made { check, arm: label.clone(), name: bare(check) })
    };
    view.arms.iter().flat_map(of).collect()
}

/// One row a kind of check over all arms and sets, and one more for each that is broken.
fn checks(made: &[Made<'_>]) -> Table {
    let mut rows = Vec::new();
    for name in distinct(made.iter().map(|made| made.name)) {
        let own: Vec<&Check> = made.iter().filter(|made| made.name == name).map(|made| made.check).collect();
        let held = own.iter().filter(|check| check.passed).count();
        let worst = own.iter().filter_map(|check| check.worst).fold(None, |worst: Option<f64>, next| {
            Some(worst.map_or(next, |worst| if next.abs() > worst.abs() { next } else { worst }))
        });
        let (tone, word) = if held == own.len() { (Tone::Good, "all hold") } else { (Tone::Bad, "BROKEN") };
        let detail = own.first().map(|check| check.detail.clone()).unwrap_or_default();
        rows.push(vec![
            Cell::new(name).with(detail),
            Cell::new(format!("{held} of {}", own.len())),
            Cell::new(deviation(worst)),
            Cell::new(deviation(own.first().and_then(|check| check.tolerance))),
            Cell::default().badge(tone, word),
        ]);
    }
    let columns = vec![
        Column::text("check"),
        Column::number("held"),
        Column::number("largest deviation"),
        Column::number("allowed"),
        Column::text("outcome"),
    ];
    Table { caption: "Checks".to_owned(), columns, rows }
}

/// Every check in every arm.
fn every_check(made: &[&Made<'_>], caption: &str) -> Table {
    let columns = vec![
        Column::text("check"),
        Column::text("arm"),
        Column::number("largest deviation"),
        Column::number("allowed"),
        Column::text("outcome"),
    ];
    let rows = made.iter().map(|made| {
        let (tone, word) = if made.check.passed { (Tone::Good, "holds") } else { (Tone::Bad, "BROKEN") };
        vec![
            Cell::new(made.check.name.as_str()).with(made.check.detail.as_str()),
            Cell::new(made.arm.as_str()),
            Cell::new(deviation(made.check.worst)),
            Cell::new(deviation(made.check.tolerance)),
            Cell::default().badge(tone, word),
        ]
    });
    Table { caption: caption.to_owned(), columns, rows: rows.collect() }
}

fn deviation(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number::significant)
}
