//! Plain-text tables for a terminal, as strings: the binary prints them. Every table fits the given width by
//! wrapping its widest columns of text; numbers are never broken.

mod grid;

pub use grid::{Align, properties, table};

use grid::push_wrapped;

use crate::record::RunRecord;
use crate::report::data::TargetStatus;
use crate::report::folder::ReportData;
use crate::report::number;
use crate::report::words::{metric_in_words, plain};
use crate::stats::{Effect, EffectKind, EffectScale, Estimate, SiteEffect};

/// The metrics of one record: what `evaluate` prints. Undefined values are followed by their reasons.
pub fn scores(record: &RunRecord, width: usize) -> String {
    let heads = [
        ("metric", Align::Left),
        ("population", Align::Left),
        ("value", Align::Right),
        ("interval", Align::Right),
        ("unit", Align::Left),
        ("items", Align::Right),
    ];
    let rows: Vec<Vec<String>> = record
        .scores
        .iter()
        .map(|score| {
            let mut row = vec![score.metric.clone(), score.population.clone()];
            row.extend(value_and_interval(&score.estimate, &score.unit));
            row.extend([number::unit_in_words(&score.unit).to_owned(), score.estimate.n.to_string()]);
            row
        })
        .collect();
    let mut out = table(&heads, &rows, width);
    for score in
        record.scores.iter().filter(|score| score.estimate.value.is_none() || score.estimate.interval.is_none())
    {
        let (name, _) = metric_in_words(&score.metric, &score.note);
        let note = format!("{name} of {}: {}", score.population, number::reason(&score.estimate));
        push_wrapped(&mut out, "! ", &note, width);
    }
    out
}

/// The prompt-level and mediated effects of one record in log-odds: what `mediate` prints.
pub fn effects(record: &RunRecord, width: usize) -> String {
    let heads = [
        ("effect", Align::Left),
        ("population", Align::Left),
        ("nats", Align::Right),
        ("interval", Align::Right),
        ("p", Align::Right),
        ("through", Align::Left),
    ];
    let shown = record.effects.iter().filter(|effect| effect.scale == EffectScale::LogOdds);
    let rows: Vec<Vec<String>> = shown
        .clone()
        .map(|effect| {
            let mut row = vec![kind(effect).to_owned(), effect.population.clone()];
            row.extend(value_and_interval(&effect.estimate, "nats"));
            row.push(ascii(&effect.p_value.map_or_else(|| "-".to_owned(), number::p_value)));
            row.push(effect.through.clone().unwrap_or_default());
            row
        })
        .collect();
    let mut out = table(&heads, &rows, width);
    for effect in shown.filter(|effect| effect.estimate.value.is_none()) {
        push_wrapped(
            &mut out,
            "! ",
            &format!("{} of {}: {}", kind(effect), effect.population, number::reason(&effect.estimate)),
            width,
        );
    }
    out
}

/// The strongest sites of every sweep of one record.
pub fn strongest_sites(record: &RunRecord, count: usize, width: usize) -> String {
    let heads = [
        ("site", Align::Left),
        ("direction", Align::Left),
        ("population", Align::Left),
        ("nats", Align::Right),
        ("interval", Align::Right),
        ("q", Align::Right),
    ];
    let mut rows = Vec::new();
    for sweep in &record.sites {
        let mut ordered: Vec<&SiteEffect> = sweep.effects.iter().collect();
        let size = |site: &SiteEffect| site.estimate.value.map_or(0.0, f64::abs);
        ordered.sort_by(|a, b| size(b).total_cmp(&size(a)));
        for site in ordered.into_iter().take(count) {
            let mut row =
                vec![site.site.clone(), format!("{:?}", site.direction).to_lowercase(), sweep.population.clone()];
            row.extend(value_and_interval(&site.estimate, "nats"));
            row.push(ascii(&site.q_value.map_or_else(|| "-".to_owned(), number::p_value)));
            rows.push(row);
        }
    }
    table(&heads, &rows, width)
}

/// What a finished run comes to: the deciding metrics of every arm, then each target with what became of it.
pub fn run(data: &ReportData, width: usize) -> String {
    let mut out = String::new();
    for headline in &data.summary.headlines {
        let arms: Vec<String> = data.records.iter().map(|record| plain(&record.name)).collect();
        let heads: Vec<(&str, Align)> =
            std::iter::once(("", Align::Left)).chain(arms.iter().map(|arm| (arm.as_str(), Align::Right))).collect();
        let base = data.records.first();
        let wanted = |population: &String| headline.populations.is_empty() || headline.populations.contains(population);
        let scores = base.into_iter().flat_map(|base| &base.scores);
        let rows: Vec<Vec<String>> = scores
            .filter(|score| headline.metrics.contains(&score.metric) && wanted(&score.population))
            .map(|score| {
                let cells = data.records.iter().map(|record| {
                    let own = record.score(&score.metric, &score.population);
                    own.map_or_else(|| "-".to_owned(), |own| ascii(&number::value(&own.estimate, &own.unit)))
                });
                let unit = number::unit_in_words(&score.unit);
                std::iter::once(format!("{}, {unit}", score.population)).chain(cells).collect()
            })
            .collect();
        if !rows.is_empty() {
            out.push_str(&format!("{}\n", headline.title));
            out.push_str(&table(&heads, &rows, width));
            out.push('\n');
        }
    }
    for target in &data.summary.targets {
        let status = match target.status {
            TargetStatus::Met => "MET        ",
            TargetStatus::Failed => "FAILED     ",
            TargetStatus::Undecided => "UNDECIDED  ",
        };
        let line = format!("{}: {} (required: {})", target.claim, target.measured, target.criterion);
        push_wrapped(&mut out, status, &line, width);
    }
    out
}

fn kind(effect: &Effect) -> &'static str {
    match effect.kind {
        EffectKind::Total => "TE",
        EffectKind::NaturalDirect => "NDE",
        EffectKind::NaturalIndirect => "NIE",
        EffectKind::ReversedNaturalIndirect => "reversed NIE",
    }
}

fn value_and_interval(estimate: &Estimate, unit: &str) -> [String; 2] {
    [ascii(&number::value(estimate, unit)), ascii(&number::interval(estimate, unit).unwrap_or_else(|| "-".to_owned()))]
}

/// The typographic minus as a hyphen, so that numbers can be copied from a terminal.
fn ascii(text: &str) -> String {
    text.replace('−', "-").replace('\u{202f}', " ")
}
