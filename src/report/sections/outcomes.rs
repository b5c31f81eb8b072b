//! Before and after: the deciding metrics, the dot plots, and every metric by objective.

use super::{ArmView, View, estimate_cell, paragraph, titled, verdict};
use crate::report::data::{Headline, HeadlineRole};
use crate::report::document::{Block, Cell, Column, Figure, Section, Table};
use crate::report::figure::{Forest, ForestRow};
use crate::report::glossary::{Glossary, capitalised, metric_in_words, population_in_words};
use crate::report::number;
use crate::stats::{Direction, MetricScore, Objective};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let summary = &view.data.summary;
    let deciding: Vec<&MetricScore> = summary.headlines.iter().flat_map(|headline| headline_scores(view, headline)).collect();
    let mut blocks = Vec::new();
    if !deciding.is_empty() {
        blocks.extend(glossary.introduce(&["verdict", "margin"]));
        let many = if view.arms.len() > 1 { " The badge is the verdict against the first column." } else { "" };
        blocks.push(paragraph(format!("The metrics that decide, each with its interval.{many}")));
        blocks.push(Block::Table(score_table(view, "The deciding metrics", &deciding)));
        blocks.extend(forests(view));
    }
    for objective in OBJECTIVES {
        let scores = view.scored(|score| score.objective == objective);
        if !scores.is_empty() {
            blocks.push(Block::Heading(objective_in_words(objective).to_owned()));
            blocks.push(Block::Table(score_table(view, objective_in_words(objective), &scores)));
        }
    }
    if !view.data.comparison.is_empty() {
        blocks.extend(glossary.introduce(&["detectable"]));
        blocks.push(Block::Details("Every comparison in numbers".to_owned(), vec![Block::Table(comparison_table(view))]));
    }
    blocks.push(Block::Details("Definitions of the metrics".to_owned(), vec![Block::Table(definitions(view))]));
    if view.scored(|_| true).is_empty() { None } else { titled("outcomes", "Before and after", blocks) }
}

const OBJECTIVES: [Objective; 7] = [
    Objective::Accuracy,
    Objective::Fairness,
    Objective::Robustness,
    Objective::Sensitivity,
    Objective::Explainability,
    Objective::Privacy,
    Objective::Calibration,
];

fn objective_in_words(objective: Objective) -> &'static str {
    match objective {
        Objective::Accuracy => "Accuracy",
        Objective::Fairness => "Fairness",
        Objective::Robustness => "Robustness",
        Objective::Explainability => "Explainability",
        Objective::Privacy => "Privacy",
        Objective::Calibration => "Calibration",
        Objective::Sensitivity => "Sensitivity to legitimate causes",
    }
}

/// The scores of a headline metric, in the order of its populations where it names any.
pub(super) fn headline_scores<'a>(view: &View<'a>, headline: &Headline) -> Vec<&'a MetricScore> {
    let mut scores =
        view.scored(|score| score.metric == headline.metric && (headline.populations.is_empty() || headline.populations.contains(&score.population)));
    scores.sort_by_key(|score| headline.populations.iter().position(|population| *population == score.population));
    scores
}

fn score_table(view: &View<'_>, caption: &str, scores: &[&MetricScore]) -> Table {
    let columns = std::iter::once(Column::text("metric")).chain(view.arms.iter().map(|arm| Column::number(arm.label())));
    let rows = scores.iter().map(|score| {
        let cells = view.arms.iter().map(|arm| score_cell(view, arm, score));
        std::iter::once(metric_cell(score)).chain(cells).collect()
    });
    Table { caption: caption.to_owned(), columns: columns.collect(), rows: rows.collect() }
}

fn metric_cell(score: &MetricScore) -> Cell {
    let (name, _) = metric_in_words(&score.metric, &score.note);
    let better = match score.direction {
        Direction::Higher => ", higher is better",
        Direction::Lower => ", lower is better",
        Direction::Descriptive => "",
    };
    let detail = format!("{} · {}{better}", population_in_words(&score.population), number::unit_in_words(&score.unit));
    Cell::new(name).with(detail)
}

fn score_cell(view: &View<'_>, arm: &ArmView<'_>, score: &MetricScore) -> Cell {
    let Some(own) = arm.record.score(&score.metric, &score.population) else { return Cell::new("–") };
    let cell = estimate_cell(&own.estimate, &own.unit);
    match view.against_base(arm.name, &score.metric, &score.population) {
        Some(row) => {
            let (tone, word) = verdict(row.verdict);
            cell.badge(tone, word)
        }
        None => cell,
    }
}

/// One dot plot a deciding metric and population.
fn forests(view: &View<'_>) -> Option<Block> {
    if view.arms.len() < 2 {
        return None;
    }
    let mut figures = Vec::new();
    for headline in &view.data.summary.headlines {
        for score in headline_scores(view, headline) {
            let rows: Vec<ForestRow> = view
                .arms
                .iter()
                .filter_map(|arm| {
                    let own = arm.record.score(&score.metric, &score.population)?;
                    Some(ForestRow { label: arm.label(), arm: arm.index, estimate: own.estimate.clone() })
                })
                .collect();
            let title = format!("{}, {}", headline.title, population_in_words(&score.population));
            let band = band(view, headline, score);
            let caption = match band {
                Some(_) => format!("{title}. The band is what counts as no harm."),
                None => format!("{title}."),
            };
            figures.push(Figure::Forest(Forest { title, caption, unit: score.unit.clone(), rows, band }));
        }
    }
    (!figures.is_empty()).then_some(Block::Figures(figures))
}

/// Base ± margin, for effects that should stay.
fn band(view: &View<'_>, headline: &Headline, score: &MetricScore) -> Option<(f64, f64)> {
    let focus = view.focus()?;
    let row = view.against_base(focus.name, &score.metric, &score.population)?;
    match (headline.role, row.margin, row.value_a.value) {
        (HeadlineRole::Wanted, Some(margin), Some(base)) => Some((base - margin, base + margin)),
        _ => None,
    }
}

fn comparison_table(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("metric"),
        Column::text("arms"),
        Column::number("difference"),
        Column::number("p (Holm)"),
        Column::number("margin"),
        Column::number("detectable"),
        Column::text("verdict"),
    ];
    let rows = view.data.comparison.iter().map(|row| {
        let (name, _) = metric_in_words(&row.metric, "");
        let plain_number = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| number::significant(value * if number::unit_in_words(&row.unit) == "%" { 100.0 } else { 1.0 }))
        };
        let (tone, word) = verdict(row.verdict);
        vec![
            Cell::new(name).with(format!("{} · {}", population_in_words(&row.population), number::unit_in_words(&row.unit))),
            Cell::new(format!("{} → {}", crate::report::glossary::plain(&row.a), crate::report::glossary::plain(&row.b))),
            estimate_cell(&row.difference, &row.unit),
            Cell::new(row.p_value.map_or_else(|| "–".to_owned(), number::p_value)),
            Cell::new(plain_number(row.margin)),
            Cell::new(plain_number(row.detectable)),
            Cell::default().badge(tone, word),
        ]
    });
    Table { caption: "Paired differences".to_owned(), columns, rows: rows.collect() }
}

fn definitions(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("metric"),
        Column::text("definition"),
        Column::text("statistic"),
        Column::number("items"),
        Column::number("clusters"),
        Column::text("interval"),
    ];
    let rows = view.scored(|_| true).into_iter().map(|score| {
        let (name, sentence) = metric_in_words(&score.metric, &score.note);
        let definition = Cell::new(sentence.as_str());
        vec![
            Cell::new(name).with(format!("{} · version {} · {}", score.metric, score.version, population_in_words(&score.population))),
            if score.note.is_empty() || score.note == sentence { definition } else { definition.with(score.note.as_str()) },
            Cell::new(statistic_in_words(score)),
            Cell::new(number::count(score.estimate.n)),
            Cell::new(number::count(score.estimate.clusters)),
            Cell::new(score.estimate.method.as_str()),
        ]
    });
    Table { caption: "What each metric is, on how many items of how many clusters".to_owned(), columns, rows: rows.collect() }
}

fn statistic_in_words(score: &MetricScore) -> String {
    use crate::stats::Statistic as S;
    match &score.statistic {
        S::Mean => "mean of the items".to_owned(),
        S::MeanAbsolute => "mean absolute value of the items".to_owned(),
        S::Ratio => "sum of values by sum of weights".to_owned(),
        S::ExpRatio => "exponential of the mean per token".to_owned(),
        S::WorstGroup => "smallest mean of the groups".to_owned(),
        S::GroupDifference { minuend, subtrahend } => format!("mean of {} less mean of {}", capitalised(minuend), capitalised(subtrahend)),
        S::Auc { positive } => format!("chance that an item of {} ranks higher", capitalised(positive)),
        S::CalibrationError { bins } => format!("{bins} bins of equal width"),
    }
}
