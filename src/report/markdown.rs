//! The document as Markdown: the same sections, tables in place of pictures.

use super::data::{ExampleKind, Target, TargetStatus};
use super::diff::{self, Piece};
use super::document::{Block, Cell, Document, ExampleCard, Figure, Inline, Table};
use super::figure::{self, Chart, Curves, Heat, PathwayDiagram};
use super::number;
use super::tokens;
use super::words::{plain, population_in_words};

/// The whole text.
pub(super) fn render(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}\n", escape(&document.title), escape(&document.subtitle));
    for section in &document.sections {
        out.push_str(&format!("\n## {}\n\n", escape(&section.title)));
        section.blocks.iter().for_each(|block| push(&mut out, block));
    }
    out
}

fn push(out: &mut String, block: &Block) {
    let text = match block {
        Block::Heading(text) => format!("### {}\n", escape(text)),
        Block::Paragraph(line) | Block::Callout(_, line) => format!("{}\n", inlines(line)),
        Block::List(lines) => lines.iter().map(|line| format!("- {}\n", inlines(line))).collect(),
        Block::Terms(terms) => {
            terms.iter().map(|(word, sentence)| format!("> *{}*: {}\n>\n", escape(word), escape(sentence))).collect()
        }
        Block::Table(table) => write_table(table),
        Block::Figures(figures) => return figures.iter().for_each(|figure| write_figure(out, figure)),
        Block::Legend(_) | Block::PictureNote(_) => return,
        Block::Tiles(tiles) => tiles
            .iter()
            .map(|tile| format!("- **{}**: {} ({})\n", escape(&tile.value), escape(&tile.label), escape(&tile.note)))
            .collect(),
        Block::Targets(targets) => write_targets(targets),
        Block::Example(card) => write_example(card),
        Block::Details(summary, inner) => {
            out.push_str(&format!("**{}**\n\n", escape(summary)));
            return inner.iter().for_each(|block| push(out, block));
        }
        Block::Preformatted(text) => fenced(text),
        Block::Tokens(lines) => tokens::markdown(lines, escape),
    };
    out.push_str(&text);
    out.push('\n');
}

/// Text that Markdown and HTML take literally, on one line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A code span that survives back-ticks and table bars.
fn code_span(text: &str) -> String {
    if text.contains(['`', '|', '\n', '\r']) { escape(text) } else { format!("`{text}`") }
}

/// A fenced block whose fence is longer than any run of back-ticks inside.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}\n")
}

fn inlines(line: &[Inline]) -> String {
    line.iter()
        .map(|inline| match inline {
            Inline::Text(text) => escape(text),
            Inline::Strong(text) => emphasised(text),
            Inline::Code(text) => code_span(text),
        })
        .collect()
}

/// Strong text; the spaces around it stay outside of the stars.
fn emphasised(text: &str) -> String {
    let bare = text.trim();
    if bare.is_empty() {
        return text.to_owned();
    }
    let lead = text.len() - text.trim_start().len();
    let trail = text.trim_end().len();
    format!("{}**{}**{}", text.get(..lead).unwrap_or_default(), escape(bare), text.get(trail..).unwrap_or_default())
}

fn write_cell(cell: &Cell) -> String {
    let mut parts = Vec::new();
    if !cell.main.is_empty() {
        parts.push(if cell.code { code_span(&cell.main) } else { escape(&cell.main) });
    }
    if let Some(detail) = &cell.detail {
        parts.push(if cell.main.is_empty() || detail.starts_with('[') {
            escape(detail)
        } else {
            format!("({})", escape(detail))
        });
    }
    if let Some((_, word)) = &cell.badge {
        parts.push(format!("**{}**", escape(word)));
    }
    parts.join(" ")
}

fn heading_cell(cell: &Cell) -> String {
    let detail = cell.detail.as_ref().map(|detail| format!(" ({})", escape(detail))).unwrap_or_default();
    format!("**{}**{detail}", escape(&cell.main))
}

fn write_table(table: &Table) -> String {
    let mut out = String::new();
    if !table.caption.is_empty() {
        out.push_str(&format!("*{}*\n\n", escape(&table.caption)));
    }
    let heads: Vec<String> = table.columns.iter().map(|column| escape(&column.label)).collect();
    let rules: Vec<&str> = table.columns.iter().map(|column| if column.numeric { "---:" } else { "---" }).collect();
    out.push_str(&format!("| {} |\n| {} |\n", heads.join(" | "), rules.join(" | ")));
    for row in &table.rows {
        let mut cells: Vec<String> = match row.as_slice() {
            [heading] => vec![heading_cell(heading)],
            cells => cells.iter().map(write_cell).collect(),
        };
        cells.resize(table.columns.len().max(cells.len()), String::new());
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

fn write_figure(out: &mut String, figure: &Figure) {
    let text = match figure {
        Figure::Graph(graph) => {
            let rows = graph.edges.iter().map(|edge| {
                format!(
                    "| {} | {} | {} |\n",
                    escape(&plain(&edge.from)),
                    escape(&plain(&edge.to)),
                    figure::edge_word(edge.kind)
                )
            });
            let rows: String = rows.collect();
            format!(
                "*Causal graph of {}*\n\n| cause | effect | meaning |\n| --- | --- | --- |\n{rows}",
                escape(&plain(&graph.id))
            )
        }
        // Its numbers stand in the table of the deciding metrics.
        Figure::Forest(_) => return,
        Figure::Heat(heat) => write_heat(heat),
        Figure::Curves(curves) => write_curves(curves),
        Figure::Pathway(diagram) => write_pathway(diagram),
        Figure::Chart(chart) => write_chart(chart),
    };
    out.push_str(&text);
    out.push('\n');
}

fn write_heat(heat: &Heat) -> String {
    let heads: Vec<String> = heat.grid.columns.iter().map(|label| escape(label)).collect();
    let mut out = format!(
        "*{}, nats; a star marks q below 0.05*\n\n| {} \\ {} | {} |\n|{}\n",
        escape(&heat.caption),
        heat.axes.0,
        heat.axes.1,
        heads.join(" | "),
        " ---: |".repeat(heads.len() + 1)
    );
    for (row, values) in heat.grid.values.iter().enumerate() {
        let label = heat.grid.rows.get(row).map(|label| escape(label)).unwrap_or_default();
        let cells: Vec<String> =
            values.iter().enumerate().map(|(column, value)| heat_cell(heat, row, column, *value)).collect();
        out.push_str(&format!("| {label} | {} |\n", cells.join(" | ")));
    }
    out
}

fn heat_cell(heat: &Heat, row: usize, column: usize, value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "–".to_owned() };
    let star = if figure::is_marked(heat, row, column) { "\\*" } else { "" };
    format!("{}{star}", number::fixed(value, 2))
}

fn write_curves(curves: &Curves) -> String {
    let mut out = format!(
        "*{}*\n\n| arm | first | a third | two thirds | last |\n| --- | ---: | ---: | ---: | ---: |\n",
        escape(&curves.caption)
    );
    for line in &curves.lines {
        let last = line.points.len().saturating_sub(1);
        let cells: Vec<String> = [0, last / 3, 2 * last / 3, last]
            .iter()
            .map(|index| {
                line.points.get(*index).map_or_else(
                    || "–".to_owned(),
                    |(step, value)| format!("{} (step {step})", number::significant(*value)),
                )
            })
            .collect();
        let how = if line.trained { "" } else { ", not trained on" };
        out.push_str(&format!("| {}{how} | {} |\n", escape(&line.label), cells.join(" | ")));
    }
    out
}

fn write_pathway(diagram: &PathwayDiagram) -> String {
    let rows: String = diagram
        .edges
        .iter()
        .map(|edge| format!("| {} | {} |\n", escape(&figure::ends_in_words(edge)), number::significant(edge.effect)))
        .collect();
    format!("*{}*\n\n| edge | score, nats |\n| --- | ---: |\n{rows}", escape(&diagram.caption))
}

fn write_chart(chart: &Chart) -> String {
    let (heads, rows, marks) = figure::table_of(chart);
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut out = format!("*{}: {}*\n\n{}|", escape(&chart.caption), escape(&chart.axes.1), line(&heads));
    out.push_str(&" ---: |".repeat(heads.len()));
    out.push('\n');
    out.extend(rows.iter().map(|row| line(row)));
    for mark in marks {
        out.push_str(&format!("\n{}.\n", escape(&mark)));
    }
    out
}

fn write_targets(targets: &[Target]) -> String {
    let mut out = "| status | claim | required | measured |\n| --- | --- | --- | --- |\n".to_owned();
    for target in targets {
        let status = match target.status {
            TargetStatus::Met => "MET",
            TargetStatus::Failed => "**FAILED**",
            TargetStatus::Undecided => "UNDECIDED",
        };
        let detail = if target.detail.is_empty() { String::new() } else { format!(" ({})", escape(&target.detail)) };
        out.push_str(&format!(
            "| {status} | {} | {} | {}{detail} |\n",
            escape(&target.claim),
            escape(&target.criterion),
            escape(&target.measured)
        ));
    }
    out
}

fn write_example(card: &ExampleCard) -> String {
    let pair = &card.pair;
    let should = match pair.kind {
        ExampleKind::Invariant => "the answer should stay",
        ExampleKind::Follow => "the answer should follow",
    };
    let (factual, counterfactual) = diff::words(&pair.factual, &pair.counterfactual);
    let answers: Vec<String> = pair.answers.iter().map(|answer| code_span(answer.trim())).collect();
    format!(
        "### {}: {should}\n\n{}\n\nFactual: {}\n\nCounterfactual: {}\n\nPossible answers: {}\n\n{}",
        escape(&population_in_words(&pair.population)),
        escape(&pair.intervention),
        marked(&factual),
        marked(&counterfactual),
        answers.join(", "),
        write_table(&card.answers)
    )
}

fn marked(pieces: &[Piece]) -> String {
    pieces.iter().map(|(text, changed)| if *changed { emphasised(text) } else { escape(text) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<b>|*x*\n"), "&lt;b&gt;\\|\\*x\\* ");
        assert_eq!(code_span("a|b"), "a\\|b");
        assert!(fenced("```").starts_with("````text\n"));
        assert_eq!(emphasised(" a "), " **a** ");
    }
}
