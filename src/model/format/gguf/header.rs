//! The header of a GGUF file: typed metadata and the places of tensors.
//!
//! Arrays are checked and left where they are; they are decoded when somebody asks. (Candle's reader keeps every
//! element of an array as a value of its own, and divides by an alignment of zero.)

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::DType;
use candle_core::quantized::GgmlDType;

use super::super::cursor::Cursor;
use super::super::stored::{Element, count};

const MAGIC: &[u8] = b"GGUF";
const MAX_DIMENSIONS: u32 = 4;
const MAX_NESTING: usize = 4;
const ALIGNMENT: &str = "general.alignment";

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    Flag,
    Text,
    Array,
}

impl Kind {
    fn of(code: u32) -> Result<Self, String> {
        Ok(match code {
            0 => Self::Unsigned(1),
            1 => Self::Signed(1),
            2 => Self::Unsigned(2),
            3 => Self::Signed(2),
            4 => Self::Unsigned(4),
            5 => Self::Signed(4),
            6 => Self::Float(4),
            7 => Self::Flag,
            8 => Self::Text,
            9 => Self::Array,
            10 => Self::Unsigned(8),
            11 => Self::Signed(8),
            12 => Self::Float(8),
            other => return Err(format!("metadata of unknown type {other}")),
        })
    }
}

/// A field of the metadata.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Int(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Array { kind: u32, count: usize, range: Range<usize> },
}

/// Where a tensor stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub shape: Vec<usize>,
    pub element: Element,
    pub range: Range<usize>,
}

/// A parsed header.
pub(super) struct Header<'a> {
    bytes: &'a [u8],
    fields: BTreeMap<String, Field>,
    pub tensors: BTreeMap<String, Place>,
}

impl<'a> Header<'a> {
    /// Reads the header and holds every place against the file's length.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut cursor = Cursor::at(bytes, 0);
        if cursor.take(4)? != MAGIC {
            return Err("it does not start with GGUF".into());
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("GGUF version {version} is not read; versions 2 and 3 are"));
        }
        let (tensors, fields) = (cursor.size()?, cursor.size()?);
        let mut header = Self { bytes, fields: BTreeMap::new(), tensors: BTreeMap::new() };
        for _ in 0..fields {
            let name = text(&mut cursor)?.to_owned();
            let kind = cursor.u32()?;
            let field = value(&mut cursor, kind).map_err(|error| format!("{name}: {error}"))?;
            if header.fields.insert(name.clone(), field).is_some() {
                return Err(format!("the metadata hold {name} twice"));
            }
        }
        let mut infos = Vec::new();
        for _ in 0..tensors {
            infos.push(info(&mut cursor)?);
        }
        header.place(cursor.position(), infos)?;
        Ok(header)
    }

    fn place(&mut self, end: usize, infos: Vec<(String, Vec<usize>, Element, usize)>) -> Result<(), String> {
        let alignment = self.optional_size(ALIGNMENT)?.unwrap_or(32);
        if !alignment.is_power_of_two() || alignment < 8 {
            return Err(format!("{ALIGNMENT} is {alignment}; a power of two from 8 on is expected"));
        }
        let data = end.checked_next_multiple_of(alignment).ok_or("the header is too long")?;
        for (name, shape, element, offset) in infos {
            let outside = || {
                format!("tensor {name}: its data at offset {offset} lie outside the file of {} bytes", self.bytes.len())
            };
            if !offset.is_multiple_of(alignment) {
                return Err(format!("tensor {name}: its offset {offset} is no multiple of {alignment}"));
            }
            let length = count(&shape).and_then(|count| element.bytes(count));
            let length =
                length.ok_or_else(|| format!("tensor {name}: shape {shape:?} cannot be stored as {element:?}"))?;
            let start = data.checked_add(offset).ok_or_else(outside)?;
            let end = start.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(outside)?;
            if self.tensors.insert(name.clone(), Place { shape, element, range: start..end }).is_some() {
                return Err(format!("the file holds tensor {name} twice"));
            }
        }
        Ok(())
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    fn wrong(&self, name: &str, what: &str) -> String {
        format!("{name}: {what} is expected")
    }

    /// A whole number, where it is there. A list of equal numbers (one a layer) counts as one.
    pub fn optional_size(&self, name: &str) -> Result<Option<usize>, String> {
        let wrong = || self.wrong(name, "a whole number");
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Int(value)) => usize::try_from(*value).map(Some).map_err(|_| wrong()),
            Some(Field::Array { .. }) => {
                let all = self.integers(name)?.unwrap_or_default();
                let first = all.first().copied().ok_or_else(wrong)?;
                if all.iter().any(|value| *value != first) {
                    return Err(format!("{name} differs between layers, which is not supported"));
                }
                usize::try_from(first).map(Some).map_err(|_| wrong())
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A whole number.
    pub fn size(&self, name: &str) -> Result<usize, String> {
        self.optional_size(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    /// A number, where it is there.
    pub fn number(&self, name: &str) -> Result<Option<f64>, String> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Float(value)) => Ok(Some(*value)),
            Some(Field::Int(value)) => Ok(Some(*value as f64)),
            Some(_) => Err(self.wrong(name, "a number")),
        }
    }

    /// True or false, where it is there.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Flag(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A text, where it is there.
    pub fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    fn array<T>(
        &self,
        name: &str,
        read: impl Fn(&mut Cursor<'a>, u32) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, String> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Array { kind, count, range }) => {
                let mut cursor = Cursor::at(self.bytes, range.start);
                let each = (0..*count).map(|_| read(&mut cursor, *kind).map_err(|error| format!("{name}: {error}")));
                each.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    /// A list of texts, where it is there.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, String> {
        self.array(name, |cursor, kind| match Kind::of(kind)? {
            Kind::Text => text(cursor),
            _ => Err("a list of texts is expected".into()),
        })
    }

    /// A list of whole numbers, where it is there.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        self.array(name, |cursor, kind| match value(cursor, kind)? {
            Field::Int(value) => Ok(value),
            _ => Err("a list of whole numbers is expected".into()),
        })
    }

    /// A list of numbers, where it is there.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, String> {
        self.array(name, |cursor, kind| match value(cursor, kind)? {
            Field::Float(value) => Ok(value),
            Field::Int(value) => Ok(value as f64),
            _ => Err("a list of numbers is expected".into()),
        })
    }
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, String> {
    let length = cursor.size()?;
    std::str::from_utf8(cursor.take(length)?).map_err(|_| "a text that is not UTF-8".into())
}

fn value(cursor: &mut Cursor<'_>, code: u32) -> Result<Field, String> {
    let kind = Kind::of(code)?;
    Ok(match kind {
        Kind::Unsigned(width) | Kind::Signed(width) => Field::Int(integer(cursor.take(width)?, kind)),
        Kind::Float(4) => Field::Float(shortest(cursor.f32()?)),
        Kind::Float(_) => Field::Float(f64::from_bits(cursor.u64()?)),
        Kind::Flag => Field::Flag(flag(cursor.u8()?)?),
        Kind::Text => Field::Text(text(cursor)?.to_owned()),
        Kind::Array => array(cursor, 0)?,
    })
}

fn flag(byte: u8) -> Result<bool, String> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("{other} is neither true nor false")),
    }
}

fn integer(bytes: &[u8], kind: Kind) -> i64 {
    let negative = matches!(kind, Kind::Signed(_)) && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
    // Unsigned numbers beyond half the range are no sizes of anything; they become negative and are refused as such.
    i64::from_le_bytes(wide)
}

/// The number that was written, not its neighbour in f32: 1e-5 and not 9.99999974e-6.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// Passes over an array and checks that it lies inside the file.
fn array(cursor: &mut Cursor<'_>, depth: usize) -> Result<Field, String> {
    let code = cursor.u32()?;
    let count = cursor.size()?;
    let start = cursor.position();
    match Kind::of(code)? {
        Kind::Unsigned(width) | Kind::Signed(width) | Kind::Float(width) => {
            cursor.take(count.checked_mul(width).ok_or("a list too long to be counted")?)?;
        }
        Kind::Flag => drop(cursor.take(count)?),
        Kind::Text => (0..count).try_for_each(|_| text(cursor).map(drop))?,
        Kind::Array if depth < MAX_NESTING => (0..count).try_for_each(|_| array(cursor, depth + 1).map(drop))?,
        Kind::Array => return Err("lists are nested too deeply".into()),
    }
    Ok(Field::Array { kind: code, count, range: start..cursor.position() })
}

fn info(cursor: &mut Cursor<'_>) -> Result<(String, Vec<usize>, Element, usize), String> {
    let name = text(cursor)?.to_owned();
    let dimensions = cursor.u32()?;
    if dimensions > MAX_DIMENSIONS {
        return Err(format!("tensor {name} has {dimensions} dimensions; {MAX_DIMENSIONS} are the most"));
    }
    let mut shape = (0..dimensions).map(|_| cursor.size()).collect::<Result<Vec<_>, _>>()?;
    shape.reverse();
    let element = element(cursor.u32()?).map_err(|error| format!("tensor {name}: {error}"))?;
    Ok((name, shape, element, cursor.size()?))
}

fn element(code: u32) -> Result<Element, String> {
    Ok(match code {
        0 => Element::Plain(DType::F32),
        1 => Element::Plain(DType::F16),
        28 => Element::Plain(DType::F64),
        30 => Element::Plain(DType::BF16),
        2 => Element::Blocks(GgmlDType::Q4_0),
        3 => Element::Blocks(GgmlDType::Q4_1),
        6 => Element::Blocks(GgmlDType::Q5_0),
        7 => Element::Blocks(GgmlDType::Q5_1),
        8 => Element::Blocks(GgmlDType::Q8_0),
        10 => Element::Blocks(GgmlDType::Q2K),
        11 => Element::Blocks(GgmlDType::Q3K),
        12 => Element::Blocks(GgmlDType::Q4K),
        13 => Element::Blocks(GgmlDType::Q5K),
        14 => Element::Blocks(GgmlDType::Q6K),
        other => {
            return Err(format!(
                "block type {other} is not read; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K are"
            ));
        }
    })
}
