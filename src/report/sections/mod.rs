//! What the report says, section by section, in plain English.

pub(super) mod benchmark;
mod checks;
mod circuit_tables;
pub(super) mod circuits;
mod effects;
mod examples;
mod maps;
pub(super) mod outcomes;
pub(super) mod pareto;
mod pathways;
mod privacy;
mod provenance;
mod question;
mod summary;
mod tiles;
mod training;

use super::document::{Block, Cell, Document, Inline, Section, Tone};
use super::folder::ReportData;
use super::glossary::Glossary;
use super::number;
use super::words::plain;
use crate::compare::{MetricComparison, Verdict};
use crate::record::RunRecord;
use crate::stats::{Direction, Estimate, MetricScore};

/// The whole report.
pub(super) fn document(data: &ReportData) -> Document {
    let view = View::new(data);
    let mut glossary = Glossary::default();
    let makers = [
        summary::section,
        question::section,
        outcomes::section,
        pareto::section,
        effects::section,
        maps::section,
        pathways::section,
        circuits::section,
        checks::section,
        examples::section,
        training::section,
        privacy::section,
        provenance::limits,
        provenance::section,
    ];
    let sections = makers.iter().filter_map(|maker| maker(&view, &mut glossary)).collect();
    let title = match data.summary.title.as_str() {
        "" => "Causal evaluation".to_owned(),
        title => starting_large(title),
    };
    let origin = "Made by Counterpath from the records of the run. The Markdown file beside this page holds the same content as text.";
    Document { title, subtitle: subtitle(&view), sections, origin: origin.to_owned() }
}

/// The same text with a capital first letter.
fn starting_large(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn subtitle(view: &View<'_>) -> String {
    let Some(base) = view.base() else { return String::new() };
    let model = &base.record.model;
    format!("{} · {} · {} parameters", model.source, model.family, number::count(model.parameters))
}

/// One arm with its record.
#[derive(Clone, Copy)]
struct ArmView<'a> {
    /// Its place in the order of arms.
    index: usize,
    name: &'a str,
    description: &'a str,
    record: &'a RunRecord,
}

impl ArmView<'_> {
    fn label(&self) -> String {
        plain(self.name)
    }
}

/// The data with the look-ups that sections share.
struct View<'a> {
    data: &'a ReportData,
    arms: Vec<ArmView<'a>>,
}

impl<'a> View<'a> {
    fn new(data: &'a ReportData) -> Self {
        let arms = data
            .records
            .iter()
            .enumerate()
            .map(|(index, record)| {
                let arm = data.summary.arms.iter().find(|arm| arm.name == record.name);
                ArmView { index, name: &record.name, description: arm.map_or("", |arm| &arm.description), record }
            })
            .collect();
        Self { data, arms }
    }

    fn base(&self) -> Option<ArmView<'a>> {
        self.arms.first().copied()
    }

    /// The arms as columns: the base and the arm in focus first, so that a narrow screen shows both.
    fn columns(&self) -> Vec<ArmView<'a>> {
        let focus = self.focus().map(|focus| focus.index);
        let mut arms = self.arms.clone();
        arms.sort_by_key(|arm| {
            if arm.index == 0 {
                0
            } else if Some(arm.index) == focus {
                1
            } else {
                2
            }
        });
        arms
    }

    fn arm(&self, name: Option<&String>) -> Option<ArmView<'a>> {
        self.arms.iter().find(|arm| Some(arm.name) == name.map(String::as_str)).copied()
    }

    fn focus(&self) -> Option<ArmView<'a>> {
        self.arm(self.data.summary.focus.as_ref())
    }

    fn control(&self) -> Option<ArmView<'a>> {
        self.arm(self.data.summary.control.as_ref())
    }

    /// The comparison of an arm with the base.
    fn against_base(&self, arm: &str, score: &MetricScore) -> Option<&'a MetricComparison> {
        let base = self.base()?;
        let comparisons = self.data.comparisons.iter().filter(|comparison| comparison.baseline == base.name);
        let candidates =
            comparisons.flat_map(|comparison| &comparison.candidates).filter(|candidate| candidate.name == arm);
        candidates.into_iter().find_map(|candidate| candidate.row(&score.metric, &score.population))
    }

    /// Metric and population of every score of the wanted kind, in the order in which records list them.
    fn scored(&self, wanted: impl Fn(&MetricScore) -> bool) -> Vec<&'a MetricScore> {
        let mut found: Vec<&MetricScore> = Vec::new();
        for score in self.arms.iter().flat_map(|arm| &arm.record.scores).filter(|score| wanted(score)) {
            if found.iter().all(|known| known.metric != score.metric || known.population != score.population) {
                found.push(score);
            }
        }
        found
    }
}

/// The eval set of a population: what stands before the first slash.
fn set_of(population: &str) -> &str {
    population.split('/').next().unwrap_or(population)
}

/// Distinct values in the order in which they come.
fn distinct<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// A verdict's colour and word.
fn verdict(verdict: Verdict) -> (Tone, &'static str) {
    match verdict {
        Verdict::Better => (Tone::Good, "better"),
        Verdict::Worse => (Tone::Bad, "worse"),
        Verdict::Changed => (Tone::Neutral, "changed"),
        Verdict::Equivalent => (Tone::Neutral, "equivalent"),
        Verdict::Undecided => (Tone::Unsure, "undecided"),
    }
}

/// Which way a metric went, as far as the paired difference shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// For the better: by verdict, or by an interval that leaves 0 out.
    Better,
    /// For the worse, and harm beyond the margin is not ruled out.
    Worse,
    /// No further than the margin, or no harm beyond it.
    Kept,
    /// Not shown.
    Open,
}

fn course(row: &MetricComparison) -> Course {
    let up = row.difference.value.is_some_and(|value| value > 0.0);
    let good_side = match row.direction {
        Direction::Higher => up,
        Direction::Lower => !up,
        Direction::Descriptive => false,
    };
    let beyond_chance = matches!(row.verdict, Verdict::Better | Verdict::Worse) || row.difference.excludes_zero();
    let kept = row.verdict == Verdict::Equivalent || row.no_harm == Some(true);
    match (beyond_chance, good_side) {
        (true, true) => Course::Better,
        _ if kept => Course::Kept,
        (true, false) if row.direction != Direction::Descriptive => Course::Worse,
        _ => Course::Open,
    }
}

/// The scores that a sentence has room for: where populations are refined (`hiring/train/paraphrase` beside
/// `hiring/train`), the coarse ones.
fn principal<'a>(scores: &[&'a MetricScore]) -> Vec<&'a MetricScore> {
    let depth = |score: &&MetricScore| score.population.split('/').count();
    let least = scores.iter().map(depth).min();
    scores.iter().filter(|score| Some(depth(score)) == least).copied().collect()
}

/// An estimate as a cell: the value, below it the interval or the reason that something is missing.
fn estimate_cell(estimate: &Estimate, unit: &str) -> Cell {
    if estimate.value.is_none_or(|value| !value.is_finite()) {
        return Cell::new("undefined").with(number::reason(estimate));
    }
    let cell = Cell::new(number::value(estimate, unit));
    match (number::interval(estimate, unit), &estimate.undefined) {
        (Some(interval), _) => cell.with(interval),
        (None, Some(reason)) => cell.with(format!("no interval: {reason}")),
        (None, None) => cell,
    }
}

/// An estimate that may not have been made at all.
fn optional_cell(estimate: Option<&Estimate>, unit: &str) -> Cell {
    match estimate {
        Some(estimate) => estimate_cell(estimate, unit),
        None => Cell::new("–"),
    }
}

fn paragraph(text: impl Into<String>) -> Block {
    Block::Paragraph(vec![Inline::Text(text.into())])
}

fn picture_note(text: &str) -> Block {
    Block::PictureNote(text.to_owned())
}

fn titled(id: &'static str, title: &str, blocks: Vec<Block>) -> Option<Section> {
    Some(Section { id, title: title.to_owned(), blocks })
}

/// Names in a sentence: `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
