//! `export`: a record or log in the formats of other tools.

use anyhow::{Result, bail};
use counterpath::record::export::{inspect_logs, write_items};

use super::super::compare_args::Export;
use super::results::read;
use super::{Format, print_json};

/// Writes what was asked for.
pub fn run(args: &Export, format: Format) -> Result<()> {
    if args.inspect.is_none() && args.items.is_none() {
        bail!("export: give --inspect FOLDER or --items FILE");
    }
    let runs = read(std::slice::from_ref(&args.record), &args.read)?;
    let mut written = Vec::new();
    for run in &runs {
        if let Some(folder) = &args.inspect {
            written.extend(inspect_logs(run, folder)?);
        }
        if let Some(file) = &args.items {
            write_items(&run.record, file)?;
            written.push(file.clone());
        }
    }
    match format {
        Format::Json => print_json(&written),
        Format::Text => {
            written.iter().for_each(|path| println!("{}", path.display()));
            Ok(())
        }
    }
}
