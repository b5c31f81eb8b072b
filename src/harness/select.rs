//! From names to tasks that are ready to be asked: built-in ones, task files, groups and tags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::HarnessError;
use super::prompt::PromptStyle;
use super::yaml::documents::{Documents, Source};
use super::yaml::group::{Selector, as_path};
use super::yaml::{Catalogue, Group, Overrides, Planned, Selection, TaskFile, build};
use crate::base::{Progress, suggestion};
use crate::model::hub::HubOptions;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Names of tasks, groups and tags, patterns, and paths of task files.
    pub names: &'a [String],
    /// Folders of task files.
    pub include: &'a [PathBuf],
    /// Documents by task.
    pub data: &'a BTreeMap<String, PathBuf>,
    /// How many rows of a file may be left out.
    pub max_bad_rows: usize,
    /// What is changed about all tasks.
    pub overrides: &'a Overrides,
    /// Documents by task and number, instead of a limit.
    pub samples: &'a BTreeMap<String, Vec<usize>>,
    /// The hub; none where it may not be asked.
    pub hub: Option<&'a HubOptions>,
}

/// The tasks and groups that names stand for, read but without documents.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// The tasks of files.
    pub files: Vec<TaskFile>,
    /// The groups.
    pub groups: Vec<Group>,
}

/// Tasks with their questions.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The tasks.
    pub tasks: Vec<Planned>,
    /// The groups.
    pub groups: Vec<Group>,
}

/// Finds what names stand for.
///
/// # Errors
/// An unknown name (with the nearest), a task file that cannot be read or run.
pub fn named(asked: &Asked<'_>) -> Result<Named, HarnessError> {
    let mut catalogue = Catalogue::scan(asked.include)?;
    let mut wanted = Vec::new();
    for name in asked.names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        match as_path(name) {
            Some(path) => wanted.push(catalogue.add_file(&path)?),
            None => wanted.extend(catalogue.matching(name, [])?),
        }
    }
    let mut selector = Selector::new(&catalogue);
    for name in &wanted {
        selector.add(name)?;
    }
    let Selection { tasks, groups } = selector.finish();
    for (what, names) in [("--data", asked.data.keys().collect::<Vec<_>>()), ("--samples", asked.samples.keys().collect())] {
        let known = || tasks.iter().map(|task| task.name.as_str());
        if let Some(name) = names.into_iter().find(|name| !known().any(|known| known == name.as_str())) {
            let hint = suggestion(name, known()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            let message = format!("{what} names it, and it is not among the tasks of this run{hint}");
            return Err(HarnessError::Task { task: name.clone(), message });
        }
    }
    Ok(Named { files: tasks, groups })
}

/// One task's questions.
///
/// # Errors
/// As [`build`].
pub fn planned(
    file: &TaskFile,
    asked: &Asked<'_>,
    style: &PromptStyle<'_>,
    progress: &dyn Progress,
) -> Result<Planned, HarnessError> {
    let source = Source {
        data: asked.data.get(&file.name).map(PathBuf::as_path),
        max_bad_rows: asked.max_bad_rows,
        hub: asked.hub,
        progress,
    };
    let mut overrides = asked.overrides.clone();
    if !asked.samples.is_empty() {
        overrides.samples = Some(asked.samples.get(&file.name).cloned().unwrap_or_default());
    }
    build(file, &mut Documents::locate(file, &source)?, &overrides, style)
}

/// All questions of what names stand for.
///
/// # Errors
/// As [`named`] and [`planned`].
pub fn plan(asked: &Asked<'_>, style: &PromptStyle<'_>, progress: &dyn Progress) -> Result<Plan, HarnessError> {
    let Named { files, groups } = named(asked)?;
    let mut tasks = Vec::with_capacity(files.len());
    for file in &files {
        tasks.push(planned(file, asked, style, progress)?);
    }
    Ok(Plan { tasks, groups })
}
