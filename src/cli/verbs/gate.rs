//! `gate`: candidates against a baseline by rules.

use anyhow::Result;
use counterpath::base::{Seed, files};
use counterpath::compare::gate::{Rules, gate};
use counterpath::compare::{CompareSettings, OnMismatch, align_items};
use counterpath::record::RunRecord;

use super::super::compare_args::Gate;
use super::compare::notes;
use super::results::read;
use super::{Format, print_json};

/// The gate is closed; the program ends with exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("the gate is closed: {closing} of {all} checks failed")]
pub struct Closed {
    closing: usize,
    all: usize,
}

/// Holds the gate, prints it, writes it.
pub fn run(args: &Gate, format: Format) -> Result<()> {
    let rules = Rules::load(&args.rules)?;
    let mut runs = read(&args.records, &args.read)?;
    let on_mismatch = if args.common { OnMismatch::KeepCommon } else { OnMismatch::Refuse };
    let bootstrap = CompareSettings::new(Seed::new(rules.seed)).bootstrap;
    let restricted = align_items(&mut runs, on_mismatch, &bootstrap)?;
    let records: Vec<&RunRecord> = runs.iter().map(|run| &run.record).collect();
    let mut held = gate(&rules, &records)?;
    held.notes = notes(&runs, restricted);
    if let Some(junit) = &args.junit {
        files::write_atomic(junit, held.junit().as_bytes())?;
    }
    if let Some(markdown) = &args.markdown {
        files::write_atomic(markdown, held.markdown().as_bytes())?;
    }
    match format {
        Format::Json => print_json(&held)?,
        Format::Text => print!("{}", held.table()),
    }
    match held.closing() {
        0 => Ok(()),
        closing => Err(Closed { closing, all: held.checks.len() }.into()),
    }
}
