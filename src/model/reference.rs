//! Where a checkpoint comes from: the embedded model, a folder or file, or the Hugging Face hub.

use std::fmt;
use std::path::{Path, PathBuf};

/// What a user may write after `--model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointRef {
    /// The model inside the program.
    Embedded,
    /// A folder or file on this machine.
    Folder(PathBuf),
    /// A repository on the hub.
    Hub {
        /// `org/name` or, for a few old repositories, `name`.
        id: String,
        /// Branch, tag or commit; `main` where none was written.
        revision: String,
    },
}

/// Why a text names no checkpoint.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is no model: there is no such folder or file, and it is no hub id (org/name or org/name@revision); \
     `embedded` names the built-in model"
)]
pub struct ReferenceError {
    /// What was written.
    pub text: String,
}

impl CheckpointRef {
    /// Reads `embedded`, a folder or file that exists, or a hub id. A folder wins over a hub id of the same spelling.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        if Path::new(text).exists() {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let parts: Vec<_> = id.split('/').collect();
        if parts.len() == 2 && parts.iter().all(|part| plain(part)) && !revision.is_empty() {
            return Ok(Self::Hub { id: id.to_owned(), revision: revision.to_owned() });
        }
        Err(ReferenceError { text: text.to_owned() })
    }
}

impl fmt::Display for CheckpointRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Hub { id, revision } => write!(f, "{id}@{revision}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_are_told_apart() {
        assert_eq!(CheckpointRef::parse("embedded").expect("embedded"), CheckpointRef::Embedded);
        assert!(matches!(CheckpointRef::parse("src").expect("folder"), CheckpointRef::Folder(_)));
        let hub = |text| match CheckpointRef::parse(text) {
            Ok(CheckpointRef::Hub { id, revision }) => (id, revision),
            other => panic!("{other:?}"),
        };
        assert_eq!(hub("org/name"), ("org/name".into(), "main".into()));
        assert_eq!(hub("org/na.me-1@refs/pr/3"), ("org/na.me-1".into(), "refs/pr/3".into()));
        for bad in ["", "./missing", "/missing/folder", "a/b/c", "org/name@", "org/", "../x"] {
            assert!(CheckpointRef::parse(bad).is_err(), "{bad}");
        }
    }
}
