//! Parquet, column by column: flat tables of text, integers and numbers, Snappy in groups of rows.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use serde::Serialize;
use serde_json::Value;

use super::{AtomicFile, Column, ColumnKind, FileError};

/// Rows of a group: what is held in memory, and what a reader can skip.
const GROUP: usize = 1 << 16;

/// A Parquet file on its way.
pub(super) struct ParquetFile {
    path: PathBuf,
    writer: SerializedFileWriter<Sink>,
    columns: Vec<Held>,
    rows: usize,
}

struct Sink(AtomicFile);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.append(bytes).map(|()| bytes.len())
    }

    // The file is flushed when it takes its place.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ParquetFile {
    /// Starts a file of these columns.
    pub fn create(file: AtomicFile, columns: &[Column]) -> Result<Self, FileError> {
        let path = file.path().to_path_buf();
        let writer = || {
            let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<_, _>>()?;
            let schema = Type::group_type_builder("rows").with_fields(fields).build()?;
            let properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_created_by(concat!("counterpath version ", env!("CARGO_PKG_VERSION")).to_owned());
            SerializedFileWriter::new(Sink(file), Arc::new(schema), Arc::new(properties.build()))
        };
        let writer = writer().map_err(|error| failed(&path, error))?;
        Ok(Self { path, writer, columns: columns.iter().copied().map(Held::new).collect(), rows: 0 })
    }

    /// Adds a row.
    pub fn push<R: Serialize>(&mut self, row: &R) -> Result<(), FileError> {
        let refuse = |message: String| FileError::Malformed { path: self.path.clone(), message };
        let row = serde_json::to_value(row).map_err(|error| refuse(error.to_string()))?;
        let fields = row.as_object().ok_or_else(|| refuse("a row must be an object".into()))?;
        let unknown = fields.keys().find(|name| !self.columns.iter().any(|held| held.column.name == name.as_str()));
        if let Some(name) = unknown {
            return Err(refuse(format!("the table has no column {name:?}")));
        }
        for held in &mut self.columns {
            let value = fields.get(held.column.name).unwrap_or(&Value::Null);
            held.push(value).map_err(refuse)?;
        }
        self.rows += 1;
        match self.rows == GROUP {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    /// Ends the file and puts it in its place.
    pub fn finish(mut self) -> Result<(), FileError> {
        if self.rows > 0 {
            self.write_group()?;
        }
        let Sink(file) = self.writer.into_inner().map_err(|error| failed(&self.path, error))?;
        file.finish()
    }

    fn write_group(&mut self) -> Result<(), FileError> {
        let columns = &mut self.columns;
        let writer = &mut self.writer;
        let mut write = || {
            let mut group = writer.next_row_group()?;
            for held in columns.iter_mut() {
                if let Some(column) = group.next_column()? {
                    held.write(column)?;
                }
            }
            group.close()
        };
        write().map_err(|error| failed(&self.path, error))?;
        self.rows = 0;
        Ok(())
    }
}

fn failed(path: &std::path::Path, error: ParquetError) -> FileError {
    FileError::Malformed { path: path.to_path_buf(), message: format!("cannot be written: {error}") }
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnKind::Integer => (Physical::INT64, None),
        ColumnKind::Number => (Physical::DOUBLE, None),
    };
    let repetition = if column.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    Type::primitive_type_builder(column.name, physical).with_repetition(repetition).with_logical_type(logical).build()
}

/// A column's values of the group at hand.
struct Held {
    column: Column,
    values: Values,
    /// 1 where a value stands, 0 where null does.
    levels: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
}

impl Held {
    fn new(column: Column) -> Self {
        let values = match column.kind {
            ColumnKind::Text => Values::Text(Vec::new()),
            ColumnKind::Integer => Values::Integer(Vec::new()),
            ColumnKind::Number => Values::Number(Vec::new()),
        };
        Self { column, values, levels: Vec::new() }
    }

    fn push(&mut self, value: &Value) -> Result<(), String> {
        if value.is_null() && self.column.optional {
            self.levels.push(0);
            return Ok(());
        }
        let kept = match &mut self.values {
            Values::Text(values) => value.as_str().map(|text| values.push(text.as_bytes().to_vec().into())),
            Values::Integer(values) => value.as_i64().map(|integer| values.push(integer)),
            Values::Number(values) => value.as_f64().map(|number| values.push(number)),
        };
        self.levels.push(1);
        kept.ok_or_else(|| format!("column {:?} cannot hold {value}", self.column.name))
    }

    /// Writes what is held and lets go of it.
    fn write(&mut self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.column.optional.then_some(self.levels.as_slice());
        match &mut self.values {
            Values::Text(values) => {
                column.typed::<ByteArrayType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Integer(values) => {
                column.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Number(values) => {
                column.typed::<DoubleType>().write_batch(values, levels, None)?;
                values.clear();
            }
        }
        self.levels.clear();
        column.close()
    }
}
