//! From names to tasks that are ready to be asked: built-in ones, task files, groups and tags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::builtin::{self, BuiltIn};
use super::error::HarnessError;
use super::prompt::{Message, PromptStyle, Role, render};
use super::question::Request;
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

/// A task that was found, without its documents.
#[derive(Clone)]
pub enum Found {
    /// One that is built in.
    BuiltIn(&'static BuiltIn),
    /// A file's.
    File(Box<TaskFile>),
}

impl Found {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(task) => task.id,
            Self::File(file) => &file.name,
        }
    }
}

/// The tasks and groups that names stand for, without documents.
#[derive(Clone, Default)]
pub struct Named {
    /// The tasks, each once, in the order in which they were named.
    pub tasks: Vec<Found>,
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

/// Finds what names stand for. A name of a folder goes before a built-in one.
///
/// # Errors
/// An unknown name (with the nearest), a task file that cannot be read or run.
pub fn named(asked: &Asked<'_>) -> Result<Named, HarnessError> {
    let mut catalogue = Catalogue::scan(asked.include)?;
    let known = || builtin::all().flat_map(|task| std::iter::once(task.id).chain(task.groups.iter().copied()));
    let mut wanted = Vec::new();
    for name in asked.names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        match as_path(name) {
            Some(path) => wanted.push(catalogue.add_file(&path)?),
            None => wanted.extend(catalogue.matching(name, known())?),
        }
    }
    let mut named = Named::default();
    for name in &wanted {
        let own = match catalogue.get(name) {
            Some(_) => {
                let mut selector = Selector::new(&catalogue);
                selector.add(name)?;
                let Selection { tasks, groups } = selector.finish();
                let new = |group: &Group| !named.groups.iter().any(|known| known.name == group.name);
                let groups: Vec<Group> = groups.into_iter().filter(new).collect();
                named.groups.extend(groups);
                tasks.into_iter().map(|file| Found::File(Box::new(file))).collect()
            }
            None => built_in(name),
        };
        for task in own {
            if !named.tasks.iter().any(|known| known.name() == task.name()) {
                named.tasks.push(task);
            }
        }
    }
    for (what, names) in
        [("--data", asked.data.keys().collect::<Vec<_>>()), ("--samples", asked.samples.keys().collect())]
    {
        names.into_iter().try_for_each(|name| belongs(what, name, &named))?;
    }
    Ok(named)
}

/// The built-in task of a name, or those of a group.
fn built_in(name: &str) -> Vec<Found> {
    match builtin::built_in(name) {
        Ok(task) => vec![Found::BuiltIn(task)],
        Err(_) => builtin::group(name).into_iter().map(Found::BuiltIn).collect(),
    }
}

/// Whether a name that an option gives is one of the run's tasks, or a group that holds one.
fn belongs(option: &str, name: &str, named: &Named) -> Result<(), HarnessError> {
    let of_group = |task: &Found| matches!(task, Found::BuiltIn(task) if task.groups.contains(&name));
    if named.tasks.iter().any(|task| task.name() == name || of_group(task)) {
        return Ok(());
    }
    let near = suggestion(name, named.tasks.iter().map(Found::name));
    let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let message = format!("{option} names it, and it is not among the tasks of this run{hint}");
    Err(HarnessError::Task { task: name.into(), message })
}

/// One task's questions.
///
/// # Errors
/// As `build`; a built-in task without documents.
pub fn planned(
    found: &Found,
    asked: &Asked<'_>,
    style: &PromptStyle<'_>,
    progress: &dyn Progress,
) -> Result<Planned, HarnessError> {
    let mut overrides = asked.overrides.clone();
    if !asked.samples.is_empty() {
        overrides.samples = Some(asked.samples.get(found.name()).cloned().unwrap_or_default());
    }
    match found {
        Found::File(file) => {
            let source = Source {
                data: asked.data.get(&file.name).map(PathBuf::as_path),
                max_bad_rows: asked.max_bad_rows,
                hub: asked.hub,
                progress,
            };
            build(file, &mut Documents::locate(file, &source)?, &overrides, style)
        }
        Found::BuiltIn(task) => of_built_in(task, asked, &overrides, style),
    }
}

fn of_built_in(
    task: &BuiltIn,
    asked: &Asked<'_>,
    overrides: &Overrides,
    style: &PromptStyle<'_>,
) -> Result<Planned, HarnessError> {
    let wrong = |message: String| HarnessError::Task { task: task.id.into(), message };
    let group = || task.groups.iter().find_map(|group| asked.data.get(*group));
    let Some(path) = asked.data.get(task.id).or_else(group) else {
        return Err(wrong(format!("give its documents with --data {}=PATH: {}", task.id, task.files)));
    };
    let mut source = builtin::Source::new(task.id, path);
    source.max_bad_rows = asked.max_bad_rows;
    source.num_fewshot = overrides.num_fewshot;
    source.fewshot_seed = overrides.fewshot_seed.unwrap_or(source.fewshot_seed);
    let mut read = task.read(&source)?;
    // Documents that were read are chosen by their place, as they are in a task file.
    let chosen = overrides.chosen(read.questions.len()).map_err(wrong)?;
    let mut place = 0;
    read.questions.retain(|_| {
        place += 1;
        chosen.binary_search(&(place - 1)).is_ok()
    });
    for question in &mut read.questions {
        for request in &mut question.requests {
            framed(request, style)?;
        }
    }
    Ok(Planned::from(read))
}

/// Puts a request of plain text into the chat template: its context is the one turn of the user, and the answer begins without
/// the space that stands before it in plain text.
fn framed(request: &mut Request, style: &PromptStyle<'_>) -> Result<(), HarnessError> {
    let turn = |text: &str| -> Result<String, HarnessError> {
        let system = style.system.map(|system| Message::new(Role::System, system, "\n\n"));
        let messages: Vec<Message> = system.into_iter().chain([Message::new(Role::User, text, "")]).collect();
        Ok(render(&messages, style, None)?)
    };
    match request {
        _ if style.chat.is_none() && style.system.is_none() => {}
        Request::Rolling { .. } => {}
        Request::Generate { context, .. } => *context = turn(context)?,
        Request::Loglikelihood { context, .. } if context.is_empty() => {}
        Request::Loglikelihood { context, continuation } => {
            *context = turn(context)?;
            if style.chat.is_some() {
                *continuation = continuation.trim_start().to_owned();
            }
        }
    }
    Ok(())
}

/// All questions of what names stand for.
///
/// # Errors
/// As [`named`] and [`planned`].
pub fn plan(asked: &Asked<'_>, style: &PromptStyle<'_>, progress: &dyn Progress) -> Result<Plan, HarnessError> {
    let Named { tasks: found, groups } = named(asked)?;
    let mut tasks = Vec::with_capacity(found.len());
    for task in &found {
        tasks.push(planned(task, asked, style, progress)?);
    }
    Ok(Plan { tasks, groups })
}
