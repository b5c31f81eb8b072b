//! `compare`: records and logs against the first of them, paired by item.

use anyhow::{Context, Result, bail};
use counterpath::base::{Seed, files};
use counterpath::compare::{CompareSettings, Comparison, OnMismatch, align_items, compare};
use counterpath::record::RunRecord;
use counterpath::record::import::{Imported, LogFormat};

use super::super::compare_args::Compare;
use super::results::{objective, pair, read};
use super::{Format, compare_page, print_json};

/// Compares and prints.
pub fn run(args: &Compare, format: Format) -> Result<()> {
    let settings = settings(args)?;
    let mut runs = read(&args.records, &args.read)?;
    let on_mismatch = if args.common { OnMismatch::KeepCommon } else { OnMismatch::Refuse };
    let restricted = align_items(&mut runs, on_mismatch, &settings.bootstrap)?;
    let records: Vec<&RunRecord> = runs.iter().map(|run| &run.record).collect();
    let mut comparison = compare(&records, &settings)?;
    comparison.notes = notes(&runs, restricted);
    write(args, &comparison)?;
    if let Some(html) = &args.html {
        files::write_atomic(html, compare_page::page(&runs, comparison.clone()).html().as_bytes())?;
    }
    match format {
        Format::Json => print_json(&comparison),
        Format::Text => {
            print!("{}", comparison.table());
            Ok(())
        }
    }
}

fn write(args: &Compare, comparison: &Comparison) -> Result<()> {
    if let Some(output) = &args.output {
        files::write_json(output, comparison)?;
    }
    if let Some(markdown) = &args.markdown {
        files::write_atomic(markdown, comparison.markdown().as_bytes())?;
    }
    Ok(())
}

/// What was read as what, what was left out, what was restricted.
pub fn notes(runs: &[Imported], restricted: Vec<String>) -> Vec<String> {
    let foreign = runs.iter().filter(|run| run.format != LogFormat::Record);
    let told = foreign.flat_map(|run| {
        let read = format!("{} was read as {}", run.path.display(), run.format.name());
        let notes = run.notes.iter().map(|note| format!("{}: {note}", run.record.name));
        std::iter::once(read).chain(notes).collect::<Vec<_>>()
    });
    told.chain(restricted).collect()
}

fn settings(args: &Compare) -> Result<CompareSettings> {
    let mut settings = CompareSettings::new(Seed::new(0));
    if !(args.alpha > 0.0 && args.alpha < 0.5) {
        bail!("--alpha {}: it must lie between 0 and 0.5", args.alpha);
    }
    settings.alpha = args.alpha;
    settings.margins = args.margins.iter().map(|text| margin(text)).collect::<Result<_>>()?;
    for text in &args.pareto {
        let (name, metric) = pair("--pareto", text)?;
        settings.pareto.insert(objective(name)?, metric.to_owned());
    }
    Ok(settings)
}

fn margin(text: &str) -> Result<(String, f64)> {
    let (metric, value) = text.split_once('=').with_context(|| format!("--margin {text}: write METRIC=MARGIN"))?;
    let value: f64 = value.parse().with_context(|| format!("--margin {text}: `{value}` is no number"))?;
    if !(value > 0.0 && value.is_finite()) {
        bail!("--margin {text}: a margin must be above 0");
    }
    Ok((metric.to_owned(), value))
}
