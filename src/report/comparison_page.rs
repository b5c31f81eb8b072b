//! The page of one comparison: every metric, all objectives at once, and the items of both runs side by side.

use super::document::{Block, Cell, Column, Document, Section, Table, TokenLine, Tone, text};
use super::sections::{outcomes, pareto};
use super::{html, number};
use crate::compare::Comparison;
use crate::stats::Direction;

/// The most items that one table shows: those that changed most.
const ITEMS: usize = 1000;

/// The most items whose tokens are shown.
const TOKEN_ITEMS: usize = 50;

/// One item of a metric in both runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemPair {
    /// The item.
    pub id: String,
    /// Its cluster.
    pub cluster: String,
    /// The baseline's value.
    pub baseline: f64,
    /// The candidate's value.
    pub candidate: f64,
    /// The prompt, where the log has it.
    pub prompt: String,
}

/// The items of one metric and population, baseline against candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemTable {
    /// The candidate.
    pub candidate: String,
    /// The metric.
    pub metric: String,
    /// The population.
    pub population: String,
    /// Which way is better.
    pub direction: Direction,
    /// The items.
    pub items: Vec<ItemPair>,
}

/// A token that both runs scored.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenPair {
    /// Its text.
    pub token: String,
    /// ln p in the baseline.
    pub baseline: f64,
    /// ln p in the candidate.
    pub candidate: f64,
}

/// The tokens of one request that both runs scored.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenTable {
    /// The candidate.
    pub candidate: String,
    /// The population.
    pub population: String,
    /// The item.
    pub id: String,
    /// Which of the item's requests, from 1.
    pub request: usize,
    /// The tokens in order.
    pub tokens: Vec<TokenPair>,
}

/// What a page of a comparison shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonPage {
    /// The comparison.
    pub comparison: Comparison,
    /// Items side by side.
    pub items: Vec<ItemTable>,
    /// Tokens side by side.
    pub tokens: Vec<TokenTable>,
    /// The command that makes this page again.
    pub command: String,
}

impl ComparisonPage {
    /// The page as HTML: no network, no external style, font, picture or script.
    pub fn html(&self) -> String {
        html::render(&self.document())
    }

    fn document(&self) -> Document {
        let mut sections = vec![self.metrics()];
        if let Some(found) = &self.comparison.pareto {
            let blocks = pareto::blocks(found);
            sections.push(Section { id: "trade-offs", title: "All objectives at once".to_owned(), blocks });
        }
        sections.extend(self.item_section());
        sections.extend(self.token_section());
        if !self.command.is_empty() {
            let blocks = vec![Block::Preformatted(self.command.clone())];
            sections.push(Section { id: "provenance", title: "To make this again".to_owned(), blocks });
        }
        let names: Vec<&str> = self.comparison.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        Document {
            title: format!("{} against {}", names.join(", "), self.comparison.baseline),
            subtitle: format!(
                "{} headline tests, corrected by Holm at α = {}; intervals of {} cluster-bootstrap replicates",
                self.comparison.family, self.comparison.alpha, self.comparison.replicates
            ),
            sections,
            origin: "Made by Counterpath from the items of both runs.".to_owned(),
        }
    }

    fn metrics(&self) -> Section {
        let columns = ["metric", "difference", "corrected p", "margin", "detectable", "verdict"];
        let mut columns: Vec<Column> = columns.into_iter().map(Column::number).collect();
        for end in [0, 5] {
            columns.iter_mut().skip(end).take(1).for_each(|column| column.numeric = false);
        }
        let mut blocks: Vec<Block> = Vec::new();
        for candidate in &self.comparison.candidates {
            let caption = format!("{} less {}", candidate.name, self.comparison.baseline);
            let rows = candidate.rows.iter().map(outcomes::comparison_row).collect();
            blocks.push(Block::Table(Table { caption, columns: columns.clone(), rows }));
        }
        let noted = self.comparison.notes.iter().map(|note| vec![text(note.as_str())]);
        let noted: Vec<_> = noted.collect();
        if !noted.is_empty() {
            blocks.push(Block::Details("How the runs were read".to_owned(), vec![Block::List(noted)]));
        }
        Section { id: "metrics", title: "Every metric".to_owned(), blocks }
    }

    fn item_section(&self) -> Option<Section> {
        let tables = self.items.iter().filter(|table| !table.items.is_empty());
        let blocks: Vec<Block> = tables.map(ItemTable::block).collect();
        (!blocks.is_empty()).then(|| Section { id: "items", title: "Items side by side".to_owned(), blocks })
    }

    fn token_section(&self) -> Option<Section> {
        let mut tables: Vec<&TokenTable> = self.tokens.iter().filter(|table| !table.tokens.is_empty()).collect();
        let moved = |table: &TokenTable| {
            table.tokens.iter().map(|token| (token.candidate - token.baseline).abs()).fold(0.0, f64::max)
        };
        tables.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
        let shown = tables.iter().take(TOKEN_ITEMS);
        let lines: Vec<TokenLine> = shown.map(|table| table.line()).collect();
        let intro = format!(
            "Change of ln p of each scored token, in nats, in the {} of {} requests where one token moved most. Green and \
             underlined: more likely in the candidate; red and dotted: less likely; the stronger, the larger, full colour \
             from 2 nats on.",
            lines.len(),
            tables.len()
        );
        let blocks = vec![Block::Paragraph(vec![text(intro)]), Block::Tokens(lines)];
        (!tables.is_empty()).then(|| Section { id: "tokens", title: "Token by token".to_owned(), blocks })
    }
}

impl ItemTable {
    fn block(&self) -> Block {
        let mut items: Vec<&ItemPair> = self.items.iter().collect();
        let size = |item: &ItemPair| (item.candidate - item.baseline).abs();
        items.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.id.cmp(&b.id)));
        let shown = items.len().min(ITEMS);
        let changed = items.iter().filter(|item| item.candidate != item.baseline).count();
        let title = format!(
            "{} of {}, {}: {} items, {} changed{}",
            self.metric,
            self.population,
            self.candidate,
            number::count(items.len()),
            number::count(changed),
            if shown < items.len() { format!("; the {shown} that changed most") } else { String::new() }
        );
        let columns = vec![
            Column::text("item"),
            Column::number("baseline"),
            Column::number("candidate"),
            Column::number("difference"),
            Column::text("change"),
        ];
        let rows = items.into_iter().take(ITEMS).map(|item| self.row(item)).collect();
        let caption = "The largest change first".to_owned();
        Block::Details(title, vec![Block::Table(Table { caption, columns, rows })])
    }

    fn row(&self, item: &ItemPair) -> Vec<Cell> {
        let difference = item.candidate - item.baseline;
        let gain = if self.direction == Direction::Lower { -difference } else { difference };
        let flip = [item.baseline, item.candidate].iter().all(|value| *value == 0.0 || *value == 1.0);
        let (tone, word) = match (difference == 0.0, self.direction, gain > 0.0) {
            (true, ..) => (Tone::Neutral, "same"),
            (_, Direction::Descriptive, _) => (Tone::Neutral, if flip { "flipped" } else { "changed" }),
            (_, _, true) => (Tone::Good, if flip { "gained" } else { "better" }),
            (_, _, false) => (Tone::Bad, if flip { "lost" } else { "worse" }),
        };
        let mut id = Cell::code(item.id.as_str());
        let cluster = (item.cluster != item.id).then(|| format!("cluster {}", item.cluster));
        let detail: Vec<String> =
            cluster.into_iter().chain((!item.prompt.is_empty()).then(|| shortened(&item.prompt))).collect();
        if !detail.is_empty() {
            id = id.with(detail.join(" · "));
        }
        vec![
            id,
            Cell::new(number::significant(item.baseline)),
            Cell::new(number::significant(item.candidate)),
            Cell::new(number::significant(difference)),
            Cell::default().badge(tone, word),
        ]
    }
}

/// The end of a prompt, where few-shot prompts differ.
fn shortened(prompt: &str) -> String {
    const LETTERS: usize = 160;
    let count = prompt.chars().count();
    match count > LETTERS {
        true => format!("… {}", prompt.chars().skip(count - LETTERS).collect::<String>()),
        false => prompt.to_owned(),
    }
}

impl TokenTable {
    fn line(&self) -> TokenLine {
        let tokens = self.tokens.iter().map(|token| (token.token.clone(), token.baseline, token.candidate));
        let sum: f64 = self.tokens.iter().map(|token| token.candidate - token.baseline).sum();
        TokenLine {
            title: format!(
                "{} of {}, request {}, {}: {} nats in all",
                self.id,
                self.population,
                self.request,
                self.candidate,
                number::significant(sum)
            ),
            tokens: tokens.collect(),
        }
    }
}
