//! Which tasks, groups and tags a folder of task files defines (lm-eval `tasks/_index.py`).
//!
//! Files are not parsed for that: of each, the lines of the keys `task`, `group`, `tag`, `class` and `include` are read, so that
//! ten thousand files take a fraction of a second. A file that cannot be read that way is listed in [`Catalogue::unread`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::super::error::HarnessError;
use super::tree;
use crate::base::{FileError, files, suggestion};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One task.
    Task,
    /// A task that is a Python class, which is not run.
    Python,
    /// A group of tasks with a value of its own.
    Group,
    /// A name that several tasks share.
    Tag,
}

impl Kind {
    /// The kind in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Python => "python",
            Self::Group => "group",
            Self::Tag => "tag",
        }
    }
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it stands for.
    pub kind: Kind,
    /// The file; none for a tag.
    pub path: Option<PathBuf>,
    /// The tasks of a tag.
    pub tasks: BTreeSet<String>,
}

/// All names that files define.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    entries: BTreeMap<String, Entry>,
    /// Files that define nothing or cannot be read, each with the reason.
    pub unread: Vec<String>,
}

impl Catalogue {
    /// The names below some folders. Within a folder the first file (by path) that defines a name keeps it, a later folder
    /// overrides an earlier one.
    pub fn scan(folders: &[PathBuf]) -> Result<Self, HarnessError> {
        let mut catalogue = Self::default();
        for folder in folders {
            let paths = files::walk(folder, "yaml")?;
            let heads: Vec<Result<Head, FileError>> = paths.par_iter().map(|path| Head::read(path)).collect();
            let mut below = Heads::default();
            for (path, head) in paths.iter().zip(heads) {
                below.0.insert(path.clone(), head.map_err(|error| error.to_string()));
            }
            let mut own = BTreeMap::new();
            for path in &paths {
                let whole = below.whole(path, 0).and_then(|head| add(&mut own, path, head));
                if let Err(reason) = whole {
                    catalogue.unread.push(format!("{}: {reason}", path.display()));
                }
            }
            catalogue.entries.extend(own);
        }
        Ok(catalogue)
    }

    /// All names in their order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Makes a name known that a file outside the folders defines; one that is known already stays.
    pub fn add_file(&mut self, path: &Path) -> Result<String, HarnessError> {
        let path = tree::normal(path);
        let mut own = BTreeMap::new();
        let wrong = |message: String| FileError::Malformed { path: path.clone(), message };
        let head = Heads::default().whole(&path, 0).map_err(wrong)?;
        let name = head.group.clone().or_else(|| head.task.clone());
        add(&mut own, &path, head).map_err(wrong)?;
        let name = name.ok_or_else(|| wrong("it names no `task` or `group`".into()))?;
        // A path says which file is meant, whatever the folders call so.
        self.entries.extend(own.into_iter().filter(|(_, entry)| entry.kind != Kind::Tag));
        Ok(name)
    }

    /// The names that a pattern with `*` and `?` stands for; a plain name stands for itself.
    ///
    /// # Errors
    /// [`HarnessError::Unknown`] with the nearest of `others` and the own names where nothing matches.
    pub fn matching<'a>(
        &self,
        pattern: &str,
        others: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<String>, HarnessError> {
        let mut all: BTreeSet<String> = self.entries.keys().cloned().collect();
        all.extend(others.into_iter().map(str::to_owned));
        let found: Vec<String> = all.iter().filter(|name| glob(pattern, name)).cloned().collect();
        match found.is_empty() {
            false => Ok(found),
            true => Err(HarnessError::Unknown {
                what: "task, group or tag",
                given: pattern.into(),
                hint: suggestion(pattern, all.iter().map(String::as_str)).map(str::to_owned),
            }),
        }
    }
}

/// Whether a pattern with `*` and `?` covers a text.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place, mut star) = (0, 0, None);
    while let Some(letter) = text.get(place) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == letter => {
                at += 1;
                place += 1;
            }
            _ => match star {
                None => return false,
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    at = back + 1;
                    place = from + 1;
                }
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|rest| *rest == '*')
}

fn add(entries: &mut BTreeMap<String, Entry>, path: &Path, head: Head) -> Result<(), String> {
    let kind = match (&head.class, &head.group, &head.task) {
        (true, ..) => Kind::Python,
        (_, Some(_), _) => Kind::Group,
        (_, None, Some(_)) => Kind::Task,
        (_, None, None) => return Err("it defines no task and no group".into()),
    };
    let name = if kind == Kind::Group { head.group } else { head.task };
    let name = name.ok_or("`task` is no name")?;
    if let Some(known) = entries.get(&name) {
        let other = known.path.as_deref().map_or("a tag".into(), |path| path.display().to_string());
        return Err(format!("{name} is defined by {other} already"));
    }
    let entry = Entry { kind, path: Some(path.to_path_buf()), tasks: BTreeSet::new() };
    entries.insert(name.clone(), entry);
    for tag in head.tags.into_iter().flatten().filter(|_| kind != Kind::Group) {
        let blank = Entry { kind: Kind::Tag, path: None, tasks: BTreeSet::new() };
        entries.entry(tag).or_insert(blank).tasks.insert(name.clone());
    }
    Ok(())
}

/// What the index needs of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Head {
    task: Option<String>,
    group: Option<String>,
    class: bool,
    tags: Option<Vec<String>>,
    includes: Vec<String>,
}

/// Heads by path; a path that is missing is read when it is asked for.
#[derive(Default)]
struct Heads(HashMap<PathBuf, Result<Head, String>>);

impl Heads {
    fn own(&mut self, path: &Path) -> Result<Head, String> {
        if let Some(head) = self.0.get(path) {
            return head.clone();
        }
        let head = Head::read(path).map_err(|error| error.to_string());
        self.0.insert(path.to_path_buf(), head.clone());
        head
    }

    /// A file's head with what it includes.
    fn whole(&mut self, path: &Path, depth: usize) -> Result<Head, String> {
        let own = self.own(path)?;
        if depth > 32 {
            return Err("it includes itself".into());
        }
        let mut merged = Head::default();
        let folder = path.parent().unwrap_or(Path::new("."));
        for include in &own.includes {
            let below = self.whole(&tree::normal(&folder.join(include)), depth + 1)?;
            merged = merged.under(below);
        }
        Ok(merged.under(own))
    }
}

impl Head {
    /// `self` with `over` on top of it.
    fn under(self, over: Self) -> Self {
        Self {
            task: over.task.or(self.task),
            group: over.group.or(self.group),
            class: over.class || self.class,
            tags: over.tags.or(self.tags),
            includes: Vec::new(),
        }
    }

    fn read(path: &Path) -> Result<Self, FileError> {
        let text = files::read_text(path)?;
        let mut head = Self::default();
        for (key, block) in blocks(&text) {
            match key {
                "class" => head.class = true,
                "task" => {
                    head.task = simple(block).or_else(|| names(path, block).ok()?.filter(|n| n.len() == 1)?.pop())
                }
                "group" => head.group = simple(block).or_else(|| names(path, block).ok()??.pop()),
                "tag" => {
                    head.tags = match simple(block) {
                        Some(one) => Some(vec![one]),
                        None => names(path, block)?,
                    };
                }
                _ => {
                    head.includes = match simple(block) {
                        Some(one) => vec![one],
                        None => names(path, block)?.unwrap_or_default(),
                    };
                }
            }
        }
        Ok(head)
    }
}

const KEYS: [&str; 5] = ["task", "group", "tag", "class", "include"];

/// The key of a line that begins a block at the left margin, where it is one of [`KEYS`].
fn key_of(line: &str) -> Option<&'static str> {
    let bare = line.trim_start_matches(['"', '\'']);
    let key = KEYS.into_iter().find(|key| bare.starts_with(key))?;
    let rest = bare.get(key.len()..)?.trim_start_matches(['"', '\'']).trim_start();
    rest.strip_prefix(':').filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).map(|_| key)
}

/// The blocks of the keys that matter: the line and the indented or listed lines below it.
fn blocks(text: &str) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    let mut open: Option<(&'static str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let inside = line.starts_with([' ', '\t', '-', '#', '\r', '\n', ']']);
        if !inside {
            if let Some((key, start)) = open.take() {
                found.push((key, text.get(start..at).unwrap_or_default()));
            }
            open = key_of(line).map(|key| (key, at));
        }
        at += line.len();
    }
    found.extend(open.map(|(key, start)| (key, text.get(start..).unwrap_or_default())));
    found
}

/// The plain value of a block of one line.
fn simple(block: &str) -> Option<String> {
    let mut lines = block.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let value = lines.next()?.split_once(':')?.1.trim();
    let plain = !value.is_empty()
        && !value.contains(" #")
        && !value.contains(": ")
        && !value.starts_with(['"', '\'', '[', '{', '&', '*', '!', '|', '>', '%', '@', '~']);
    (plain && lines.next().is_none() && value != "null").then(|| value.to_owned())
}

/// The names in a block, parsed; none for an empty value.
fn names(path: &Path, block: &str) -> Result<Option<Vec<String>>, FileError> {
    let value = tree::parse(path, block)?.into_iter().next().map(|(_, value)| value);
    let name = |value: &Value| value.as_str().map(str::to_owned);
    Ok(match value {
        Some(Value::Array(items)) => Some(items.iter().filter_map(name).collect()),
        Some(one) => name(&one).map(|one| vec![one]),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_parsing_whole_files() {
        let folder = std::env::temp_dir().join(format!("counterpath-catalogue-{}", std::process::id()));
        for (file, content) in [
            ("a/base.yaml", "tag:\n  - first\n  - 'second'\ntask: base # one\noutput_type: multiple_choice\n"),
            (
                "a/deeper/child.yaml",
                "include: ../base.yaml\n\"task\": \"child\"\ndoc_to_text: \"\\\n  task: no\\\n  \"\n",
            ),
            ("a/group.yaml", "group: both\ntask:\n  - base\n  - child\naggregate_metric_list: []\n"),
            ("a/_template_yaml", "tag: third\n"),
            ("a/third.yaml", "include:\n  - _template_yaml\ntask: named\ntag: [x, y]\n"),
            ("a/python.yaml", "task: code\nclass: !function task.Code\n"),
            ("a/nothing.yaml", "x: 1\n"),
            ("a/zagain.yaml", "task: base\n"),
            ("b/over.yaml", "task: base\n"),
        ] {
            files::write_atomic(&folder.join(file), content.as_bytes()).expect("file");
        }
        let catalogue = Catalogue::scan(&[folder.join("a"), folder.join("b")]).expect("names");
        let listed: Vec<_> = catalogue.entries().map(|(name, entry)| (name, entry.kind)).collect();
        assert_eq!(
            listed,
            [
                ("base", Kind::Task),
                ("both", Kind::Group),
                ("child", Kind::Task),
                ("code", Kind::Python),
                ("first", Kind::Tag),
                ("named", Kind::Task),
                ("second", Kind::Tag),
                ("x", Kind::Tag),
                ("y", Kind::Tag),
            ]
        );
        let first: Vec<_> = catalogue.get("first").expect("tag").tasks.iter().collect();
        assert_eq!(first, ["base", "child"]);
        assert!(catalogue.get("base").is_some_and(|entry| entry.path == Some(folder.join("b/over.yaml"))));
        assert_eq!(catalogue.unread.len(), 2, "{:?}", catalogue.unread);
        assert_eq!(catalogue.matching("*a?ed", []).expect("one"), ["named"]);
        let error = catalogue.matching("chidl", []).expect_err("unknown").to_string();
        assert!(error.contains("did you mean \"child\""), "{error}");
    }

    #[test]
    fn patterns_cover_what_they_should() {
        assert!(glob("mmlu_*", "mmlu_anatomy") && glob("*", "") && glob("a?c*", "abc") && glob("*b*c", "abxbc"));
        assert!(!glob("mmlu", "mmlu_x") && !glob("a?", "a") && !glob("*b", "abc"));
    }
}
