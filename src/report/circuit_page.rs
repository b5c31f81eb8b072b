//! The page of one circuit job, for those who use the verb alone: the same blocks as in a run's report.

use super::document::{Block, Document, Section};
use super::glossary::Glossary;
use super::sections::circuits::{NamedChange, by_population, introduction};
use super::{html, markdown, number};
use crate::record::{CircuitChange, CircuitRecord};

/// What a page of circuits shows.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitPage {
    /// What stands above it.
    pub title: String,
    /// The checkpoint.
    pub model: String,
    /// Circuits on it.
    pub circuits: Vec<CircuitRecord>,
    /// What they do on another checkpoint, with its name.
    pub changes: Vec<(String, CircuitChange)>,
    /// The command that makes this page again.
    pub command: String,
}

impl CircuitPage {
    /// The page as HTML: no network, no external style, font, picture or script.
    pub fn html(&self) -> String {
        html::render(&self.document())
    }

    /// The same as Markdown; pictures become tables.
    pub fn markdown(&self) -> String {
        markdown::render(&self.document())
    }

    fn document(&self) -> Document {
        let mut blocks = introduction(&mut Glossary::default(), &self.circuits).unwrap_or_default();
        let changes: Vec<NamedChange<'_>> = self.changes.iter().map(|(name, change)| (name.clone(), change)).collect();
        blocks.extend(by_population(&self.circuits, &changes, &self.model));
        let mut sections = vec![Section { id: "circuit", title: "The circuit".to_owned(), blocks }];
        if !self.command.is_empty() {
            let blocks = vec![Block::Preformatted(self.command.clone())];
            sections.push(Section { id: "provenance", title: "To make this again".to_owned(), blocks });
        }
        let edges = self.circuits.first().map(|circuit| format!(" · {} edges", number::count(circuit.decoder_edges)));
        Document {
            title: self.title.clone(),
            subtitle: format!("{}{}", self.model, edges.unwrap_or_default()),
            sections,
            origin: "Made by Counterpath from the result of one circuit job.".to_owned(),
        }
    }
}
