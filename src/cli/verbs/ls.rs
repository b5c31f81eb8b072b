//! `ls`: what there is.

use std::collections::BTreeMap;

use anyhow::Result;
use counterpath::harness::builtin;
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

/// Built-in names and those of task files, in one order; a file's name takes the place of a built-in one.
fn names(args: &Ls, kinds: &[Kind]) -> Result<Vec<Value>> {
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in builtin::all() {
        task.groups.iter().for_each(|group| tags.entry(*group).or_default().push(task.id));
        if kinds.contains(&Kind::Task) {
            let row =
                json!({"name": task.id, "kind": "built-in", "description": task.description, "files": task.files});
            rows.insert(task.id.to_owned(), row);
        }
    }
    if kinds.contains(&Kind::Tag) {
        for (tag, tasks) in tags {
            let description = format!("{} built-in tasks", tasks.len());
            rows.insert(
                tag.to_owned(),
                json!({"name": tag, "kind": "tag", "tasks": tasks, "description": description}),
            );
        }
    }
    let catalogue = Catalogue::scan(&args.include)?;
    for (name, entry) in catalogue.entries().filter(|(_, entry)| kinds.contains(&entry.kind)) {
        let path = entry.path.as_ref().map(|path| path.display().to_string());
        let description = path.clone().unwrap_or_else(|| format!("{} tasks", entry.tasks.len()));
        let row = json!({
            "name": name, "kind": entry.kind.name(), "path": path, "tasks": entry.tasks, "description": description,
        });
        rows.insert(name.to_owned(), row);
    }
    Ok(rows.into_values().collect())
}
