//! Files of rows: the same rows as JSONL or, where the name ends in `.parquet`, as Parquet.

use std::path::Path;

use serde::Serialize;

use super::columns::ParquetFile;
use super::{AtomicFile, FileError, json_line};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8 text.
    Text,
    /// 64-bit integers.
    Integer,
    /// 64-bit floating point.
    Number,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name, that of the row's field.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether a row may lack it or hold null.
    pub optional: bool,
}

impl Column {
    /// A column of text, in every row.
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Text, optional: false }
    }

    /// A column of integers, in every row.
    pub const fn integer(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Integer, optional: false }
    }

    /// A column of numbers, in every row.
    pub const fn number(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Number, optional: false }
    }

    /// The same, with rows that lack it.
    pub const fn or_null(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// A file that takes rows one by one and its place when it is whole, as [`AtomicFile`] does. The same rows give the same
/// bytes. At most one group of a Parquet file's rows is held in memory.
pub struct RowFile(Format);

enum Format {
    Lines(AtomicFile),
    Columns(Box<ParquetFile>),
}

impl RowFile {
    /// Whether a file of this name is written as Parquet.
    pub fn is_parquet(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
    }

    /// Starts a file: Parquet of these columns where the name ends in `.parquet`, else JSONL.
    pub fn create(path: &Path, columns: &[Column]) -> Result<Self, FileError> {
        let file = AtomicFile::create(path)?;
        Ok(Self(match Self::is_parquet(path) {
            true => Format::Columns(Box::new(ParquetFile::create(file, columns)?)),
            false => Format::Lines(file),
        }))
    }

    /// Adds a row: a value that serializes to an object whose fields are the columns.
    pub fn push<R: Serialize>(&mut self, row: &R) -> Result<(), FileError> {
        match &mut self.0 {
            Format::Lines(file) => {
                let line = json_line(file.path(), row)?;
                file.write(&line)
            }
            Format::Columns(file) => file.push(row),
        }
    }

    /// Ends the file and puts it in its place.
    pub fn finish(self) -> Result<(), FileError> {
        match self.0 {
            Format::Lines(file) => file.finish(),
            Format::Columns(file) => file.finish(),
        }
    }
}
