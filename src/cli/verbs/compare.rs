//! `compare`: records against the first of them, paired by item.

use anyhow::{Context, Result, bail};
use counterpath::base::{Seed, files};
use counterpath::compare::{CompareSettings, compare};
use counterpath::record::RunRecord;

use super::super::loop_args::Compare;
use super::{Format, print_json};

/// Compares and prints.
pub fn run(args: &Compare, format: Format) -> Result<()> {
    let records: Vec<RunRecord> = args.records.iter().map(|path| RunRecord::load(path)).collect::<Result<_, _>>()?;
    let mut settings = CompareSettings::new(Seed::new(0));
    if !(args.alpha > 0.0 && args.alpha < 0.5) {
        bail!("--alpha {}: it must lie between 0 and 0.5", args.alpha);
    }
    settings.alpha = args.alpha;
    settings.margins = args.margins.iter().map(|text| margin(text)).collect::<Result<_>>()?;
    let comparison = compare(&records.iter().collect::<Vec<_>>(), &settings)?;
    if let Some(output) = &args.output {
        files::write_json(output, &comparison)?;
    }
    match format {
        Format::Json => print_json(&comparison),
        Format::Text => {
            print!("{}", comparison.table());
            Ok(())
        }
    }
}

fn margin(text: &str) -> Result<(String, f64)> {
    let (metric, value) = text.split_once('=').with_context(|| format!("--margin {text}: write METRIC=MARGIN"))?;
    let value: f64 = value.parse().with_context(|| format!("--margin {text}: `{value}` is no number"))?;
    if !(value > 0.0 && value.is_finite()) {
        bail!("--margin {text}: a margin must be above 0");
    }
    Ok((metric.to_owned(), value))
}
