//! The benchmark as Markdown; the terminal shows the same text.

use std::fmt::Write;

use super::benchmark::Benchmark;
use super::calibration::CalibrationRow;
use super::methods::DormantEffects;
use super::table::{Difference, Section, TrapRow};
use crate::stats::{Estimate, PatchDirection};

/// Differences of a section that are shown; all are in the JSON.
const SHOWN: usize = 12;

/// The whole result.
pub fn markdown(benchmark: &Benchmark) -> String {
    let mut out = String::from("# Pathway discovery on planted models\n\n");
    // Writing to a text cannot fail.
    let _ = writeln!(
        out,
        "Generator {}, stream {}, {} compiled models, {} pairs a task. Scores are ranked by magnitude; intervals are 95 %, over models.",
        benchmark.generator,
        benchmark.stream_digest.short(),
        benchmark.models,
        benchmark.pairs
    );
    for (name, acceptance) in &benchmark.trained {
        let _ = writeln!(out, "\nTrained model `{name}`: {}.", acceptance.lines().join("; "));
    }
    for part in &benchmark.table.sections {
        section(&mut out, part);
    }
    traps(&mut out, &benchmark.table.traps);
    dormant(&mut out, benchmark);
    calibration(&mut out, &benchmark.calibration);
    out
}

fn number(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else { return "–".into() };
    match &estimate.interval {
        Some(interval) => format!("{value:.3} [{:.3}, {:.3}]", interval.low, interval.high),
        None => format!("{value:.3}"),
    }
}

fn section(out: &mut String, section: &Section) {
    let _ = writeln!(
        out,
        "\n## {}: {}\n\n{} tasks of {:.0} units on average, prevalence {:.3} (average precision by chance).\n",
        section.tier.name(),
        section.grain.name(),
        section.tasks,
        section.units,
        section.prevalence
    );
    let _ = writeln!(out, "| method | AUROC | average precision | precision at true size | recall at true size |");
    let _ = writeln!(out, "|---|---|---|---|---|");
    for row in &section.rows {
        let [auroc, ap, precision, recall] =
            [&row.auroc, &row.average_precision, &row.precision, &row.recall].map(number);
        let _ = writeln!(out, "| {} | {auroc} | {ap} | {precision} | {recall} |", row.method);
    }
    if let Some(reason) = section.rows.iter().find_map(|row| row.auroc.undefined.as_ref()) {
        let _ = writeln!(out, "\nWhere an interval is missing: {reason}.");
    }
    differences(out, &section.differences);
}

fn differences(out: &mut String, differences: &[Difference]) {
    let mut tested: Vec<&Difference> = differences.iter().filter(|difference| difference.adjusted.is_some()).collect();
    if tested.is_empty() {
        return;
    }
    let size = |difference: &Difference| difference.difference.value.unwrap_or(0.0).abs();
    tested.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let clear = tested.iter().filter(|difference| difference.adjusted.is_some_and(|q| q <= 0.05)).count();
    let _ = writeln!(
        out,
        "\n{clear} of {} paired differences of AUROC hold at a false-discovery rate of 5 % (Benjamini–Hochberg). The largest:\n",
        tested.len()
    );
    let _ = writeln!(out, "| methods | difference | p | adjusted |\n|---|---|---|---|");
    for difference in tested.into_iter().take(SHOWN) {
        let p = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2e}"));
        let _ = writeln!(
            out,
            "| {} less {} | {} | {} | {} |",
            difference.first,
            difference.second,
            number(&difference.difference),
            p(difference.p_value),
            p(difference.adjusted)
        );
    }
}

fn traps(out: &mut String, traps: &[TrapRow]) {
    let Some(first) = traps.first() else { return };
    let _ = writeln!(
        out,
        "\n## Who falls into which trap\n\nShare of nodes that are wrong at the true size: missed where they lie on a pathway, taken for it where they do not.\n"
    );
    let names: Vec<&str> = first.fallen.iter().map(|(method, _)| method.as_str()).collect();
    let _ = writeln!(out, "| tier | nodes | on a pathway | n | {} |", names.join(" | "));
    let _ = writeln!(out, "|---|---|---|---|{}", "---|".repeat(names.len()));
    for trap in traps {
        let fallen: Vec<String> = trap.fallen.iter().map(|(_, share)| format!("{share:.2}")).collect();
        let on = if trap.on_pathway { "yes" } else { "no" };
        let (tier, label) = (trap.tier.name(), &trap.label);
        let _ = writeln!(out, "| {tier} | {label} | {on} | {} | {} |", trap.nodes, fallen.join(" | "));
    }
}

fn dormant(out: &mut String, benchmark: &Benchmark) {
    let count = benchmark.dormant.len();
    if count == 0 {
        return;
    }
    let mean = |pick: fn(&DormantEffects) -> f64| {
        benchmark.dormant.iter().map(|(_, effects)| pick(effects).abs()).sum::<f64>() / count as f64
    };
    let _ = writeln!(
        out,
        "\nDormant direction, mean |effect| over {count} models in nats: {:.4} of a one-dimensional patch (closed form {:.4}), {:.4} of the whole component that it lies in. A subspace that beats its component is to be rejected.",
        mean(|effects| effects.subspace),
        mean(|effects| effects.closed_form),
        mean(|effects| effects.component)
    );
}

fn calibration(out: &mut String, rows: &[CalibrationRow]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## Claimed and actual false-discovery rate\n\nExact effects, sign flips over pairs, Benjamini–Hochberg over a model's nodes. Strength 0 plants nothing.\n"
    );
    let _ = writeln!(
        out,
        "| strength | direction | claimed | actual | discoveries a model | power |\n|---|---|---|---|---|---|"
    );
    for row in rows {
        let direction = match row.direction {
            PatchDirection::Noise => "noising",
            PatchDirection::Denoise => "denoising",
        };
        let power = row.power.map_or("–".to_owned(), |power| format!("{power:.3}"));
        let _ = writeln!(
            out,
            "| {} | {direction} | {} | {} | {:.2} | {power} |",
            row.strength,
            row.claimed,
            number(&row.actual),
            row.discoveries
        );
    }
}
