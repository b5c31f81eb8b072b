//! Tasks that are known by name: each reads a data set's files, as they were released or as the hub has them, and asks its
//! questions with lm-eval's prompts.
//!
//! To add one: a [`BuiltIn`] in a file here, its slice in [`BUILT_IN`], and a test on rows of the real format.

pub mod assemble;
pub mod standard;

use std::path::{Path, PathBuf};

use super::data::{Rows, read_rows};
use super::error::HarnessError;
use super::task::Task;
use crate::base::{FileError, files, suggestion};
pub use assemble::{Definition, assemble};

/// A task that is known by name.
pub struct BuiltIn {
    /// Its name, lm-eval's where lm-eval has it.
    pub id: &'static str,
    /// The groups and tags that it belongs to.
    pub groups: &'static [&'static str],
    /// What it asks, in one sentence.
    pub description: &'static str,
    /// Which files it reads, and where they come from.
    pub files: &'static str,
    /// The hub's data set, where it is there.
    pub hub: Option<&'static str>,
    /// Reads it.
    pub load: fn(&Source<'_>) -> Result<Task, HarnessError>,
}

/// Where a task's data are, and how it is to be asked.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The task's name: what one reader serves several tasks by.
    pub id: &'a str,
    /// The file, or a folder that holds it.
    pub path: &'a Path,
    /// Rows that may be left out because they cannot be used.
    pub max_bad_rows: usize,
    /// Examples before each question; the task's own number where none is given.
    pub num_fewshot: Option<usize>,
    /// The file that examples are drawn from. Without it they come from the task's own examples file where the data set
    /// has one beside `path`, else from `path` itself, never the question at hand.
    pub examples: Option<&'a Path>,
    /// The seed of drawn examples.
    pub fewshot_seed: u64,
}

impl<'a> Source<'a> {
    /// A task's data, asked as the task itself says; no row may be bad.
    pub fn new(id: &'a str, path: &'a Path) -> Self {
        Self { id, path, max_bad_rows: 0, num_fewshot: None, examples: None, fewshot_seed: 1234 }
    }

    /// The rows of the file, or of the first of `names` that the folder holds; `{}` in a name is any run of characters.
    ///
    /// # Errors
    /// None of them is there, and what [`read_rows`] refuses.
    pub fn rows(&self, names: &[&str]) -> Result<Rows, HarnessError> {
        read_rows(&self.file(names)?, self.max_bad_rows)
    }

    /// The file itself, or the first of `names` in the folder.
    ///
    /// # Errors
    /// None of them is there.
    pub fn file(&self, names: &[&str]) -> Result<PathBuf, HarnessError> {
        if !files::is_folder(self.path) {
            return Ok(self.path.to_path_buf());
        }
        let entries = files::list(self.path)?;
        let named = |pattern: &&str| entries.iter().find(|path| matches(pattern, path)).cloned();
        names.iter().find_map(named).ok_or_else(|| {
            let message = format!("the folder holds none of {}; give the file itself", names.join(", "));
            FileError::Malformed { path: self.path.to_path_buf(), message }.into()
        })
    }

    /// An error of the task as a whole.
    pub fn refuse(&self, message: impl Into<String>) -> HarnessError {
        HarnessError::Task { task: self.id.into(), message: message.into() }
    }
}

fn matches(pattern: &str, path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match pattern.split_once("{}") {
        None => name == pattern,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    }
}

/// All of them, one slice a file.
pub static BUILT_IN: &[&[BuiltIn]] = standard::BUILT_IN;

/// All of them, in the order in which they are listed.
pub fn all() -> impl Iterator<Item = &'static BuiltIn> {
    BUILT_IN.iter().copied().flatten()
}

/// The task of that name.
///
/// # Errors
/// [`HarnessError::Unknown`] with the nearest name of a task or group.
pub fn built_in(id: &str) -> Result<&'static BuiltIn, HarnessError> {
    all().find(|task| task.id == id).ok_or_else(|| {
        let names = all().flat_map(|task| std::iter::once(task.id).chain(task.groups.iter().copied()));
        HarnessError::Unknown { what: "task", given: id.into(), hint: suggestion(id, names).map(str::to_owned) }
    })
}

/// The tasks of a group, in their order; empty where nothing is called so.
pub fn group(name: &str) -> Vec<&'static BuiltIn> {
    all().filter(|task| task.groups.contains(&name)).collect()
}

impl BuiltIn {
    /// Reads the task and checks what no row can tell: that ids are unique and every question asks something.
    ///
    /// # Errors
    /// What the task's reader refuses, and two questions of one id.
    pub fn read(&self, source: &Source<'_>) -> Result<Task, HarnessError> {
        let task = (self.load)(&Source { id: self.id, ..*source })?;
        task.check()?;
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_described() {
        let mut seen = BTreeSet::new();
        for task in all() {
            assert!(seen.insert(task.id), "{} stands twice", task.id);
            assert!(!task.description.is_empty() && !task.files.is_empty(), "{}", task.id);
            assert!(!task.groups.contains(&task.id), "{} is a task and a group", task.id);
        }
        assert!(seen.len() > 100, "{} tasks", seen.len());
    }

    #[test]
    fn a_name_that_nothing_has_gets_the_nearest() {
        let error = built_in("helaswag").err().expect("misspelt").to_string();
        assert!(error.contains("did you mean \"hellaswag\""), "{error}");
        assert_eq!(group("blimp").len(), 67);
        assert_eq!(group("mmlu").len(), 57);
    }

    #[test]
    fn patterns_name_files() {
        assert!(matches("test-{}.parquet", Path::new("a/test-00000-of-00001.parquet")));
        assert!(!matches("test-{}.parquet", Path::new("test-.jsonl")));
        assert!(matches("dev.jsonl", Path::new("x/dev.jsonl")));
    }
}
