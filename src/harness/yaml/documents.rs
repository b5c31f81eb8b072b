//! The documents that a task file names, as the `datasets` library hands them on: files of a kind with `data_files`, a local
//! folder, or a data set on the hub.
//!
//! All rows of a split have the same fields: what a row leaves out is null, and a whole number among fractions is one. Columns of
//! CSV become numbers and truth values where all their cells are (pandas' rules).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::data::read_rows;
use super::super::error::HarnessError;
use super::super::python;
use super::file::TaskFile;
use super::tree::normal;
use crate::base::digest::Hasher;
use crate::base::{Digest, Progress, files};
use crate::model::hub::{HubOptions, fetch_dataset};

/// Where documents are looked for besides what the task file says.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// A file or folder that takes the place of the file's own data set.
    pub data: Option<&'a Path>,
    /// How many rows of a file may be left out because they cannot be read.
    pub max_bad_rows: usize,
    /// The hub; none where it may not be asked.
    pub hub: Option<&'a HubOptions>,
    /// Told of downloads.
    pub progress: &'a dyn Progress,
}

/// A document.
pub type Doc = Map<String, Value>;

/// The documents of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The documents in their order.
    pub docs: Vec<Doc>,
    /// Rows that could not be read, each with file, line, field and reason.
    pub bad: Vec<String>,
}

/// The splits of a task's data set; files are read when they are asked for.
pub struct Documents {
    task: String,
    kind: Kind,
    files: BTreeMap<String, Vec<PathBuf>>,
    max_bad_rows: usize,
    read: BTreeMap<String, Split>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Typed,
}

/// The digest of documents: equal for equal documents, wherever they come from.
pub fn digest(docs: &[Doc]) -> Digest {
    let mut hasher = Hasher::default();
    for doc in docs {
        hasher.part("doc", python::dumps(&Value::Object(doc.clone())).as_bytes());
    }
    hasher.finish()
}

impl Documents {
    /// Finds the files of every split; reads none of them.
    ///
    /// # Errors
    /// No data set, one that is not there, an argument of the reader that is not supported, the hub.
    pub fn locate(file: &TaskFile, source: &Source<'_>) -> Result<Self, HarnessError> {
        let wrong = |message: String| HarnessError::Task { task: file.name.clone(), message };
        let folder = file.path.parent().unwrap_or(Path::new("."));
        let found = match (source.data, file.dataset_path.as_deref()) {
            (Some(path), _) => given(file, path)?,
            (None, None) => return Err(wrong("it names no `dataset_path`; give its documents with --data".into())),
            (None, Some("json" | "csv" | "parquet" | "text")) => of_kind(file, folder).map_err(wrong)?,
            (None, Some(name)) => match local(folder, name) {
                Some(path) => of_folder(file, &path)?,
                None => of_hub(file, name, source)?,
            },
        };
        let table = |path: &PathBuf| {
            let name = path.to_string_lossy().to_ascii_lowercase();
            let name = name.trim_end_matches(".gz");
            name.ends_with(".csv") || name.ends_with(".tsv")
        };
        let kind = if found.values().flatten().any(table) { Kind::Table } else { Kind::Typed };
        let max_bad_rows = source.max_bad_rows;
        Ok(Self { task: file.name.clone(), kind, files: found, max_bad_rows, read: BTreeMap::new() })
    }

    /// The documents of a split.
    ///
    /// # Errors
    /// The data set has no such split; its files cannot be read.
    pub fn split(&mut self, name: &str) -> Result<&Split, HarnessError> {
        // A slice such as `train[:5]` is a part of a split.
        if !self.read.contains_key(name) {
            let split = self.read_split(name)?;
            self.read.insert(name.to_owned(), split);
        }
        let missing = || HarnessError::Task { task: self.task.clone(), message: format!("no split {name}") };
        self.read.get(name).ok_or_else(missing)
    }

    fn read_split(&self, name: &str) -> Result<Split, HarnessError> {
        let (whole, part) = match name.split_once('[') {
            Some((whole, part)) => (whole, Some(part.trim_end_matches(']'))),
            None => (name, None),
        };
        let wrong = |message: String| HarnessError::Task { task: self.task.clone(), message };
        let Some(paths) = self.files.get(whole) else {
            let known: Vec<&str> = self.files.keys().map(String::as_str).collect();
            return Err(wrong(format!("its data set has no split {whole:?}; it has {}", known.join(", "))));
        };
        let (mut docs, mut bad) = (Vec::new(), Vec::new());
        for path in paths {
            let rows = read_rows(path, self.max_bad_rows.saturating_sub(bad.len()))?;
            docs.extend(rows.rows.into_iter().map(|row| row.fields));
            bad.extend(rows.bad);
        }
        if self.kind == Kind::Table {
            type_columns(&mut docs);
        }
        unify(&mut docs);
        if let Some(part) = part {
            let range = slice(part, docs.len()).ok_or_else(|| wrong(format!("the split {name:?} is no slice")))?;
            docs = docs.into_iter().take(range.1).skip(range.0).collect();
        }
        Ok(Split { docs, bad })
    }
}

/// Start and end of `a:b`, counts from the end and percents included.
fn slice(part: &str, length: usize) -> Option<(usize, usize)> {
    let place = |text: &str, default: usize| -> Option<usize> {
        let text = text.trim();
        if text.is_empty() {
            return Some(default);
        }
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number.parse::<i64>().ok()?, true),
            None => (text.parse::<i64>().ok()?, false),
        };
        let absolute = if percent { (number as f64 / 100.0 * length as f64).round() as i64 } else { number };
        let from_end = if absolute < 0 { absolute + length as i64 } else { absolute };
        Some(from_end.clamp(0, length as i64) as usize)
    };
    let (from, to) = part.split_once(':')?;
    Some((place(from, 0)?, place(to, length)?))
}

/// A folder or file beside the task file, or wherever an absolute path says.
fn local(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = normal(&folder.join(name));
    files::exists(&path).then_some(path)
}

/// The files of `data_files`, for the readers of one kind of file.
fn of_kind(file: &TaskFile, folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, String> {
    let known = ["data_files", "data_dir", "trust_remote_code", "encoding", "streaming"];
    if let Some(key) = file.dataset_kwargs.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("`dataset_kwargs.{key}` is not supported; known are {}", known.join(", ")));
    }
    let base = match file.dataset_kwargs.get("data_dir").and_then(Value::as_str) {
        Some(below) => normal(&folder.join(below)),
        None => folder.to_path_buf(),
    };
    let paths = |value: &Value| -> Result<Vec<PathBuf>, String> {
        let one = |value: &Value| match value.as_str() {
            Some(path) if path.contains("://") => {
                Err(format!("the data file {path} is on the network; download it and name the file"))
            }
            Some(path) => Ok(normal(&base.join(path))),
            None => Err(format!("`data_files` must name files, and it holds {value}")),
        };
        match value {
            Value::Array(several) => several.iter().map(one).collect(),
            value => Ok(vec![one(value)?]),
        }
    };
    match file.dataset_kwargs.get("data_files") {
        None => {
            Err("`dataset_kwargs.data_files` must say which files its documents are in; or give them with --data"
                .into())
        }
        Some(Value::Object(splits)) => splits.iter().map(|(split, value)| Ok((split.clone(), paths(value)?))).collect(),
        Some(value) => Ok(BTreeMap::from([("train".to_owned(), paths(value)?)])),
    }
}

/// What `--data` gives: a file is the split whose documents are asked, a folder has a file a split.
fn given(file: &TaskFile, path: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, HarnessError> {
    if files::is_folder(path) {
        return of_folder(file, path);
    }
    let split = file.eval_split().unwrap_or("test");
    Ok(BTreeMap::from([(split.to_owned(), vec![path.to_path_buf()])]))
}

const WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
    ("validation", &["validation", "valid", "val", "dev"]),
];

/// The files of a folder, each in the split that its name says; where none says one, all are `train`. A file that is called as a
/// split of the task belongs there.
fn of_folder(file: &TaskFile, path: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, HarnessError> {
    let below = file.dataset_name.as_ref().map(|name| path.join(name)).filter(|path| files::is_folder(path));
    let path = below.as_deref().unwrap_or(path);
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut rest = Vec::new();
    if !files::is_folder(path) {
        return Ok(BTreeMap::from([("train".to_owned(), vec![path.to_path_buf()])]));
    }
    let own = file.splits.iter().flatten().chain(&file.fewshot.split);
    let own: Vec<&str> = own.map(|split| split.split('[').next().unwrap_or_default()).collect();
    for entry in files::list(path)?.into_iter().filter(|entry| is_data(entry)) {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        let words: Vec<&str> = stem.split(|letter: char| !letter.is_alphanumeric()).collect();
        let named = own.iter().find(|split| **split == stem).copied();
        let by_word = || WORDS.iter().find(|(_, names)| names.iter().any(|name| words.contains(name)));
        match named.or_else(|| by_word().map(|(split, _)| *split)) {
            Some(split) => found.entry(split.to_owned()).or_default().push(entry),
            None => rest.push(entry),
        }
    }
    if found.is_empty() && !rest.is_empty() {
        found.insert("train".into(), rest);
    }
    match found.is_empty() {
        false => Ok(found),
        true => {
            let message = format!("{} holds no data files (.json, .jsonl, .csv, .tsv, .parquet, .txt)", path.display());
            Err(HarnessError::Task { task: file.name.clone(), message })
        }
    }
}

fn is_data(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.trim_end_matches(".gz");
    [".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt"].iter().any(|ending| name.ends_with(ending))
}

fn of_hub(file: &TaskFile, id: &str, source: &Source<'_>) -> Result<BTreeMap<String, Vec<PathBuf>>, HarnessError> {
    let Some(hub) = source.hub else {
        let message = format!("its data set {id} is no folder here; give its documents with --data");
        return Err(HarnessError::Task { task: file.name.clone(), message });
    };
    let known = ["trust_remote_code", "revision", "streaming"];
    if let Some(key) = file.dataset_kwargs.keys().find(|key| !known.contains(&key.as_str())) {
        let message = format!(
            "`dataset_kwargs.{key}` is not supported for a data set of the hub; give its documents with --data"
        );
        return Err(HarnessError::Task { task: file.name.clone(), message });
    }
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let files = fetch_dataset(id, file.dataset_name.as_deref(), hub, source.progress)
        .map_err(|error| HarnessError::Task { task: file.name.clone(), message: error.to_string() })?;
    for (split, path) in files {
        found.entry(split).or_default().push(path);
    }
    Ok(found)
}

/// The cells that pandas takes for missing.
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Gives the columns of a table their types.
fn type_columns(docs: &mut [Doc]) {
    let columns: Vec<String> = docs.first().map(|doc| doc.keys().cloned().collect()).unwrap_or_default();
    for column in columns {
        let cells: Vec<&str> = docs.iter().filter_map(|doc| doc.get(&column)?.as_str()).collect();
        let missing = |cell: &&str| MISSING.contains(cell);
        let present: Vec<&str> = cells.iter().copied().filter(|cell| !missing(cell)).collect();
        let all = |holds: &dyn Fn(&str) -> bool| !present.is_empty() && present.iter().all(|cell| holds(cell));
        let whole = all(&|cell| cell.trim().parse::<i64>().is_ok());
        let number = all(&|cell| cell.trim().parse::<f64>().is_ok_and(f64::is_finite));
        let truth = all(&|cell| matches!(cell, "True" | "TRUE" | "true" | "False" | "FALSE" | "false"));
        for doc in docs.iter_mut() {
            let Some(Value::String(cell)) = doc.get(&column) else { continue };
            let value = match cell.as_str() {
                cell if missing(&cell) => Value::Null,
                cell if whole => cell.trim().parse::<i64>().map_or(Value::Null, Value::from),
                cell if number => cell.trim().parse::<f64>().map_or(Value::Null, Value::from),
                cell if truth => cell.eq_ignore_ascii_case("true").into(),
                cell => cell.into(),
            };
            doc.insert(column.clone(), value);
        }
        let gaps = docs.iter().any(|doc| doc.get(&column).is_some_and(Value::is_null));
        let whole = docs.iter().filter_map(|doc| doc.get(&column)).all(|value| value.is_null() || value.is_i64());
        if gaps && whole {
            // pandas has no whole numbers among missing ones.
            for value in docs.iter_mut().filter_map(|doc| doc.get_mut(&column)) {
                *value = value.as_f64().map_or(Value::Null, Value::from);
            }
        }
    }
}

/// What the values of one field have in common.
#[derive(Default)]
struct Shape {
    fraction: bool,
    keys: Vec<(String, Shape)>,
    item: Option<Box<Shape>>,
}

impl Shape {
    fn take(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.fraction |= number.is_f64(),
            Value::Array(items) => {
                let below = self.item.get_or_insert_default();
                items.iter().for_each(|item| below.take(item));
            }
            Value::Object(fields) => self.take_fields(fields),
            _ => {}
        }
    }

    fn take_fields(&mut self, fields: &Map<String, Value>) {
        // Rows have their fields in the same order as a rule: look at the same place first.
        for (place, (key, value)) in fields.iter().enumerate() {
            let at = match self.keys.get(place) {
                Some((known, _)) if known == key => place,
                _ => match self.keys.iter().position(|(known, _)| known == key) {
                    Some(at) => at,
                    None => {
                        self.keys.push((key.clone(), Shape::default()));
                        self.keys.len() - 1
                    }
                },
            };
            if let Some((_, below)) = self.keys.get_mut(at) {
                below.take(value);
            }
        }
    }

    fn fit(&self, value: &mut Value) {
        match value {
            Value::Number(number) if self.fraction && !number.is_f64() => {
                *value = number.as_f64().and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number);
            }
            Value::Array(items) => {
                if let Some(below) = &self.item {
                    items.iter_mut().for_each(|item| below.fit(item));
                }
            }
            Value::Object(fields) => self.fit_fields(fields),
            _ => {}
        }
    }

    fn fit_fields(&self, fields: &mut Map<String, Value>) {
        let same =
            fields.len() == self.keys.len() && fields.keys().zip(&self.keys).all(|(key, (known, _))| key == known);
        if !same {
            let mut ordered = Map::new();
            for (key, _) in &self.keys {
                ordered.insert(key.clone(), fields.get(key).cloned().unwrap_or(Value::Null));
            }
            *fields = ordered;
        }
        for (value, (_, below)) in fields.values_mut().zip(&self.keys) {
            below.fit(value);
        }
    }
}

/// Gives all documents the same fields, in the order in which they were met first.
fn unify(docs: &mut [Doc]) {
    let mut shape = Shape::default();
    docs.iter().for_each(|doc| shape.take_fields(doc));
    docs.iter_mut().for_each(|doc| shape.fit_fields(doc));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn docs(rows: Value) -> Vec<Doc> {
        serde_json::from_value(rows).expect("documents")
    }

    #[test]
    fn rows_get_the_same_fields_in_the_order_of_their_first_appearance() {
        // datasets.load_dataset("json") on the three rows as JSONL.
        let mut rows = docs(json!([
            {"a": 1, "s": {"x": [1], "z": "q"}},
            {"b": true, "a": 2.5, "s": {"y": null, "x": [0.5]}},
            {"s": null}
        ]));
        unify(&mut rows);
        let text = python::dumps(&serde_json::to_value(&rows).expect("rows"));
        assert_eq!(
            text,
            concat!(
                r#"[{"a": 1.0, "s": {"x": [1.0], "z": "q", "y": null}, "b": null}, "#,
                r#"{"a": 2.5, "s": {"x": [0.5], "z": null, "y": null}, "b": true}, "#,
                r#"{"a": null, "s": null, "b": null}]"#
            )
        );
    }

    #[test]
    fn columns_of_a_table_get_types_as_pandas_gives_them() {
        let mut rows = docs(json!([
            {"n": "1", "m": "2", "x": "0.5", "t": "True", "s": "a", "d": "007x", "e": "NA"},
            {"n": "-3", "m": "", "x": "2", "t": "false", "s": "null", "d": "1", "e": ""}
        ]));
        type_columns(&mut rows);
        assert_eq!(
            serde_json::to_value(&rows).expect("rows"),
            json!([
                {"n": 1, "m": 2.0, "x": 0.5, "t": true, "s": "a", "d": "007x", "e": null},
                {"n": -3, "m": null, "x": 2.0, "t": false, "s": null, "d": "1", "e": null}
            ])
        );
    }

    #[test]
    fn slices_of_splits_are_cut_as_datasets_cuts_them() {
        assert_eq!(slice(":5", 10), Some((0, 5)));
        assert_eq!(slice("-3:", 10), Some((7, 10)));
        assert_eq!(slice("10%:50%", 10), Some((1, 5)));
        assert_eq!(slice("5", 10), None);
    }
}
