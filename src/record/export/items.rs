//! Every item of every metric, one row each.

use std::path::Path;

use serde::Serialize;

use crate::base::FileError;
use crate::base::files::{Column, RowFile};
use crate::record::RunRecord;
use crate::stats::{Direction, Item, MetricScore};

const COLUMNS: [Column; 12] = [
    Column::text("record"),
    Column::text("metric"),
    Column::integer("version"),
    Column::text("population"),
    Column::text("objective"),
    Column::text("unit"),
    Column::text("direction"),
    Column::text("item"),
    Column::text("cluster"),
    Column::text("group").or_null(),
    Column::number("value"),
    Column::number("weight").or_null(),
];

#[derive(Serialize)]
struct Row<'a> {
    record: &'a str,
    metric: &'a str,
    version: u32,
    population: &'a str,
    objective: String,
    unit: &'a str,
    direction: &'a str,
    item: &'a str,
    cluster: &'a str,
    group: Option<&'a str>,
    value: f64,
    weight: Option<f64>,
}

/// Writes the items, in the order of the record: Parquet where the name ends in `.parquet`, else JSONL. What `value`, `weight`
/// and `group` mean is said by the metric.
///
/// # Errors
/// [`FileError`] where the file cannot be written.
pub fn write_items(record: &RunRecord, path: &Path) -> Result<(), FileError> {
    let mut file = RowFile::create(path, &COLUMNS)?;
    for score in &record.scores {
        for item in &score.items {
            file.push(&row(record, score, item))?;
        }
    }
    file.finish()
}

fn row<'a>(record: &'a RunRecord, score: &'a MetricScore, item: &'a Item) -> Row<'a> {
    Row {
        record: &record.name,
        metric: &score.metric,
        version: score.version,
        population: &score.population,
        objective: format!("{:?}", score.objective).to_lowercase(),
        unit: &score.unit,
        direction: match score.direction {
            Direction::Higher => "higher",
            Direction::Lower => "lower",
            Direction::Descriptive => "descriptive",
        },
        item: &item.id,
        cluster: &item.cluster,
        group: item.group.as_deref(),
        value: item.value,
        weight: item.weight,
    }
}
