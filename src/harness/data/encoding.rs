//! From bytes to UTF-8, and to lines.

use std::io::Read;
use std::path::Path;

use super::malformed;
use crate::base::files::{FileError, TEXT_LIMIT};
use crate::harness::error::HarnessError;

/// The bytes without compression and byte-order mark, UTF-16 turned into UTF-8. What is not UTF-8 after that stands where
/// it stood, so that the row that holds it can be named.
pub(super) fn decode(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, HarnessError> {
    let bytes = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => unpack(path, &bytes)?,
        false => bytes,
    };
    match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err(malformed(path, "it is UTF-32 text; save it as UTF-8")),
        [0xff, 0xfe, text @ ..] => utf16(path, text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(path, text, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] => Ok(text.to_vec()),
        text => {
            let head = text.get(..1024).unwrap_or(text);
            let zeros = head.iter().filter(|byte| **byte == 0).count();
            match zeros * 4 > head.len() {
                true => Err(malformed(
                    path,
                    "every other byte is 0, as in UTF-16 text without a byte-order mark; save it as UTF-8",
                )),
                false => Ok(bytes),
            }
        }
    }
}

fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, HarnessError> {
    let mut unpacked = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes).take(TEXT_LIMIT + 1).read_to_end(&mut unpacked);
    read.map_err(|error| malformed(path, format!("cannot be unpacked: {error}")))?;
    match unpacked.len() as u64 > TEXT_LIMIT {
        true => {
            let (path, found) = (path.to_path_buf(), unpacked.len() as u64);
            Err(FileError::TooLarge { path, found, limit: TEXT_LIMIT }.into())
        }
        false => Ok(unpacked),
    }
}

fn utf16(path: &Path, text: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Vec<u8>, HarnessError> {
    let pairs = text.chunks_exact(2);
    let refuse = |line| malformed(path, format!("line {line}: the UTF-16 text is broken"));
    let odd = !pairs.remainder().is_empty();
    let units = pairs.filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(unit);
    let mut decoded = String::with_capacity(text.len() / 2);
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => decoded.push(character),
            Err(_) => return Err(refuse(decoded.matches('\n').count() + 1)),
        }
    }
    if odd { Err(refuse(decoded.matches('\n').count() + 1)) } else { Ok(decoded.into_bytes()) }
}

/// Lines with their numbers from 1, without their ends (`\n`, `\r\n`).
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.enumerate().map(|(index, line)| (index + 1, line))
}

/// UTF-8, or where it stops to be.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        format!("not UTF-8 text: byte {byte:#04x} after {at} others")
    })
}

/// The same of a whole file, with the line.
pub(super) fn utf8_file<'a>(path: &Path, text: &'a [u8]) -> Result<&'a str, HarnessError> {
    utf8(text).map_err(|_| {
        let broken = lines(text).find_map(|(number, line)| utf8(line).err().map(|message| (number, message)));
        let (line, message) = broken.unwrap_or((1, "not UTF-8 text".into()));
        FileError::MalformedLine { path: path.to_path_buf(), line, message }.into()
    })
}
