//! Example pairs with the answers before and after.

use super::{View, paragraph, titled};
use crate::report::data::ExamplePair;
use crate::report::document::{Block, Cell, Column, ExampleCard, Section, Table};
use crate::report::glossary::Glossary;
use crate::report::number;

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let examples = &view.data.summary.examples;
    if examples.is_empty() {
        return None;
    }
    let mut blocks: Vec<Block> = glossary.introduce(&["pair", "invariant"]).into_iter().collect();
    blocks.push(paragraph(
        "Marked words differ between the two prompts. The table gives the probability of the first answer among the listed \
         answers on either prompt, and how far its log-odds move from the factual to the counterfactual prompt.",
    ));
    let mut kinds = Vec::new();
    let mut more = Vec::new();
    for pair in examples {
        let card = Block::Example(Box::new(ExampleCard { pair: pair.clone(), answers: answers(view, pair) }));
        let kind = (pair.population.as_str(), pair.kind);
        // The first of each eval set and kind stands open.
        if kinds.contains(&kind) {
            more.push(card);
        } else {
            kinds.push(kind);
            blocks.push(card);
        }
    }
    if !more.is_empty() {
        blocks.push(Block::Details("More examples".to_owned(), more));
    }
    titled("examples", "Examples", blocks)
}

fn answers(view: &View<'_>, pair: &ExamplePair) -> Table {
    let first = pair.answers.first().map_or("the first answer", |answer| answer.trim());
    let columns = vec![
        Column::text("arm"),
        Column::number(format!("“{first}”, factual")),
        Column::number(format!("“{first}”, counterfactual")),
        Column::number("log-odds move, nats"),
    ];
    let probability = |side: &[f64]| side.first().map_or_else(|| "–".to_owned(), |p| number::percent(*p));
    let rows = view.arms.iter().filter_map(|arm| {
        let response = pair.responses.iter().find(|response| response.arm == arm.name)?;
        let flips = match (favourite(&response.factual), favourite(&response.counterfactual)) {
            (Some(a), Some(b)) if a != b => " (answer changes)",
            _ => "",
        };
        let moved = response.effect.map_or_else(|| "–".to_owned(), |effect| number::fixed(effect, 2));
        Some(vec![
            Cell::new(arm.label()),
            Cell::new(probability(&response.factual)),
            Cell::new(probability(&response.counterfactual)),
            Cell { main: moved, detail: (!flips.is_empty()).then(|| flips.trim().to_owned()), ..Cell::default() },
        ])
    });
    Table { caption: String::new(), columns, rows: rows.collect() }
}

fn favourite(probabilities: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, p) in probabilities.iter().enumerate() {
        if best.is_none_or(|(_, top)| *p > top) {
            best = Some((index, *p));
        }
    }
    best.map(|(index, _)| index)
}
