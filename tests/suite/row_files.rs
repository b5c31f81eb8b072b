//! Files of rows: Parquet says what JSONL says.

use std::path::{Path, PathBuf};

use counterpath::base::files::{self, Column, RowFile};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The rows of a Parquet file, read by the crate's own row reader.
pub fn parquet_rows(path: &Path) -> Vec<Map<String, Value>> {
    let file = std::fs::File::open(path).expect("the file");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let value = |field: &Field| match field {
        Field::Null => Value::Null,
        Field::Str(text) => text.clone().into(),
        Field::Long(integer) => (*integer).into(),
        Field::Double(number) => (*number).into(),
        other => panic!("no column holds {other}"),
    };
    let rows = reader.get_row_iter(None).expect("rows");
    rows.map(|row| row.expect("row").get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect())
        .collect()
}

/// Rows as JSONL has them.
pub fn rows_as_values<R: Serialize>(rows: &[R]) -> Vec<Map<String, Value>> {
    rows.iter().map(|row| serde_json::to_value(row).expect("JSON").as_object().expect("object").clone()).collect()
}

/// JSONL may leave out what Parquet holds as null.
pub fn without_null(mut rows: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    rows.iter_mut().for_each(|row| row.retain(|_, value| !value.is_null()));
    rows
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("counterpath-rows-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

const COLUMNS: [Column; 4] =
    [Column::text("id"), Column::integer("head").or_null(), Column::text("slot").or_null(), Column::number("effect")];

#[test]
fn values_and_nulls_survive_over_groups_of_rows() {
    let folder = scratch("values");
    // More than one group of 65 536 rows; the first group's heads are all null but one.
    let rows: Vec<Value> = (0..70_000)
        .map(|at| match at {
            7 => json!({"id": "sieben, \"ß\"", "head": i64::MIN, "slot": "", "effect": 0.1 + 0.2}),
            at if at < 65_536 => json!({"id": at.to_string(), "head": null, "effect": -1.5e-300}),
            at => json!({"id": at.to_string(), "head": at, "slot": "name", "effect": at as f64 / 3.0}),
        })
        .collect();
    let write = |name: &str| {
        let path = folder.join(name);
        let mut file = RowFile::create(&path, &COLUMNS).expect("file");
        rows.iter().for_each(|row| file.push(row).expect("row"));
        assert!(!path.exists(), "the file takes its place when it is whole");
        file.finish().expect("whole");
        path
    };
    let [one, two, lines] = ["one.parquet", "two.PARQUET", "rows.jsonl"].map(write);
    let read = parquet_rows(&one);
    assert!(without_null(read.clone()) == without_null(rows_as_values(&rows)));
    assert_eq!((&read[0]["head"], &read[0]["slot"], &read[7]["slot"]), (&Value::Null, &Value::Null, &"".into()));
    assert!(
        std::fs::read(&one).expect("bytes") == std::fs::read(&two).expect("bytes"),
        "the same rows, the same bytes"
    );
    assert!(files::read_jsonl::<Value>(&lines).expect("JSONL") == rows);
    let reader = SerializedFileReader::new(std::fs::File::open(&one).expect("file")).expect("Parquet");
    assert_eq!(reader.num_row_groups(), 2, "one group is held at a time");
}

#[test]
fn rows_that_are_not_the_tables_are_refused_and_nothing_is_left() {
    let folder = scratch("refused");
    let path = folder.join("rows.parquet");
    for (row, reason) in [
        (json!({"id": "a", "effect": 1.0, "note": 1}), "no column \"note\""),
        (json!({"id": "a"}), "column \"effect\" cannot hold null"),
        (json!({"id": 1, "effect": 1.0}), "column \"id\" cannot hold 1"),
        (json!({"id": "a", "head": 0.5, "effect": 1.0}), "column \"head\" cannot hold 0.5"),
        (json!([1]), "must be an object"),
    ] {
        let mut file = RowFile::create(&path, &COLUMNS).expect("file");
        let error = file.push(&row).expect_err(reason).to_string();
        assert!(error.contains(reason) && error.contains("rows.parquet"), "{error}");
    }
    assert!(files::list(&folder).expect("list").is_empty());
}
