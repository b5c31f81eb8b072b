//! The tables of a circuit: areas, evidence, sizes, single edges, other ablations, other checkpoints.

use super::circuits::NamedChange;
use super::estimate_cell;
use crate::record::CircuitRecord;
use crate::report::document::{Cell, Column, Table, Tone};
use crate::report::number;
use crate::report::words::plain;
use crate::stats::Estimate;
use crate::stats::circuit::{
    Areas, Axis, CircuitEvaluation, Contrast, EdgeEffect, FaithfulnessCurve, HypothesisTest, Judgement, Ranking,
};

/// By what a curve's edges were ranked.
pub(super) fn ranked(ranking: Ranking) -> &'static str {
    match ranking {
        Ranking::Signed => "by signed score",
        Ranking::Absolute => "by absolute score",
    }
}

/// CPR and CMD on every axis.
pub(super) fn areas(curves: &[FaithfulnessCurve]) -> Option<Table> {
    if curves.is_empty() {
        return None;
    }
    let columns = vec![
        Column::text("area"),
        Column::number("fixed axis"),
        Column::number("realised axis"),
        Column::number("log axis"),
    ];
    let row = |curve: &FaithfulnessCurve, name: &str, pick: fn(Areas) -> f64| {
        let mut cells = vec![Cell::new(name).with(ranked(curve.ranking))];
        let value = |axis| curve.areas(axis).map_or_else(|| "–".to_owned(), |areas| number::fixed(pick(areas), 3));
        cells.extend(Axis::ALL.map(|axis| Cell::new(value(axis))));
        cells
    };
    let rows = curves.iter().map(|curve| match curve.ranking {
        Ranking::Signed => row(curve, "CPR, more is better", |areas| areas.cpr),
        Ranking::Absolute => row(curve, "CMD, less is better", |areas| areas.cmd),
    });
    let ideal = ["0.999 and 0", "0.999 and 0", "6.908 and 0"];
    let mut rows: Vec<Vec<Cell>> = rows.collect();
    rows.push(std::iter::once(Cell::new("a perfect circuit's CPR and CMD")).chain(ideal.map(Cell::new)).collect());
    Some(Table { caption: "Areas under the curve".to_owned(), columns, rows })
}

/// Random circuits and the tests of the circuit hypothesis.
pub(super) fn evidence(circuit: &CircuitRecord) -> Option<Table> {
    let judgement = circuit.report.judgement.as_ref()?;
    let columns = vec![
        Column::text("test"),
        Column::number("statistic"),
        Column::number("p of the null"),
        Column::number("n"),
        Column::text("outcome"),
    ];
    let mut rows = vec![random_row(judgement)];
    rows.extend(judgement.tests.iter().map(test_row));
    let tested = judgement.minimality.len();
    if tested > 0 {
        let (tone, word) = if judgement.superfluous.is_empty() {
            (Tone::Good, "none superfluous")
        } else {
            (Tone::Unsure, "superfluous edges")
        };
        let named = match judgement.superfluous.as_slice() {
            [] => "no edge does less than a random edge added to the circuit".to_owned(),
            edges => format!("these do less than random edges added to it: {}", edges.join(", ")),
        };
        rows.push(vec![
            Cell::new("minimality").with(named),
            Cell::new(judgement.superfluous.len().to_string()),
            Cell::new("–"),
            Cell::new(tested.to_string()),
            Cell::default().badge(tone, word),
        ]);
    }
    if let Some(completeness) = &circuit.report.completeness {
        rows.push(vec![
            Cell::new("completeness").with(
                "how far model and circuit part, as a share of the effect, when random halves of the circuit are cut in both: mean, worst below",
            ),
            Cell::new(number::percent(completeness.mean)).with(format!("worst {}", number::percent(completeness.worst))),
            Cell::new("–"),
            Cell::new(completeness.draws.to_string()),
            Cell::new("described"),
        ]);
    }
    Some(Table { caption: "What the circuit stood up to".to_owned(), columns, rows })
}

fn random_row(judgement: &Judgement) -> Vec<Cell> {
    let random = &judgement.random;
    let shares: Vec<f64> = random.faithfulness.iter().flatten().copied().collect();
    let best = shares.iter().copied().reduce(f64::max);
    let (tone, word) = if random.p_value < 0.05 { (Tone::Good, "beaten") } else { (Tone::Unsure, "not beaten") };
    vec![
        Cell::new("random circuits")
            .with("null: random circuits of its size are as faithful; the statistic is the best of them"),
        Cell::new(best.map_or_else(|| "–".to_owned(), number::percent)),
        Cell::new(number::p_value(random.p_value)),
        Cell::new(random.faithfulness.len().to_string()),
        Cell::default().badge(tone, word),
    ]
}

fn test_row(test: &HypothesisTest) -> Vec<Cell> {
    let (tone, word) = if test.passed { (Tone::Good, "passed") } else { (Tone::Bad, "failed") };
    vec![
        Cell::new(plain(&test.name)).with(format!("null: {}", test.null)),
        Cell::new(number::significant(test.statistic)),
        Cell::new(number::p_value(test.p_value)),
        Cell::new(test.n.to_string()),
        Cell::default().badge(tone, word),
    ]
}

/// The curve as a table.
pub(super) fn sizes(curves: &[FaithfulnessCurve]) -> Option<Table> {
    let first = curves.first()?;
    let mut columns = vec![Column::text("share of edges")];
    for curve in curves {
        columns.push(Column::number(format!("edges {}", ranked(curve.ranking))));
        columns.push(Column::number("faithfulness"));
    }
    let rows = first.points.iter().enumerate().map(|(at, point)| {
        let mut cells = vec![Cell::new(number::significant(point.fraction))];
        for curve in curves {
            let Some(point) = curve.points.get(at) else { continue };
            cells.push(Cell::new(point.realised.to_string()).with(format!("of {} taken", point.requested)));
            cells.push(estimate_cell(&point.faithfulness, ""));
        }
        cells
    });
    Some(Table { caption: "Circuits of growing size, pruned".to_owned(), columns, rows: rows.collect() })
}

pub(super) fn edge_effects(circuit: &CircuitRecord) -> Option<Table> {
    let effects = &circuit.report.minimality;
    if effects.is_empty() {
        return None;
    }
    let columns = vec![Column::text("edge"), Column::number("effect in the circuit, nats"), Column::number("q")];
    let row = |EdgeEffect { edge, effect, adjusted, .. }: &EdgeEffect| {
        vec![
            Cell::code(edge.as_str()),
            estimate_cell(effect, "nats"),
            Cell::new(adjusted.map_or_else(|| "–".to_owned(), number::p_value)),
        ]
    };
    let caption = "The circuit less the circuit without one edge".to_owned();
    Some(Table { caption, columns, rows: effects.iter().map(row).collect() })
}

pub(super) fn ablations(circuit: &CircuitRecord) -> Option<Table> {
    if circuit.sensitivity.is_empty() {
        return None;
    }
    let columns = vec![
        Column::text("ablation"),
        Column::number("total, nats"),
        Column::number("faithfulness, %"),
        Column::number("of the rest, %"),
    ];
    let row = |of: &CircuitEvaluation| {
        vec![
            Cell::new(plain(&of.ablation)),
            estimate_cell(&of.total, "nats"),
            estimate_cell(&of.faithfulness, "share"),
            estimate_cell(&of.complement_faithfulness, "share"),
        ]
    };
    let caption = "The same circuit under every ablation".to_owned();
    Some(Table { caption, columns, rows: circuit.sensitivity.iter().map(row).collect() })
}

/// Each checkpoint beside the first: what the circuit carries there, with paired differences.
pub(super) fn change_table(changes: &[&NamedChange<'_>], base: &str) -> Option<Table> {
    let (_, first) = changes.first()?;
    let columns = vec![
        Column::text("checkpoint"),
        Column::number("effect, nats"),
        Column::number("through it, nats"),
        Column::number("around it, nats"),
        Column::number("faithfulness, %"),
    ];
    let before = &first.comparison.before;
    let mut rows = vec![checkpoint(base, before, &[])];
    rows.extend(
        changes.iter().map(|(name, change)| checkpoint(name, &change.comparison.after, &change.comparison.contrasts)),
    );
    let caption = format!("The same circuit before and after; below each value its paired difference from {base}");
    Some(Table { caption, columns, rows })
}

fn checkpoint(name: &str, of: &CircuitEvaluation, contrasts: &[Contrast]) -> Vec<Cell> {
    let less = |estimate: &Estimate| Some(estimate.value? - of.empty.value?);
    let values = [("total", less(&of.whole)), ("carried", less(&of.circuit)), ("left", less(&of.complement))];
    let mut cells = vec![Cell::new(name)];
    for (quantity, value) in values {
        let cell = Cell::new(value.map_or_else(|| "–".to_owned(), |value| number::fixed(value, 2)));
        let contrast = contrasts.iter().find(|contrast| contrast.quantity == quantity);
        cells.push(match contrast {
            Some(contrast) => cell.with(difference(contrast)),
            None => cell,
        });
    }
    cells.push(estimate_cell(&of.faithfulness, "share"));
    cells
}

/// `−4.28 [−4.31, −4.25], p < 0.001`.
fn difference(contrast: &Contrast) -> String {
    let value = number::in_full(&contrast.difference, "");
    match contrast.p_value.map(number::p_value) {
        Some(p) if p.starts_with('<') => format!("{value}, p {p}"),
        Some(p) => format!("{value}, p = {p}"),
        None => value,
    }
}
