//! Parquet, row by row: every column as JSON has it, nested lists and structures too.

use std::fs::File;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use super::{FileError, TEXT_LIMIT, io};

/// A row's fields, or the field that JSON cannot hold, where one is known, and the reason.
pub type ParquetRow = Result<Map<String, Value>, (Option<String>, String)>;

/// The rows of a Parquet file of at most [`TEXT_LIMIT`] bytes, without compression or with Snappy. Bytes become text where
/// they are UTF-8; dates and times become text as the crate writes them.
///
/// # Errors
/// The file cannot be read, is no Parquet, or is compressed in another way.
pub fn read_parquet(path: &Path) -> Result<Vec<ParquetRow>, FileError> {
    let file = File::open(path).map_err(io("read", path))?;
    let found = file.metadata().map_err(io("read", path))?.len();
    if found > TEXT_LIMIT {
        return Err(FileError::TooLarge { path: path.to_path_buf(), found, limit: TEXT_LIMIT });
    }
    let refuse = |error: ParquetError| FileError::Malformed { path: path.to_path_buf(), message: error.to_string() };
    let reader = SerializedFileReader::new(file).map_err(refuse)?;
    // The crate takes places and lengths of columns as they stand and stops the process where one is negative.
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    for column in columns {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        if start.min(column.data_page_offset()).min(column.compressed_size()).min(column.num_values()) < 0 {
            return Err(refuse(ParquetError::General(format!(
                "column {}: a place or length below zero",
                column.column_path()
            ))));
        }
    }
    let rows = reader.get_row_iter(None).map_err(refuse)?;
    rows.map(|row| row.map(|row| fields(&row)).map_err(refuse)).collect()
}

fn fields(row: &Row) -> ParquetRow {
    let cell = |(name, field): (&String, &Field)| {
        value(field).map(|value| (name.clone(), value)).map_err(|message| (Some(name.clone()), message))
    };
    row.get_column_iter().map(cell).collect()
}

fn value(field: &Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => Value::from(*truth),
        Field::Byte(integer) => Value::from(*integer),
        Field::Short(integer) => Value::from(*integer),
        Field::Int(integer) => Value::from(*integer),
        Field::Long(integer) => Value::from(*integer),
        Field::UByte(integer) => Value::from(*integer),
        Field::UShort(integer) => Value::from(*integer),
        Field::UInt(integer) => Value::from(*integer),
        Field::ULong(integer) => Value::from(*integer),
        Field::Float16(number) => finite(f64::from(*number))?,
        Field::Float(number) => finite(f64::from(*number))?,
        Field::Double(number) => finite(*number)?,
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::from(text),
            Err(_) => return Err(format!("{} bytes that are not UTF-8 text", bytes.len())),
        },
        Field::Group(row) => {
            let inner = |(name, field): (&String, &Field)| Ok((name.clone(), value(field)?));
            Value::Object(row.get_column_iter().map(inner).collect::<Result<_, String>>()?)
        }
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect::<Result<_, _>>()?),
        Field::MapInternal(map) => {
            let entry = |(key, of): &(Field, Field)| match value(key)? {
                Value::String(key) => Ok((key, value(of)?)),
                other => Ok((other.to_string(), value(of)?)),
            };
            Value::Object(map.entries().iter().map(entry).collect::<Result<_, String>>()?)
        }
        other => Value::from(other.to_string()),
    })
}

fn finite(number: f64) -> Result<Value, String> {
    Number::from_f64(number).map(Value::from).ok_or_else(|| format!("{number} is not a finite number"))
}
