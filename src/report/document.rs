//! The report as a document: sections of blocks, without a format. HTML and Markdown render the same document, so
//! they cannot say different things.

use super::data::{ExamplePair, ReportGraph, Target};
use super::figure::{Chart, Curves, Forest, Heat, PathwayDiagram};

/// A good, bad, undecided or merely neutral thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Unsure,
    Neutral,
}

/// A stretch of text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Inline {
    Text(String),
    Strong(String),
    Code(String),
}

/// Ordinary text.
pub(super) fn text(text: impl Into<String>) -> Inline {
    Inline::Text(text.into())
}

/// Text that matters.
pub(super) fn strong(text: impl Into<String>) -> Inline {
    Inline::Strong(text.into())
}

/// An identifier.
pub(super) fn code(text: impl Into<String>) -> Inline {
    Inline::Code(text.into())
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cell {
    /// What it says.
    pub(super) main: String,
    /// A second, smaller line: an interval, a definition, a reason.
    pub(super) detail: Option<String>,
    /// A conclusion.
    pub(super) badge: Option<(Tone, String)>,
    /// Whether `main` is an identifier.
    pub(super) code: bool,
}

impl Cell {
    /// A cell of text.
    pub(super) fn new(main: impl Into<String>) -> Self {
        Self { main: main.into(), ..Self::default() }
    }

    /// A cell with an identifier.
    pub(super) fn code(main: impl Into<String>) -> Self {
        Self { main: main.into(), code: true, ..Self::default() }
    }

    /// The same with a second line.
    pub(super) fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a conclusion.
    pub(super) fn badge(mut self, tone: Tone, word: impl Into<String>) -> Self {
        self.badge = Some((tone, word.into()));
        self
    }
}

/// A column's heading, and whether its cells are numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) label: String,
    pub(super) numeric: bool,
}

impl Column {
    /// A column of text.
    pub(super) fn text(label: impl Into<String>) -> Self {
        Self { label: label.into(), numeric: false }
    }

    /// A column of numbers.
    pub(super) fn number(label: impl Into<String>) -> Self {
        Self { label: label.into(), numeric: true }
    }
}

/// A table; the first cell of each row is the row's heading. A row of a single cell heads the rows below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A picture, which Markdown writes as a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Figure {
    Graph(ReportGraph),
    Forest(Forest),
    Heat(Heat),
    Curves(Curves),
    Pathway(PathwayDiagram),
    Chart(Chart),
}

/// An arm's name and its place in the order of arms, for legends.
pub(super) type ArmKey = (usize, String);

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    Heading(String),
    Paragraph(Vec<Inline>),
    List(Vec<Vec<Inline>>),
    /// Words and their one-sentence explanations.
    Terms(Vec<(&'static str, &'static str)>),
    Table(Table),
    /// How to read the pictures that follow; nothing where they are tables.
    PictureNote(String),
    /// Figures side by side where there is room.
    Figures(Vec<Figure>),
    /// Which colour and dash belong to which arm.
    Legend(Vec<ArmKey>),
    /// Numbers to be read at a glance.
    Tiles(Vec<Tile>),
    Targets(Vec<Target>),
    Example(Box<ExampleCard>),
    /// Something that must be seen.
    Callout(Tone, Vec<Inline>),
    /// Folded away until it is wanted.
    Details(String, Vec<Block>),
    Preformatted(String),
    /// Tokens coloured by what two runs make of them.
    Tokens(Vec<TokenLine>),
}

/// The tokens of one request with ln p in the baseline and in the candidate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenLine {
    pub(super) title: String,
    pub(super) tokens: Vec<(String, f64, f64)>,
}

/// One number to be read at a glance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) note: String,
    pub(super) tone: Tone,
}

/// An example with its arms in the order of the report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExampleCard {
    pub(super) pair: ExamplePair,
    pub(super) answers: Table,
}

/// A titled part of the report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) sections: Vec<Section>,
    /// Where the numbers come from, at the foot of the page.
    pub(super) origin: String,
}
