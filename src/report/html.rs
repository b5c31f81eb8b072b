//! The document as one HTML page that needs nothing else: style and script are inside, pictures are SVG.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::data::{EdgeKind, ExampleKind, Target, TargetStatus};
use super::diff::{self, Piece};
use super::document::{ArmKey, Block, Cell, Document, ExampleCard, Figure, Inline, Section, Table, Tone};
use super::figure;
use super::tokens;
use super::words::population_in_words;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing may be fetched, whatever a prompt says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The page.
pub(super) fn render(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (document.title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p class="brand" { "Counterpath report" }
                    h1 { (document.title) }
                    p class="subtitle" { (document.subtitle) }
                    nav aria-label="Sections" {
                        @for section in &document.sections { a href={ "#" (section.id) } { (section.title) } }
                    }
                }
                main { @for section in &document.sections { (render_section(section)) } }
                footer { (document.origin) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn render_section(section: &Section) -> Markup {
    html! {
        section id=(section.id) aria-labelledby={ (section.id) "-title" } {
            h2 id={ (section.id) "-title" } { (section.title) }
            (blocks(&section.blocks, section.id))
        }
    }
}

/// Blocks one after another; `key` makes the ids inside unique.
fn blocks(blocks: &[Block], key: &str) -> Markup {
    html! { @for (index, block) in blocks.iter().enumerate() { (render_block(block, &format!("{key}-{index}"))) } }
}

fn render_block(block: &Block, key: &str) -> Markup {
    match block {
        Block::Heading(text) => html! { h3 { (text) } },
        Block::Paragraph(line) => html! { p { (inlines(line)) } },
        Block::PictureNote(text) => html! { p { (text) } },
        Block::List(lines) => html! { ul { @for line in lines { li { (inlines(line)) } } } },
        Block::Terms(terms) => html! {
            dl class="terms" { @for (word, sentence) in terms { div { dt { (word) } dd { (sentence) } } } }
        },
        Block::Table(table) => render_table(table),
        Block::Figures(figures) => render_figures(figures, key),
        Block::Legend(arms) => legend(arms),
        Block::Tiles(tiles) => html! { ul class="tiles" { @for tile in tiles {
            li class=(tone_class(tile.tone)) {
                span class="label" { (tile.label) }
                span class="value" { (tile.value) }
                span class="detail" { (tile.note) }
            }
        } } },
        Block::Targets(targets) => html! { ul class="targets" { @for target in targets { (render_target(target)) } } },
        Block::Example(card) => render_example(card),
        Block::Callout(tone, line) => {
            html! { p class={ "callout " (tone_class(*tone)) } role="note" { (inlines(line)) } }
        }
        Block::Details(summary, inner) => html! { details { summary { (summary) } (blocks(inner, key)) } },
        Block::Preformatted(text) => html! { pre tabindex="0" { (text) } },
        Block::Tokens(lines) => tokens::render(lines),
    }
}

fn inlines(line: &[Inline]) -> Markup {
    html! {
        @for inline in line {
            @match inline {
                Inline::Text(text) => { (text) },
                Inline::Strong(text) => { strong { (text) } },
                Inline::Code(text) => { code { (text) } },
            }
        }
    }
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Unsure => "unsure",
        Tone::Neutral => "neutral",
    }
}

fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class={ "badge " (tone_class(tone)) } { (word) } }
}

fn render_table(table: &Table) -> Markup {
    let label = if table.caption.is_empty() { "Table" } else { &table.caption };
    let even = table.columns.len() > 2 && table.columns.iter().skip(1).all(|column| column.numeric);
    let class = match (even, table.columns.len()) {
        (true, 5..) => "wide even",
        (_, 6..) => "wide",
        _ => "narrow",
    };
    html! {
        div class="scroll" role="region" aria-label=(label) tabindex="0" {
            table class=(class) style=[even.then(|| format!("min-width:{}px", 150 + 104 * (table.columns.len() - 1)))] {
                @if !table.caption.is_empty() { caption { span class="pinned" { (table.caption) } } }
                thead { tr {
                    @for column in &table.columns { th scope="col" class=(kind(column.numeric)) { (column.label) } }
                } }
                tbody { @for row in &table.rows { (render_row(table, row)) } }
            }
        }
    }
}

fn render_row(table: &Table, row: &[Cell]) -> Markup {
    html! {
        @match row {
            [heading] if table.columns.len() > 1 => {
                tr class="group" { th scope="colgroup" colspan=(table.columns.len()) { span class="pinned" { (render_cell(heading)) } } }
            }
            cells => { tr {
                @for (index, cell) in cells.iter().enumerate() {
                    @if index == 0 { th scope="row" { (render_cell(cell)) } }
                    @else { td class=(kind(table.columns.get(index).is_some_and(|column| column.numeric))) { (render_cell(cell)) } }
                }
            } }
        }
    }
}

fn kind(numeric: bool) -> &'static str {
    if numeric { "number" } else { "text" }
}

fn render_cell(cell: &Cell) -> Markup {
    html! {
        @if cell.code { code { (cell.main) } } @else if !cell.main.is_empty() { span class="main" { (cell.main) } }
        @if let Some(detail) = &cell.detail { span class=(if detail.starts_with('[') { "detail interval" } else { "detail" }) { (detail) } }
        @if let Some((tone, word)) = &cell.badge { " " (badge(*tone, word)) }
    }
}

fn render_figures(figures: &[Figure], key: &str) -> Markup {
    let graphs = figures.iter().any(|figure| matches!(figure, Figure::Graph(_)));
    html! {
        @if graphs { (graph_legend()) }
        @if figures.iter().any(|figure| matches!(figure, Figure::Pathway(_))) { (pathway_legend()) }
        div class="figures" {
            @for (index, figure) in figures.iter().enumerate() {
                figure class=(figure_class(figure)) {
                    figcaption { (figure::caption(figure)) }
                    div class="picture" { (figure::draw(figure, &format!("{key}-{index}"))) }
                }
            }
        }
    }
}

fn figure_class(figure: &Figure) -> &'static str {
    match figure {
        Figure::Graph(_) => "of-graph",
        Figure::Forest(_) => "of-forest",
        Figure::Heat(heat) if heat.grid.columns.len() > 16 => "of-heat whole-row",
        Figure::Heat(_) => "of-heat",
        Figure::Curves(_) | Figure::Chart(_) => "of-curves",
        Figure::Pathway(_) => "of-pathway",
    }
}

fn graph_legend() -> Markup {
    let kinds = [
        (EdgeKind::Legitimate, "legitimate: to be followed"),
        (EdgeKind::Spurious, "spurious: to be ignored"),
        (EdgeKind::Structural, "part of the world"),
        (EdgeKind::Latent, "from an unobserved cause"),
    ];
    html! {
        ul class="legend" aria-label="Kinds of arrows" {
            @for (kind, word) in kinds {
                li {
                    svg class="graph sample" viewBox="0 0 34 12" width="34" height="12" aria-hidden="true" {
                        path class={ "edge " (figure::edge_class(kind)) } d="M1 6L26 6" {}
                        polygon class={ "head " (figure::edge_class(kind)) } points="25,1.5 25,10.5 33,6" {}
                    }
                    (word)
                }
            }
        }
    }
}

fn pathway_legend() -> Markup {
    html! {
        ul class="legend" aria-label="Kinds of edges" {
            @for (sign, word) in [("carries", "carries the effect"), ("against", "works against it")] {
                li {
                    svg class="pathway sample" viewBox="0 0 34 12" width="34" height="12" aria-hidden="true" {
                        g class={ "edge " (sign) } { path d="M1 6L26 6" stroke-width="3" {} polygon points="25,1.5 25,10.5 33,6" {} }
                    }
                    (word)
                }
            }
            li { "the wider, the larger the score" }
        }
    }
}

fn legend(arms: &[ArmKey]) -> Markup {
    html! {
        ul class="legend" aria-label="Arms" {
            @for (index, label) in arms {
                li {
                    svg class="curves sample" viewBox="0 0 34 12" width="34" height="12" aria-hidden="true" {
                        g class={ "line arm-" (index % 8) } { polyline points="1,6 33,6" {} }
                    }
                    (label)
                }
            }
        }
    }
}

fn render_target(target: &Target) -> Markup {
    let (tone, word) = match target.status {
        TargetStatus::Met => (Tone::Good, "MET"),
        TargetStatus::Failed => (Tone::Bad, "FAILED"),
        TargetStatus::Undecided => (Tone::Unsure, "UNDECIDED"),
    };
    html! {
        li class=(tone_class(tone)) {
            (badge(tone, word))
            div {
                p class="claim" { (target.claim) }
                p { span class="soft" { "Required: " } (target.criterion) }
                p { span class="soft" { "Measured: " } (target.measured) }
                @if !target.detail.is_empty() { p class="soft" { (target.detail) } }
            }
        }
    }
}

fn render_example(card: &ExampleCard) -> Markup {
    let pair = &card.pair;
    let (factual, counterfactual) = diff::words(&pair.factual, &pair.counterfactual);
    let (tone, word) = match pair.kind {
        ExampleKind::Invariant => (Tone::Neutral, "the answer should stay"),
        ExampleKind::Follow => (Tone::Neutral, "the answer should follow"),
    };
    html! {
        article class="example" {
            h3 {
                (population_in_words(&pair.population)) " "
                (badge(tone, word))
                @if !pair.intervention.is_empty() { span class="detail" { (pair.intervention) } }
            }
            div class="sides" {
                @for (name, pieces) in [("Factual", &factual), ("Counterfactual", &counterfactual)] {
                    div { p class="soft" { (name) } blockquote { (marked(pieces)) } }
                }
            }
            p class="soft" { "Possible answers: " @for (index, answer) in pair.answers.iter().enumerate() {
                @if index > 0 { ", " } code { (answer.trim()) }
            } }
            (render_table(&card.answers))
        }
    }
}

fn marked(pieces: &[Piece]) -> Markup {
    html! {
        @for (text, changed) in pieces {
            @if *changed { mark { (text.trim_end()) } (text.get(text.trim_end().len()..).unwrap_or_default()) } @else { (text) }
        }
    }
}
