//! `explain`: what a metric is, or all metrics.

use anyhow::Result;
use counterpath::harness::explain::{explain, listed};

use super::super::args::Explain;
use super::{Format, print_json};

/// Prints one metric's explanation, or a line for each metric.
pub fn run(args: &Explain, format: Format) -> Result<()> {
    let Some(metric) = &args.metric else {
        let all = listed();
        return match format {
            Format::Json => print_json(&all),
            Format::Text => {
                let width = all.iter().map(|line| line.metric.len()).max().unwrap_or(0);
                all.iter().for_each(|line| println!("{:width$}  {}", line.metric, line.definition));
                Ok(())
            }
        };
    };
    let said = explain(metric)?;
    match format {
        Format::Json => print_json(&said),
        Format::Text => {
            print!("{said}");
            Ok(())
        }
    }
}
