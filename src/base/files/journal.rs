//! Append-only journals.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FileError, create_folder, io, json_line};

/// An append-only file of JSON lines that survives a kill at any byte: a half-written last line is dropped when the
/// journal is opened again.
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// Who may have a journal open.
#[derive(PartialEq, Eq)]
enum Writers {
    One,
    Any,
}

impl Journal {
    /// Opens or makes the journal and returns the rows that are complete in it.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), FileError> {
        let mut rows = Vec::new();
        let journal = Self::replay(path, |row| {
            rows.push(row);
            Ok::<(), FileError>(())
        })?;
        Ok((journal, rows))
    }

    /// Opens or makes the journal and hands out the rows that are complete in it, one at a time.
    pub fn replay<T, E>(path: &Path, each: impl FnMut(T) -> Result<(), E>) -> Result<Self, E>
    where
        T: DeserializeOwned,
        E: From<FileError>,
    {
        Self::take_up(path, Writers::Any, each)
    }

    /// The same for a journal that has one writer at a time: while it is open it is locked (on Unix), and opening it a
    /// second time is refused before anything is read.
    pub fn replay_alone<T, E>(path: &Path, each: impl FnMut(T) -> Result<(), E>) -> Result<Self, E>
    where
        T: DeserializeOwned,
        E: From<FileError>,
    {
        Self::take_up(path, Writers::One, each)
    }

    fn take_up<T, E>(path: &Path, writers: Writers, mut each: impl FnMut(T) -> Result<(), E>) -> Result<Self, E>
    where
        T: DeserializeOwned,
        E: From<FileError>,
    {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            create_folder(parent)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io("open", path))?;
        if writers == Writers::One {
            lock(&file).map_err(io("open", path))?;
        }
        let mut complete = 0u64;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(io("read", path))?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            each(serde_json::from_slice(&line).map_err(|error| FileError::MalformedLine {
                path: path.to_path_buf(),
                line: number,
                message: error.to_string(),
            })?)?;
            complete += read as u64;
        }
        file.set_len(complete).map_err(io("truncate", path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends one row with one write call and flushes it.
    pub fn append<T: Serialize>(&mut self, row: &T) -> Result<(), FileError> {
        let line = json_line(&self.path, row)?;
        self.file.write_all(&line).and_then(|()| self.file.flush()).map_err(io("append to", &self.path))
    }
}

/// Takes the file for this writer alone, until it is closed or the process ends.
fn lock(file: &File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is that of a file that is open.
        #[allow(unsafe_code)]
        let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        if taken != 0 {
            let error = std::io::Error::last_os_error();
            return Err(match error.kind() {
                std::io::ErrorKind::WouldBlock => std::io::Error::new(
                    std::io::ErrorKind::WouldBlock,
                    "another run has it open; wait for it, or give another file",
                ),
                _ => error,
            });
        }
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_drops_a_half_written_line() {
        let folder = std::env::temp_dir().join(format!("counterpath-journal-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let path = folder.join("rows.jsonl");
        let (mut journal, rows) = Journal::open::<u32>(&path).expect("new journal");
        assert!(rows.is_empty());
        journal.append(&1u32).expect("append");
        journal.append(&2u32).expect("append");
        drop(journal);
        OpenOptions::new().append(true).open(&path).expect("open").write_all(b"3").expect("half a line");
        let (mut journal, rows) = Journal::open::<u32>(&path).expect("reopen");
        assert_eq!(rows, [1, 2]);
        journal.append(&4u32).expect("append");
        drop(journal);
        assert_eq!(Journal::open::<u32>(&path).expect("reopen").1, [1, 2, 4]);
    }
}
