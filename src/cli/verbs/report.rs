//! `report`: the report of a finished run, made again from its folder.

use anyhow::Result;
use counterpath::base::files;
use counterpath::report::{ReportData, html, markdown};
use serde_json::json;

use super::super::loop_args::Report;
use super::{Format, print_json};

/// Writes HTML and Markdown.
pub fn run(args: &Report, format: Format) -> Result<()> {
    let data = ReportData::load(&args.run)?;
    let mut wanted = (args.html.clone(), args.markdown.clone());
    if wanted == (None, None) {
        let folder = if args.run.is_dir() { args.run.clone() } else { args.run.with_extension("") };
        wanted = (Some(folder.join("report.html")), Some(folder.join("report.md")));
    }
    if let Some(path) = &wanted.0 {
        files::write_atomic(path, html(&data).as_bytes())?;
    }
    if let Some(path) = &wanted.1 {
        files::write_atomic(path, markdown(&data).as_bytes())?;
    }
    match format {
        Format::Json => print_json(&json!({"html": wanted.0, "markdown": wanted.1})),
        Format::Text => {
            for path in [wanted.0, wanted.1].into_iter().flatten() {
                println!("{}", path.display());
            }
            Ok(())
        }
    }
}
