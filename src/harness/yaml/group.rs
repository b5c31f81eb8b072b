//! Groups of tasks: which tasks a list of names stands for, and a group's own value (lm-eval `tasks/_factory.py`,
//! `api/group.py`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::error::HarnessError;
use super::super::python;
use super::catalogue::{Catalogue, Kind};
use super::file::TaskFile;
use super::tree;

/// What a group makes of a metric of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupMetric {
    /// The metric.
    pub metric: String,
    /// The filters whose values are taken; all that its tasks have where none are named.
    pub filters: Option<Vec<String>>,
    /// Whether a task counts by its documents; else all tasks count alike.
    pub weight_by_size: bool,
}

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How tables call it.
    pub alias: Option<String>,
    /// The version of its definition.
    pub version: Option<String>,
    /// Its own values; none where it is only a list.
    pub metrics: Vec<GroupMetric>,
    /// Its direct members by name: tasks and groups.
    pub members: Vec<String>,
    /// All its tasks, those of groups below it included, in their order.
    pub tasks: Vec<String>,
}

/// The tasks and groups that a list of names stands for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The tasks by file, each once, in the order in which they were named.
    pub tasks: Vec<TaskFile>,
    /// The groups, a group behind those below it.
    pub groups: Vec<Group>,
}

/// Takes names of tasks, groups and tags together.
pub struct Selector<'a> {
    catalogue: &'a Catalogue,
    selection: Selection,
    open: Vec<String>,
}

type Tree = Map<String, Value>;

const GROUP_KEYS: [&str; 6] = ["group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag"];

impl<'a> Selector<'a> {
    /// Over a catalogue.
    pub fn new(catalogue: &'a Catalogue) -> Self {
        Self { catalogue, selection: Selection::default(), open: Vec::new() }
    }

    /// Adds what a name of the catalogue stands for.
    ///
    /// # Errors
    /// The name is unknown, its file cannot be read or run, or a group holds itself.
    pub fn add(&mut self, name: &str) -> Result<(), HarnessError> {
        self.member(name, &Tree::new()).map(drop)
    }

    /// The tasks and groups.
    pub fn finish(self) -> Selection {
        self.selection
    }

    /// Adds one member with the keys that replace its own; answers with the names of its tasks.
    fn member(&mut self, name: &str, changes: &Tree) -> Result<Vec<String>, HarnessError> {
        let entry = self.catalogue.get(name).cloned().ok_or_else(|| HarnessError::Unknown {
            what: "task, group or tag",
            given: name.into(),
            hint: None,
        })?;
        match (entry.kind, entry.path) {
            (Kind::Tag, _) => {
                let mut all = Vec::new();
                for task in &entry.tasks {
                    all.extend(self.member(task, changes)?);
                }
                Ok(all)
            }
            (Kind::Python, _) => Err(HarnessError::Task {
                task: name.into(),
                message: "it is a Python class (`class`), which is not run".into(),
            }),
            (_, None) => Err(HarnessError::Task { task: name.into(), message: "no file defines it".into() }),
            (Kind::Task, Some(path)) => {
                let mut tree = tree::load(&path)?;
                tree.extend(changes.clone());
                tree.insert("task".into(), name.into());
                self.task(tree, &path)
            }
            (Kind::Group, Some(path)) => {
                let tree = tree::load(&path)?;
                self.group(name, tree, changes, &path)
            }
        }
    }

    fn task(&mut self, tree: Tree, path: &Path) -> Result<Vec<String>, HarnessError> {
        let file = TaskFile::new(tree, path)?;
        let name = file.name.clone();
        if !self.selection.tasks.iter().any(|known| known.name == name) {
            self.selection.tasks.push(file);
        }
        Ok(vec![name])
    }

    fn group(&mut self, name: &str, tree: Tree, changes: &Tree, path: &Path) -> Result<Vec<String>, HarnessError> {
        let wrong = |message: String| HarnessError::Task { task: name.into(), message };
        if self.open.iter().any(|open| open == name) || self.open.len() > 32 {
            return Err(wrong("the group holds itself".into()));
        }
        self.open.push(name.into());
        // Keys that are not the group's own are defaults of its tasks.
        let mut defaults: Tree = tree
            .iter()
            .filter(|(key, _)| !GROUP_KEYS.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        defaults.extend(changes.clone());
        let listed = match tree.get("task") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(one) => vec![one.clone()],
        };
        let (mut members, mut tasks) = (Vec::new(), Vec::new());
        for item in listed {
            let (names, own) = self.item(name, item, &defaults, path)?;
            members.extend(names);
            tasks.extend(own);
        }
        self.open.pop();
        let mut seen = BTreeSet::new();
        tasks.retain(|task| seen.insert(task.clone()));
        let group = Group {
            name: name.into(),
            alias: tree.get("group_alias").and_then(Value::as_str).map(str::to_owned),
            version: tree.get("metadata").and_then(|metadata| metadata.get("version")).map(python::text),
            metrics: metrics(tree.get("aggregate_metric_list")).map_err(wrong)?,
            members,
            tasks: tasks.clone(),
        };
        if !self.selection.groups.iter().any(|known| known.name == group.name) {
            self.selection.groups.push(group);
        }
        Ok(tasks)
    }

    /// One entry of a group's list: the names of the members that it stands for, and their tasks.
    fn item(
        &mut self,
        group: &str,
        item: Value,
        defaults: &Tree,
        path: &Path,
    ) -> Result<(Vec<String>, Vec<String>), HarnessError> {
        let wrong = |message: String| HarnessError::Task { task: group.into(), message };
        let (name, own, key) = match item {
            Value::String(name) => (name, Tree::new(), "task"),
            Value::Object(own) => {
                let key = if own.contains_key("group") { "group" } else { "task" };
                let name = own.get(key).and_then(Value::as_str).map(str::to_owned);
                (name.ok_or_else(|| wrong("an entry of `task` needs `task` or `group`".into()))?, own, key)
            }
            other => return Err(wrong(format!("`task` must list names or mappings, and it holds {other}"))),
        };
        let mut changes = defaults.clone();
        changes.extend(own.clone());
        changes.shift_remove("task");
        changes.shift_remove("group");
        if let Some(entry) = self.catalogue.get(&name) {
            let kind = entry.kind;
            let tasks = self.member(&name, &changes)?;
            let members = if kind == Kind::Tag { tasks.clone() } else { vec![name] };
            return Ok((members, tasks));
        }
        let inline = format!("{group}::{name}");
        let tasks = match key {
            "group" => self.group(&inline, own, defaults, path)?,
            _ if own.is_empty() => {
                self.catalogue.matching(&name, [])?;
                Vec::new()
            }
            _ => {
                changes.insert("task".into(), inline.clone().into());
                self.task(changes, path)?
            }
        };
        Ok((vec![inline], tasks))
    }
}

fn metrics(value: Option<&Value>) -> Result<Vec<GroupMetric>, String> {
    let entries = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries.clone(),
        Some(one) => vec![one.clone()],
    };
    let metric = |entry: &Value| {
        let metric =
            entry.get("metric").and_then(Value::as_str).ok_or("`aggregate_metric_list` needs `metric`, a name")?;
        match entry.get("aggregation") {
            None | Some(Value::Null) => {}
            Some(Value::String(mean)) if mean == "mean" => {}
            Some(other) => return Err(format!("the group's aggregation {other} is not supported; `mean` is")),
        }
        let filters = match entry.get("filter_list") {
            None | Some(Value::Null) => None,
            Some(Value::Array(names)) => Some(names.iter().map(python::text).collect()),
            Some(one) => Some(vec![python::text(one)]),
        };
        let weight_by_size = entry.get("weight_by_size").and_then(Value::as_bool).unwrap_or(true);
        Ok(GroupMetric { metric: metric.into(), filters, weight_by_size })
    };
    entries.iter().map(metric).collect()
}

/// The path of a name that is a task file's.
pub fn as_path(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    is_yaml.then(|| path.to_path_buf())
}
