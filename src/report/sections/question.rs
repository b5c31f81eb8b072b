//! The causal questions and the graphs behind them.

use super::{View, paragraph, titled};
use crate::report::data::EdgeKind;
use crate::report::document::{Block, Figure, Inline, Section, code, strong, text};
use crate::report::glossary::Glossary;
use crate::report::words::plain;

pub(super) fn section(view: &View<'_>, _: &mut Glossary) -> Option<Section> {
    let summary = &view.data.summary;
    let mut blocks = Vec::new();
    if !summary.questions.is_empty() {
        blocks.push(Block::List(summary.questions.iter().map(|question| vec![text(question.as_str())]).collect()));
    }
    if !summary.graphs.is_empty() {
        blocks.push(paragraph(
            "The causal graphs say what was assumed: an arrow runs from a cause to what depends on it. The model's answer \
             should follow the legitimate arrows and ignore the spurious ones. Unobserved causes are why a shortcut \
             pays in the training data although it causes nothing.",
        ));
        blocks.push(Block::Figures(summary.graphs.iter().cloned().map(Figure::Graph).collect()));
        for graph in &summary.graphs {
            blocks.push(Block::Paragraph(paths(graph)));
        }
    }
    if view.arms.len() > 1 {
        blocks.push(Block::Heading("What was compared".to_owned()));
        let arms = view.arms.iter().map(|arm| {
            vec![
                strong(arm.label()),
                text(if arm.description.is_empty() { String::new() } else { format!(": {}", arm.description) }),
            ]
        });
        blocks.push(Block::List(arms.collect()));
    }
    if blocks.is_empty() { None } else { titled("question", "The question and the causal graph", blocks) }
}

/// The spurious and the legitimate paths of a graph in words.
fn paths(graph: &crate::report::data::ReportGraph) -> Vec<Inline> {
    let mut line = vec![strong(plain(&graph.id))];
    if !graph.question.is_empty() {
        line.push(text(format!(": {}", graph.question)));
    }
    for (kind, word) in [(EdgeKind::Spurious, " Spurious: "), (EdgeKind::Legitimate, " Legitimate: ")] {
        let edges: Vec<_> = graph.edges.iter().filter(|edge| edge.kind == kind).collect();
        for (index, edge) in edges.iter().enumerate() {
            line.push(text(if index == 0 { word } else { ", " }));
            line.push(code(format!("{} → {}", edge.from, edge.to)));
        }
        if !edges.is_empty() {
            line.push(text("."));
        }
    }
    line
}
