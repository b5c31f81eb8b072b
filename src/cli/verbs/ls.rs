//! `ls`: what there is.

use anyhow::Result;
use counterpath::harness::metric::TASK_METRICS;
use counterpath::harness::yaml::{Catalogue, Kind};
use counterpath::trust::METRICS;
use serde_json::{Value, json};

use super::super::task_args::{Listed, Ls};
use super::{Format, print_json};

/// Lists names, one a line, with what they stand for.
pub fn run(args: &Ls, format: Format) -> Result<()> {
    let rows = match args.what {
        Listed::Metrics => metrics(),
        Listed::Tasks => names(args, &[Kind::Task, Kind::Python])?,
        Listed::Groups => names(args, &[Kind::Group])?,
        Listed::Tags => names(args, &[Kind::Tag])?,
        Listed::Perturbations => Vec::new(),
    };
    if format == Format::Json {
        return print_json(&rows);
    }
    let width = rows.iter().filter_map(|row| row["name"].as_str()).map(|name| name.chars().count()).max().unwrap_or(0);
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        println!("{}", format!("{:width$}  {}", text("name"), text("description")).trim_end());
    }
    Ok(())
}

fn metrics() -> Vec<Value> {
    let of_tasks = TASK_METRICS.iter().copied().flatten();
    let of_tasks = of_tasks.map(|metric| json!({"name": metric.id, "of": "tasks", "description": metric.definition}));
    let of_sets = METRICS.iter();
    let of_sets = of_sets.map(|metric| json!({"name": metric.id, "of": "eval sets", "description": metric.definition}));
    of_sets.chain(of_tasks).collect()
}

fn names(args: &Ls, kinds: &[Kind]) -> Result<Vec<Value>> {
    let catalogue = Catalogue::scan(&args.include)?;
    let listed = catalogue.entries().filter(|(_, entry)| kinds.contains(&entry.kind));
    Ok(listed
        .map(|(name, entry)| {
            let path = entry.path.as_ref().map(|path| path.display().to_string());
            let description = match &path {
                Some(path) => path.clone(),
                None => format!("{} tasks", entry.tasks.len()),
            };
            json!({"name": name, "kind": entry.kind.name(), "path": path, "tasks": entry.tasks, "description": description})
        })
        .collect())
}
