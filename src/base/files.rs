//! All file access of the library: bounded reads, atomic writes, append-only journals, JSONL with line numbers, tables
//! of rows as JSONL or Parquet.

mod columns;
mod journal;
mod parquet_rows;
mod rows;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use journal::Journal;
pub use parquet_rows::{ParquetRow, read_parquet};
pub use rows::{Column, ColumnKind, RowFile};

/// What went wrong with a file, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Larger than any such file may be.
    #[error("{} holds {found} bytes, more than the {limit} that this kind of file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The content is not what the format asks for.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the field where one is known.
        message: String,
    },
    /// One line of a JSONL file is not what the format asks for.
    #[error("{} line {line}: {message}", path.display())]
    MalformedLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, with the field where one is known.
        message: String,
    },
}

/// The largest text or JSON file that is read whole: 256 MiB.
pub const TEXT_LIMIT: u64 = 256 << 20;

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Io { action, path, source }
}

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(io("read", path))?;
    let meta = file.metadata().map_err(io("read", path))?;
    if meta.is_dir() {
        let source = std::io::Error::new(std::io::ErrorKind::IsADirectory, "it is a folder");
        return Err(FileError::Io { action: "read", path: path.to_path_buf(), source });
    }
    if meta.len() > limit {
        return Err(FileError::TooLarge { path: path.to_path_buf(), found: meta.len(), limit });
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.take(limit).read_to_end(&mut bytes).map_err(io("read", path))?;
    Ok(bytes)
}

/// Reads a whole UTF-8 file of at most [`TEXT_LIMIT`] bytes; a byte-order mark is dropped.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let text = String::from_utf8(read(path, TEXT_LIMIT)?).map_err(|error| FileError::Malformed {
        path: path.to_path_buf(),
        message: format!("not UTF-8 text (first bad byte at offset {})", error.utf8_error().valid_up_to()),
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Reads a UTF-8 text that may be compressed with gzip, of at most [`TEXT_LIMIT`] bytes either way.
pub fn read_text_or_gzip(path: &Path) -> Result<String, FileError> {
    let bytes = read(path, TEXT_LIMIT)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return read_text(path);
    }
    let mut text = String::new();
    let mut unpacked = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(TEXT_LIMIT + 1);
    unpacked.read_to_string(&mut text).map_err(|error| FileError::Malformed {
        path: path.to_path_buf(),
        message: format!("cannot be unpacked to UTF-8 text: {error}"),
    })?;
    match text.len() as u64 > TEXT_LIMIT {
        true => Err(FileError::TooLarge { path: path.to_path_buf(), found: text.len() as u64, limit: TEXT_LIMIT }),
        false => Ok(text),
    }
}

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|error| FileError::Malformed { path: path.to_path_buf(), message: error.to_string() })
}

/// Reads a JSONL file; empty lines are skipped, a malformed line is named with its number and field.
pub fn read_jsonl<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, FileError> {
    let mut rows = Vec::new();
    for (index, line) in read_text(path)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        rows.push(serde_json::from_str(line).map_err(|error| FileError::MalformedLine {
            path: path.to_path_buf(),
            line: index + 1,
            message: error.to_string(),
        })?);
    }
    Ok(rows)
}

/// Reads TOML text; `path` names it in errors. An unknown key is refused with its line and the nearest known key.
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let mut message = error.message().replace('\n', " ");
        let mut quoted = message.split('`').skip(1).step_by(2);
        if message.starts_with("unknown ")
            && let Some(given) = quoted.next()
            && let Some(known) = super::suggestion(given, quoted)
        {
            message = format!("{message}; did you mean `{known}`?");
        }
        FileError::MalformedLine { path: path.to_path_buf(), line, message }
    })
}

/// Reads a TOML file, as [`parse_toml`].
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    parse_toml(path, &read_text(path)?)
}

/// A file mapped into memory for reading.
pub struct Map(memmap2::Mmap);

impl std::ops::Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    /// Lets go of the memory behind a range that has been read: without it, what was copied out of a file of weights
    /// stays resident a second time. Reading the range again reads the file again.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Some(length) = range.end.checked_sub(range.start).filter(|n| *n > 0 && range.end <= self.len()) {
            // SAFETY: the map is read-only and backed by a file, so that dropped pages are read again on access. The
            // call is advice: where the system does not take it, memory stays as it was.
            #[allow(unsafe_code)]
            let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, length) };
        }
        #[cfg(not(unix))]
        drop(range);
    }
}

/// Maps a file into memory for reading (weights).
pub fn map(path: &Path) -> Result<Map, FileError> {
    let file = File::open(path).map_err(io("read", path))?;
    // SAFETY: the map is read-only; a file that another program truncates under it ends this process, as documented
    // by memmap2. Checkpoints are not changed while they are in use.
    #[allow(unsafe_code)]
    unsafe { memmap2::Mmap::map(&file) }.map(Map).map_err(io("map", path))
}

/// Bytes of a file.
pub fn size(path: &Path) -> Result<u64, FileError> {
    Ok(std::fs::metadata(path).map_err(io("read", path))?.len())
}

/// A file that is written piece by piece and takes its place when it is whole: until then, and where it is dropped
/// before, the old content stays. Missing parent folders are made.
pub struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Starts a file.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        create_folder(folder)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = folder.join(format!(".{name}.{}.partial", std::process::id()));
        let file = File::create(&partial).map_err(io("write", path))?;
        Ok(Self { path: path.to_path_buf(), partial, writer: Some(BufWriter::new(file)) })
    }

    /// Where the file will stand.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let written = self.append(bytes);
        written.map_err(io("write", &self.path))
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write_all(bytes))
    }

    /// Flushes to disk and puts the file in its place.
    pub fn finish(mut self) -> Result<(), FileError> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let written = writer
            .flush()
            .and_then(|()| writer.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.path));
        written.map_err(|source| {
            // The partial file is ours alone; if it cannot be removed either, the first error is the one to tell.
            let _ = fs::remove_file(&self.partial);
            FileError::Io { action: "write", path: self.path.clone(), source }
        })
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a file so that it is either the old content or the new, never half of it, as [`AtomicFile`] does.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// Writes pretty JSON with a final newline, atomically.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| FileError::Malformed { path: path.to_path_buf(), message: error.to_string() })?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

/// A value on a line of its own; `path` names the file that it is for.
fn json_line<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, FileError> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| FileError::Malformed { path: path.to_path_buf(), message: error.to_string() })?;
    line.push(b'\n');
    Ok(line)
}

/// Writes one JSON value a line, atomically.
pub fn write_jsonl<T: Serialize>(path: &Path, rows: &[T]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    rows.iter().try_for_each(|row| file.write(&json_line(path, row)?))?;
    file.finish()
}

/// Makes a folder and its parents.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(io("create folder", path))
}

/// Removes a file if it is there.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(io("remove", path)),
    }
}

/// Whether this is a folder.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// Whether a file or folder is there.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// The entries of a folder, sorted by name.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut entries = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>())
        .map_err(io("list", path))?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("counterpath-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("scratch folder");
        folder
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = scratch("atomic");
        let path = folder.join("a.json");
        write_atomic(&path, b"old").expect("write");
        // A folder in the place of the target cannot be replaced by a file.
        let blocked = folder.join("blocked");
        fs::create_dir_all(blocked.join("inside")).expect("folder");
        assert!(write_atomic(&blocked, b"new").is_err());
        assert_eq!(read(&path, 10).expect("read"), b"old");
        assert_eq!(list(&folder).expect("list").len(), 2, "no partial file stays behind");
        assert!(matches!(read(&path, 2), Err(FileError::TooLarge { found: 3, limit: 2, .. })));
    }

    #[test]
    fn a_bad_line_is_named() {
        let path = scratch("jsonl").join("rows.jsonl");
        write_atomic(&path, b"1\n\n\"x\"\n").expect("write");
        let error = read_jsonl::<u32>(&path).expect_err("line 3 is a string").to_string();
        assert!(error.contains("line 3") && error.contains("invalid type"), "{error}");
    }
}
