//! The part of the zip format that PyTorch writes: entries stored without compression, found through the central
//! directory, also in its 64-bit form.

use std::collections::BTreeMap;
use std::ops::Range;

use super::cursor::Cursor;

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// The end record without its comment.
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = u16::MAX as usize;
const IN_EXTRA: u32 = u32::MAX;

/// Where the content of every entry stands in the file.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let (count, mut cursor) = directory(bytes)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let (name, range) = entry(bytes, &mut cursor)?;
        if entries.insert(name.clone(), range).is_some() {
            return Err(format!("the archive holds {name} twice"));
        }
    }
    Ok(entries)
}

/// The number of entries, and the central directory.
fn directory(bytes: &[u8]) -> Result<(usize, Cursor<'_>), String> {
    let missing = "no zip directory at its end: the file is truncated or no PyTorch checkpoint";
    let last = bytes.len().checked_sub(END_LENGTH).ok_or(missing)?;
    let first = last.saturating_sub(LONGEST_COMMENT);
    let end = (first..=last).rev().find(|at| Cursor::at(bytes, *at).u32() == Ok(END)).ok_or(missing)?;
    let mut cursor = Cursor::at(bytes, end + 10);
    let (count, _, offset) = (cursor.u16()?, cursor.u32()?, cursor.u32()?);
    let locator = end.checked_sub(20).filter(|at| Cursor::at(bytes, *at).u32() == Ok(LOCATOR_64));
    let Some(locator) = locator.filter(|_| offset == IN_EXTRA || count == u16::MAX) else {
        return Ok((usize::from(count), Cursor::at(bytes, offset as usize)));
    };
    let record = Cursor::at(bytes, locator + 8).size()?;
    let mut cursor = Cursor::at(bytes, record);
    if cursor.u32()? != END_64 {
        return Err(missing.into());
    }
    let mut cursor = Cursor::at(bytes, record.checked_add(32).ok_or(missing)?);
    let (count, _, offset) = (cursor.size()?, cursor.size()?, cursor.size()?);
    Ok((count, Cursor::at(bytes, offset)))
}

fn entry(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<(String, Range<usize>), String> {
    if cursor.u32()? != ENTRY {
        return Err("the zip directory is damaged".into());
    }
    cursor.take(4)?;
    let (_, method) = (cursor.u16()?, cursor.u16()?);
    cursor.take(8)?;
    let (packed, size) = (cursor.u32()?, cursor.u32()?);
    let (name, extra, comment) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    cursor.take(8)?;
    let offset = cursor.u32()?;
    let name = String::from_utf8_lossy(cursor.take(usize::from(name))?).into_owned();
    let mut large = Large::new(cursor.take(usize::from(extra))?);
    cursor.take(usize::from(comment))?;
    // The 64-bit fields stand in this order, each only where its 32-bit field says so.
    let size = large.field(size)?;
    let packed = large.field(packed)?;
    let offset = large.field(offset)?;
    if method != 0 || packed != size {
        return Err(format!("{name} is compressed; PyTorch stores its weights plainly"));
    }
    let mut local = Cursor::at(bytes, offset);
    if local.u32()? != LOCAL {
        return Err(format!("{name}: no entry at offset {offset}"));
    }
    local.take(22)?;
    let lengths = (local.u16()?, local.u16()?);
    local.take(usize::from(lengths.0) + usize::from(lengths.1))?;
    let start = local.position();
    local.take(size).map_err(|error| format!("{name}: {error}"))?;
    Ok((name, start..start + size))
}

/// The 64-bit fields of an entry.
struct Large<'a>(Cursor<'a>);

impl<'a> Large<'a> {
    fn new(extra: &'a [u8]) -> Self {
        let mut cursor = Cursor::at(extra, 0);
        while let (Ok(kind), Ok(length)) = (cursor.u16(), cursor.u16()) {
            let Ok(field) = cursor.take(usize::from(length)) else { break };
            if kind == 1 {
                return Self(Cursor::at(field, 0));
            }
        }
        Self(Cursor::at(&[], 0))
    }

    fn field(&mut self, short: u32) -> Result<usize, String> {
        match short {
            IN_EXTRA => self.0.size(),
            short => Ok(short as usize),
        }
    }
}
