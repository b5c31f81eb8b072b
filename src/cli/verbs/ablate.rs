//! `mediate --plan`: sets of sites under many kinds of ablation.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use counterpath::base::{Progress, Seed};
use counterpath::mediate::{AblationEffect, AblationPlan, Runner, ablate_to_file, ablation_operations, read_pairs};
use counterpath::stats::{Bootstrap, Estimate, PatchDirection};
use serde_json::json;

use super::super::load::Loaded;
use super::super::stage_args::Mediate;
use super::sweep::{cost_line, engine, gmacs};
use super::{Format, print_json};

/// Runs a plan on given pairs: rows into the output, the table to the terminal.
pub fn run(
    args: &Mediate,
    (pairs, plan): (&Path, &Path),
    loaded: &Loaded,
    format: Format,
    progress: &dyn Progress,
) -> Result<()> {
    let pairs = read_pairs(pairs, loaded.model.tokenizer().ok())?;
    let plan = AblationPlan::load(plan)?;
    let engine = engine(args);
    let runner = Runner { model: &loaded.model, engine: &engine, progress };
    let cost = ablation_operations(&engine, &loaded.model, &pairs, &plan)?;
    let started = Instant::now();
    let found = ablate_to_file(runner, &pairs, &plan, loaded.adapter_digest()?.as_ref(), &args.output)?;
    let seconds = started.elapsed().as_secs_f64();
    let bootstrap = Bootstrap { replicates: 2000, level: 0.95, seed: Seed::new(args.seed).fork("ablations") };
    let (rows, table) = (found.rows(), found.effects(&pairs, &bootstrap));
    match format {
        Format::Json => print_json(&json!({
            "rows": rows, "pairs": pairs.len(), "output": args.output, "table": table, "seconds": seconds,
            "gmacs": gmacs(cost.reused), "gmacs_without_reuse": gmacs(cost.naive),
        })),
        Format::Text => {
            print!("{}", text(&table));
            println!("{rows} rows of {} pairs written to {}", pairs.len(), args.output.display());
            println!("{}", cost_line(cost, seconds));
            Ok(())
        }
    }
}

/// One line a set, intervention and direction.
fn text(table: &[AblationEffect]) -> String {
    let head = ["set", "intervention", "direction", "joint", "interaction", "direct", "self-repair"];
    let mut lines = vec![head.map(str::to_owned)];
    for line in table {
        let direction = if line.direction == PatchDirection::Noise { "noise" } else { "denoise" };
        let optional = |estimate: &Option<Estimate>| estimate.as_ref().map_or_else(|| "-".to_owned(), shown);
        lines.push([
            line.set.clone(),
            line.intervention.clone(),
            direction.to_owned(),
            shown(&line.joint),
            optional(&line.interaction),
            optional(&line.direct),
            optional(&line.self_repair),
        ]);
    }
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let row = |line: &[String; 7]| {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(row).collect()
}

fn shown(estimate: &Estimate) -> String {
    match (estimate.value, estimate.interval) {
        (Some(value), Some(found)) => format!("{value:.3} [{:.3}, {:.3}]", found.low, found.high),
        (Some(value), None) => format!("{value:.3}"),
        (None, _) => estimate.undefined.clone().unwrap_or_else(|| "-".to_owned()),
    }
}
