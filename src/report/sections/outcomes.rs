//! Before and after: the deciding metrics, the dot plots, and every metric by objective.

use super::{ArmView, View, distinct, estimate_cell, paragraph, picture_note, principal, titled, verdict};
use crate::compare::{MetricComparison, Verdict};
use crate::report::data::{Headline, HeadlineRole};
use crate::report::document::{Block, Cell, Column, Figure, Section, Table, Tone, text};
use crate::report::figure::{Forest, ForestRow};
use crate::report::glossary::Glossary;
use crate::report::number;
use crate::report::words::{metric_in_words, plain, population_in_words};
use crate::stats::{Direction, MetricScore, Objective};

pub(super) fn section(view: &View<'_>, glossary: &mut Glossary) -> Option<Section> {
    let summary = &view.data.summary;
    let deciding: Vec<&MetricScore> =
        summary.headlines.iter().flat_map(|headline| headline_scores(view, headline)).collect();
    let mut blocks = Vec::new();
    if !deciding.is_empty() {
        blocks.extend(glossary.introduce(&["verdict", "margin"]));
        let many = if view.arms.len() > 1 { " The badge is the verdict against the first column." } else { "" };
        blocks.push(paragraph(format!("The metrics that decide, each with its interval.{many}")));
        blocks.push(Block::Table(deciding_table(view)));
        blocks.extend(too_few_clusters(view, &deciding));
        if let Some(figures) = forests(view) {
            blocks.push(picture_note("The same as pictures: the dot is the value, the line its interval; where an effect should stay, the shaded \
                 band is what counts as no harm.",
            ));
            blocks.push(figures);
        }
    }
    for objective in OBJECTIVES {
        let scores = view.scored(|score| score.objective == objective);
        if !scores.is_empty() {
            blocks.push(Block::Table(objective_table(view, objective_in_words(objective), &scores)));
        }
    }
    if !view.data.comparisons.is_empty() {
        blocks.extend(glossary.introduce(&["detectable"]));
        blocks
            .push(Block::Details("Every comparison in numbers".to_owned(), vec![Block::Table(comparison_table(view))]));
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
    let wanted = |population: &String| headline.populations.is_empty() || headline.populations.contains(population);
    let mut scores = view.scored(|score| headline.metrics.contains(&score.metric) && wanted(&score.population));
    scores.sort_by_key(|score| headline.populations.iter().position(|population| *population == score.population));
    scores
}

/// The deciding metrics, grouped by the question that they answer.
fn deciding_table(view: &View<'_>) -> Table {
    let mut rows = Vec::new();
    for headline in &view.data.summary.headlines {
        let scores = headline_scores(view, headline);
        if !scores.is_empty() {
            rows.push(vec![Cell::new(headline.title.as_str())]);
        }
        for score in scores {
            let (name, _) = metric_in_words(&score.metric, &score.note);
            let head = Cell::new(population_in_words(&score.population))
                .with(format!("{name}, {}", unit_and_direction(score)));
            rows.push(with_arms(view, head, score));
        }
    }
    Table { caption: "The deciding metrics".to_owned(), columns: arm_columns(view), rows }
}

/// The metrics of one objective, grouped by metric.
fn objective_table(view: &View<'_>, caption: &str, scores: &[&MetricScore]) -> Table {
    let mut rows = Vec::new();
    for metric in distinct(scores.iter().map(|score| score.metric.as_str())) {
        let own: Vec<_> = scores.iter().filter(|score| score.metric == metric).collect();
        if let Some(first) = own.first() {
            let (name, sentence) = metric_in_words(metric, &first.note);
            rows.push(vec![Cell::new(format!("{name}, {}", unit_and_direction(first))).with(sentence)]);
        }
        rows.extend(own.iter().map(|score| with_arms(view, Cell::new(population_in_words(&score.population)), score)));
    }
    Table { caption: caption.to_owned(), columns: arm_columns(view), rows }
}

/// Says so where verdicts are undecided although the interval of the difference leaves 0 out.
fn too_few_clusters(view: &View<'_>, deciding: &[&MetricScore]) -> Option<Block> {
    let rows = view.arms.iter().flat_map(|arm| deciding.iter().filter_map(|score| view.against_base(arm.name, score)));
    let barred: Vec<&MetricComparison> = rows
        .filter(|row| row.verdict == Verdict::Undecided && row.caution.is_some() && row.difference.excludes_zero())
        .collect();
    let reason = barred.first()?.caution.clone()?;
    let line = format!(
        "{} differences in this table count as undecided although their interval excludes 0: {reason}. Read the \
         intervals of the differences under “Every comparison in numbers”.",
        barred.len()
    );
    Some(Block::Callout(Tone::Unsure, vec![text(line)]))
}

fn arm_columns(view: &View<'_>) -> Vec<Column> {
    std::iter::once(Column::text("population"))
        .chain(view.columns().iter().map(|arm| Column::number(arm.label())))
        .collect()
}

fn with_arms(view: &View<'_>, head: Cell, score: &MetricScore) -> Vec<Cell> {
    let mut head = head;
    let mut cells: Vec<Cell> = view.columns().iter().map(|arm| score_cell(view, arm, score)).collect();
    if let Some(reason) = shared_reason(&cells) {
        cells.iter_mut().filter(|cell| cell.detail.as_ref() == Some(&reason)).for_each(|cell| cell.detail = None);
        head.detail = Some(head.detail.map_or_else(|| reason.clone(), |detail| format!("{detail}; {reason}")));
    }
    std::iter::once(head).chain(cells).collect()
}

/// The reason that several cells of a row give for a missing value or interval: it is told once.
fn shared_reason(cells: &[Cell]) -> Option<String> {
    let reasons = || cells.iter().filter_map(|cell| cell.detail.as_ref()).filter(|detail| !detail.starts_with('['));
    let first = reasons().next()?;
    (reasons().filter(|reason| *reason == first).count() > 1).then(|| first.clone())
}

fn unit_and_direction(score: &MetricScore) -> String {
    let better = match score.direction {
        Direction::Higher => ", higher is better",
        Direction::Lower => ", lower is better",
        Direction::Descriptive => "",
    };
    format!("{}{better}", number::unit_in_words(&score.unit))
}

fn score_cell(view: &View<'_>, arm: &ArmView<'_>, score: &MetricScore) -> Cell {
    let Some(own) = arm.record.score(&score.metric, &score.population) else { return Cell::new("–") };
    let cell = estimate_cell(&own.estimate, &own.unit);
    match view.against_base(arm.name, score) {
        Some(row) if own.estimate.value.is_some() => {
            let (tone, word) = verdict(row.verdict);
            cell.badge(tone, word)
        }
        _ => cell,
    }
}

/// One dot plot a deciding metric and population.
fn forests(view: &View<'_>) -> Option<Block> {
    if view.arms.len() < 2 {
        return None;
    }
    let mut figures = Vec::new();
    for headline in &view.data.summary.headlines {
        for score in principal(&headline_scores(view, headline)) {
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
            let caption = title.clone();
            let from_zero = headline.role != HeadlineRole::Outcome;
            figures.push(Figure::Forest(Forest { title, caption, unit: score.unit.clone(), rows, band, from_zero }));
        }
    }
    (!figures.is_empty()).then_some(Block::Figures(figures))
}

/// Base ± margin, for effects that should stay.
fn band(view: &View<'_>, headline: &Headline, score: &MetricScore) -> Option<(f64, f64)> {
    let focus = view.focus()?;
    let row = view.against_base(focus.name, score)?;
    match (headline.role, row.margin, row.baseline.value) {
        (HeadlineRole::Wanted, Some(margin), Some(base)) => Some((base - margin, base + margin)),
        _ => None,
    }
}

fn comparison_table(view: &View<'_>) -> Table {
    let columns = vec![
        Column::text("metric"),
        Column::number("difference"),
        Column::number("corrected p"),
        Column::number("margin"),
        Column::number("detectable"),
        Column::text("verdict"),
    ];
    let mut rows = Vec::new();
    for comparison in &view.data.comparisons {
        for candidate in &comparison.candidates {
            let title = format!("{} against {}", plain(&candidate.name), plain(&comparison.baseline));
            rows.push(vec![Cell::new(title).with(format!(
                "Holm over {} tests at α = {}; differences are {} less {}",
                comparison.family,
                comparison.alpha,
                plain(&candidate.name),
                plain(&comparison.baseline)
            ))]);
            rows.extend(candidate.rows.iter().map(comparison_row));
        }
    }
    Table { caption: "Paired differences".to_owned(), columns, rows }
}

pub(in crate::report) fn comparison_row(row: &MetricComparison) -> Vec<Cell> {
    let (name, _) = metric_in_words(&row.metric, "");
    let factor = if number::unit_in_words(&row.unit) == "%" { 100.0 } else { 1.0 };
    let plain_number =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| number::significant(value * factor));
    let (tone, word) = verdict(row.verdict);
    let conclusion = Cell::default().badge(tone, word);
    let p = Cell::new(row.adjusted_p.map_or_else(|| "–".to_owned(), number::p_value));
    vec![
        Cell::new(name).with(format!(
            "{} · {}",
            population_in_words(&row.population),
            number::unit_in_words(&row.unit)
        )),
        estimate_cell(&row.difference, &row.unit),
        if row.headline || row.adjusted_p.is_none() { p } else { p.with("exploratory") },
        Cell::new(plain_number(row.margin)),
        Cell::new(plain_number(row.minimum_detectable)),
        match &row.caution {
            Some(caution) => conclusion.with(caution.as_str()),
            None => conclusion,
        },
    ]
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
            Cell::new(name).with(format!(
                "{} · version {} · {}",
                score.metric,
                score.version,
                population_in_words(&score.population)
            )),
            if score.note.is_empty() || score.note == sentence {
                definition
            } else {
                definition.with(score.note.as_str())
            },
            Cell::new(statistic_in_words(score)),
            Cell::new(number::count(score.estimate.n)),
            Cell::new(number::count(score.estimate.clusters)),
            Cell::new(score.estimate.method.as_str()),
        ]
    });
    Table {
        caption: "What each metric is, on how many items of how many clusters".to_owned(),
        columns,
        rows: rows.collect(),
    }
}

fn statistic_in_words(score: &MetricScore) -> String {
    use crate::stats::Statistic as S;
    match &score.statistic {
        S::Mean => "mean of the items".to_owned(),
        S::Share => "share of the items".to_owned(),
        S::MeanAbsolute => "mean absolute value of the items".to_owned(),
        S::Ratio => "sum of values by sum of weights".to_owned(),
        S::ExpRatio => "exponential of the mean per token".to_owned(),
        S::WorstGroup => "smallest mean of the groups".to_owned(),
        S::GroupDifference { minuend, subtrahend } => {
            format!("mean of {} less mean of {}", plain(minuend), plain(subtrahend))
        }
        S::Auc { positive } => format!("chance that an item of {} ranks higher", plain(positive)),
        S::Wasserstein => "Wasserstein-1 distance of two sets of scores".to_owned(),
        S::CalibrationError { bins } => format!("{bins} bins of equal width"),
        S::BiasScore(_) => "bias score".into(),
        S::Icat => "of means over terms".into(),
        S::Disparity(_) => "between groups".into(),
        S::AdjustedMean => "mean of group means".into(),
        S::Correlation => "correlation".into(),
        S::Slope => "slope".into(),
        S::CalibrationErrorByMass { bins } => format!("{bins} bins of equal mass"),
        S::SelectiveAccuracy { coverage } => format!("share of hits in the surest {:.0} %", 100.0 * coverage),
        S::CoverageArea => "mean over all shares of surest items".to_owned(),
        S::F1 => "F1 of the positive class".to_owned(),
        S::Matthews => "Matthews' correlation of predicted and true class".to_owned(),
        S::Median => "median of the items".to_owned(),
    }
}
