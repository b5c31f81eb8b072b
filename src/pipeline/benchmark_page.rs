//! The benchmark's result as its page shows it.

use crate::planted::{Benchmark, CalibrationRow, Difference, DormantEffects, Row, Section, TrapRow};
use crate::report::{BenchmarkPage, CalibrationPoint, MethodDifference, MethodRow, MethodTable, Trap};

/// Differences of a table that are shown; all are in the JSON.
const SHOWN: usize = 12;

/// The page of a result; `command` makes it again.
pub fn benchmark_page(found: &Benchmark, command: &str) -> BenchmarkPage {
    BenchmarkPage {
        subtitle: format!(
            "Generator {}, stream {}, {} compiled models, {} pairs a task",
            found.generator,
            found.stream_digest.short(),
            found.models,
            found.pairs
        ),
        accepted: found
            .trained
            .iter()
            .map(|(name, acceptance)| format!("{name}: {}", acceptance.lines().join("; ")))
            .collect(),
        tables: found.table.sections.iter().map(method_table).collect(),
        traps: found.table.traps.iter().map(trap).collect(),
        dormant: dormant(&found.dormant),
        calibration: found.calibration.iter().map(point).collect(),
        command: command.to_owned(),
    }
}

fn method_table(section: &Section) -> MethodTable {
    let row = |row: &Row| MethodRow {
        method: row.method.clone(),
        auroc: row.auroc.clone(),
        average_precision: row.average_precision.clone(),
        precision: row.precision.clone(),
        recall: row.recall.clone(),
    };
    let mut tested: Vec<&Difference> =
        section.differences.iter().filter(|difference| difference.adjusted.is_some()).collect();
    let size = |difference: &Difference| difference.difference.value.unwrap_or(0.0).abs();
    tested.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let clear = tested.iter().filter(|difference| difference.adjusted.is_some_and(|q| q <= 0.05)).count();
    let difference = |found: &&Difference| MethodDifference {
        methods: format!("{} less {}", found.first, found.second),
        difference: found.difference.clone(),
        adjusted: found.adjusted,
    };
    MethodTable {
        title: format!("{}: {}", section.tier.name(), section.grain.name()),
        note: format!(
            "{} tasks of {:.0} units on average; by chance average precision is {:.3}.",
            section.tasks, section.units, section.prevalence
        ),
        rows: section.rows.iter().map(row).collect(),
        compared: Some((clear, tested.len())),
        differences: tested.iter().take(SHOWN).map(difference).collect(),
    }
}

fn trap(row: &TrapRow) -> Trap {
    Trap {
        tier: row.tier.name().to_owned(),
        label: row.label.clone(),
        on_pathway: row.on_pathway,
        nodes: row.nodes,
        fallen: row.fallen.clone(),
    }
}

fn dormant(found: &[(String, DormantEffects)]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mean = |pick: fn(&DormantEffects) -> f64| {
        found.iter().map(|(_, effects)| pick(effects).abs()).sum::<f64>() / found.len() as f64
    };
    format!(
        "Dormant direction, mean |effect| over {} models in nats: {:.4} of a one-dimensional patch (closed form {:.4}), {:.4} of the whole component that it lies in. A subspace that beats its component is to be rejected.",
        found.len(),
        mean(|effects| effects.subspace),
        mean(|effects| effects.closed_form),
        mean(|effects| effects.component)
    )
}

fn point(row: &CalibrationRow) -> CalibrationPoint {
    CalibrationPoint {
        strength: row.strength,
        direction: row.direction,
        claimed: row.claimed,
        actual: row.actual.clone(),
        discoveries: row.discoveries,
        power: row.power,
    }
}
