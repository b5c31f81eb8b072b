//! Reading little-endian fields from bytes, never past their end.

/// A position in bytes.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at a position, which may be the end or beyond it.
    pub fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next byte is read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count);
        let slice = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| {
            format!("{count} bytes are expected at offset {}, {} are left: the file is truncated", self.at, self.left())
        })?;
        self.at += count;
        Ok(slice)
    }

    /// The bytes before the next line break, which is passed.
    pub fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("a line without its end")?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_le_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    /// Four bytes with a sign.
    pub fn i32(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of four bytes.
    pub fn f32(&mut self) -> Result<f32, String> {
        self.array().map(f32::from_le_bytes)
    }

    /// A length of eight bytes.
    pub fn size(&mut self) -> Result<usize, String> {
        let size = self.u64()?;
        usize::try_from(size).map_err(|_| format!("a length of {size}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut cursor = Cursor::at(&[1, 0, 2, 0, b'a', b'\n', 7], 0);
        assert_eq!((cursor.u16(), cursor.u16()), (Ok(1), Ok(2)));
        assert_eq!(cursor.line(), Ok(&b"a"[..]));
        assert!(cursor.u32().expect_err("one byte is left").contains("truncated"));
        assert_eq!((cursor.u8(), cursor.left()), (Ok(7), 0));
        assert!(cursor.take(usize::MAX).is_err() && cursor.line().is_err());
        assert!(Cursor::at(&[1], 9).u8().is_err());
    }
}
