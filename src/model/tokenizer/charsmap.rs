//! Sentencepiece's precompiled replacements of characters: a double-array trie and the texts that its leaves point to.
//!
//! The library that follows the trie indexes it without looking; this check walks every node that a text can reach
//! before the library sees it.

use super::super::format::Cursor;

/// Whether a unit of the trie has a leaf below it.
fn has_leaf(unit: u32) -> bool {
    (unit >> 8) & 1 == 1
}

/// What a leaf points to.
fn value(unit: u32) -> usize {
    (unit & 0x7fff_ffff) as usize
}

/// The byte that leads to a unit.
fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

/// The distance to a unit's children.
fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

/// Refuses replacements that point outside themselves.
pub(super) fn check(charsmap: &[u8]) -> Result<(), String> {
    const DAMAGED: &str = "the normaliser's table of replacements is damaged";
    let mut cursor = Cursor::at(charsmap, 0);
    let size = cursor.u32().map_err(|_| DAMAGED)? as usize;
    let trie: Vec<u32> = cursor
        .take(size)
        .map_err(|_| DAMAGED)?
        .chunks_exact(4)
        .map(|unit| unit.iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte)))
        .collect();
    let texts = std::str::from_utf8(cursor.take(cursor.left())?).map_err(|_| DAMAGED)?;
    let root = trie.first().copied().ok_or(DAMAGED)?;
    let mut seen = vec![false; trie.len()];
    let mut open = vec![offset(root)];
    while let Some(base) = open.pop() {
        for byte in 1..=255usize {
            let at = base ^ byte;
            let unit = trie.get(at).copied().ok_or(DAMAGED)?;
            if label(unit) as usize != byte || seen.get_mut(at).is_none_or(|seen| std::mem::replace(seen, true)) {
                continue;
            }
            let children = at ^ offset(unit);
            if has_leaf(unit) {
                let leaf = trie.get(children).copied().ok_or(DAMAGED)?;
                if !texts.is_char_boundary(value(leaf)) {
                    return Err(DAMAGED.into());
                }
            }
            open.push(children);
        }
    }
    Ok(())
}

/// Bytes as base64, the form that a `tokenizer.json` holds them in.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0u32, |number, at| number << 8 | chunk.get(at).copied().map_or(0, u32::from));
        for place in 0..4 {
            let digit = DIGITS.get((number >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_remainder() {
        // RFC 4648, section 10.
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn tables_that_point_outside_are_refused() {
        let table = |units: &[u32], texts: &str| {
            let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            [&(trie.len() as u32).to_le_bytes()[..], &trie, texts.as_bytes()].concat()
        };
        assert!(check(&table(&[0; 256], "")).is_ok());
        assert!(check(&table(&[0; 255], "")).is_err(), "byte 255 leads outside");
        // Byte 1 leads to unit 1, whose leaf (unit 0 after its own offset) points behind the texts.
        let mut units = [0u32; 256];
        units[1] = 1 | 1 << 8 | 1 << 10;
        units[0] = 0;
        assert!(check(&table(&units, "a")).is_ok());
        assert!(check(&[1, 2, 3]).is_err() && check(&[255, 255, 255, 127, 0]).is_err());
    }
}
