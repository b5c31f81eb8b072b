//! The limits of the conclusions, and everything that is needed to make the run again.

use serde_json::Value;

use super::{View, paragraph, titled};
use crate::report::document::{Block, Cell, Column, Section, Table, text};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::plain;

pub(super) fn limits(view: &View<'_>, _: &mut Glossary) -> Option<Section> {
    let caveats = &view.data.summary.caveats;
    if caveats.is_empty() {
        return None;
    }
    titled(
        "limits",
        "What limits these conclusions",
        vec![Block::List(caveats.iter().map(|caveat| vec![text(caveat.as_str())]).collect())],
    )
}

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let base = view.base()?;
    let mut blocks: Vec<Block> = glossary.introduce(&["seed"]).into_iter().collect();
    if !view.data.summary.command.is_empty() {
        blocks.push(paragraph("This run is made again by"));
        blocks.push(Block::Preformatted(view.data.summary.command.clone()));
    }
    blocks.push(Block::Table(identity(view)));
    if !base.record.eval_sets.is_empty() {
        blocks.push(Block::Table(eval_sets(view)));
    }
    if view.arms.iter().any(|arm| arm.record.adapter.is_some()) {
        blocks.push(Block::Table(adapters(view)));
    }
    for arm in view
        .arms
        .iter()
        .filter(|arm| arm.record.request.resolved != Value::Null || arm.record.request.written != Value::Null)
    {
        let request = &arm.record.request;
        let both = [("As written", &request.written), ("As resolved", &request.resolved)];
        let shown = both.into_iter().filter(|(_, value)| **value != Value::Null).flat_map(|(name, value)| {
            let json = serde_json::to_string_pretty(value).unwrap_or_default();
            [paragraph(name), Block::Preformatted(json)]
        });
        blocks.push(Block::Details(format!("The request of {}", arm.label()), shown.collect()));
    }
    titled("provenance", "Provenance", blocks)
}

fn identity(view: &View<'_>) -> Table {
    let mut rows: Vec<(String, Cell)> = Vec::new();
    if let Some(base) = view.base() {
        let record = base.record;
        rows.push((
            "model".into(),
            Cell::new(format!(
                "{} ({}, {} parameters)",
                record.model.source,
                record.model.family,
                number::count(record.model.parameters)
            )),
        ));
        rows.push(("weights".into(), Cell::code(record.model.digest.as_str())));
        if let Some(tokenizer) = &record.tokenizer {
            rows.push(("tokenizer".into(), Cell::code(tokenizer.as_str())));
        }
        for (name, seed) in &record.seeds {
            rows.push((format!("seed “{}”", plain(name)), Cell::new(seed.to_string())));
        }
        let versions = &record.versions;
        rows.push((
            "versions".into(),
            Cell::new(format!(
                "counterpath {}, candle {}, record schema {}",
                versions.counterpath, versions.candle, record.schema
            )),
        ));
    }
    let timings = &view.data.timings;
    if let Some(started) = &timings.started {
        rows.push(("started".into(), Cell::new(started.as_str())));
    }
    if !timings.stages.is_empty() {
        rows.push(("time".into(), Cell::new(number::seconds(timings.total_seconds()))));
    }
    if let Some(bytes) = timings.peak_memory_bytes {
        rows.push(("largest memory".into(), Cell::new(format!("{} MB", number::count((bytes / 1_000_000) as usize)))));
    }
    if !timings.machine.is_empty() {
        rows.push(("machine".into(), Cell::new(timings.machine.as_str())));
    }
    Table {
        caption: "What was run".to_owned(),
        columns: vec![Column::text("what"), Column::text("value")],
        rows: rows.into_iter().map(|(name, cell)| vec![Cell::new(name), cell]).collect(),
    }
}

fn eval_sets(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("eval set"),
        Column::number("items"),
        Column::number("pairs"),
        Column::text("provenance"),
        Column::text("digest"),
    ];
    let sets = view.base().map(|base| base.record.eval_sets.as_slice()).unwrap_or_default();
    let rows = sets.iter().map(|set| {
        vec![
            Cell::new(plain(&set.id)),
            Cell::new(number::count(set.items)),
            Cell::new(number::count(set.pairs)),
            Cell::new(set.provenance.as_str()),
            Cell::code(set.digest.short()),
        ]
    });
    Table { caption: "Eval sets".to_owned(), columns, rows: rows.collect() }
}

fn adapters(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("adapter"),
        Column::text("folder"),
        Column::number("rank"),
        Column::number("parameters"),
        Column::text("modules"),
        Column::text("digest"),
    ];
    let rows = view.arms.iter().filter_map(|arm| {
        let adapter = arm.record.adapter.as_ref()?;
        Some(vec![
            Cell::new(arm.label()),
            Cell::code(adapter.folder.as_str()),
            Cell::new(adapter.rank.to_string()),
            Cell::new(number::count(adapter.parameters)),
            Cell::new(adapter.targets.join(", ")),
            Cell::code(adapter.digest.short()),
        ])
    });
    Table { caption: "Adapters".to_owned(), columns, rows: rows.collect() }
}
