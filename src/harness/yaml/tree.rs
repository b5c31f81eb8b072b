//! One YAML file with the files that it includes, as plain values (lm-eval `tasks/_yaml_loader.py`).
//!
//! `!function module.name` becomes an object with the key [`FUNCTION`] and the folder of the file that names it. Keys of a
//! file win over those of what it includes, later includes over earlier ones, and `task_list` is not inherited.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::base::FileError;
use crate::base::files;

/// The key of a function's name.
pub const FUNCTION: &str = "!function";
/// The key of the folder of the file that names it.
pub const FOLDER: &str = "folder";

/// How many files may include each other.
const DEPTH: usize = 32;

/// A file and what it includes, merged.
///
/// # Errors
/// A file that is not there, is no YAML (with its line), is no mapping, or includes itself.
pub fn load(path: &Path) -> Result<Map<String, Value>, FileError> {
    load_below(path, &mut Vec::new())
}

fn load_below(path: &Path, above: &mut Vec<PathBuf>) -> Result<Map<String, Value>, FileError> {
    let wrong = |message: String| FileError::Malformed { path: path.to_path_buf(), message };
    if above.iter().any(|seen| seen == path) || above.len() == DEPTH {
        return Err(wrong("it includes itself".into()));
    }
    above.push(path.to_path_buf());
    let mut own = parse(path, &files::read_text(path)?)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut merged = Map::new();
    for include in includes(own.shift_remove("include")).map_err(wrong)? {
        let mut below = load_below(&normal(&folder.join(include)), above)?;
        below.shift_remove("task_list");
        merged.extend(below);
    }
    merged.extend(own);
    above.pop();
    Ok(merged)
}

/// The files that `include` names.
pub(super) fn includes(value: Option<Value>) -> Result<Vec<String>, String> {
    let name = |value: &Value| value.as_str().map(str::to_owned).ok_or("`include` must name files".to_owned());
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(names)) => names.iter().map(name).collect(),
        Some(one) => Ok(vec![name(&one)?]),
    }
}

/// A path without `.` and `..`, where they can be resolved by name.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The mapping that a YAML text holds; `path` is the file's.
pub fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, FileError> {
    let wrong = |message: String| FileError::Malformed { path: path.to_path_buf(), message };
    let mut tree: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(|error| wrong(error.to_string()))?;
    tree.apply_merge().map_err(|error| wrong(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    match plain(tree, folder).map_err(wrong)? {
        Value::Object(map) => Ok(map),
        _ => Err(wrong("a mapping of keys to values is expected".into())),
    }
}

fn plain(value: serde_yaml_ng::Value, folder: &Path) -> Result<Value, String> {
    use serde_yaml_ng::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => flag.into(),
        Yaml::String(text) => text.into(),
        Yaml::Number(number) => {
            let whole = number.as_i64().map(Value::from).or_else(|| number.as_u64().map(Value::from));
            // Infinities and NaN have no place in JSON; Python prints them so.
            whole
                .or_else(|| number.as_f64().and_then(serde_json::Number::from_f64).map(Value::Number))
                .unwrap_or_else(|| number.to_string().into())
        }
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(|item| plain(item, folder)).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(items) => {
            let mut map = Map::new();
            for (key, value) in items {
                let key = match plain(key, folder)? {
                    Value::String(key) => key,
                    other => super::super::python::text(&other),
                };
                map.insert(key, plain(value, folder)?);
            }
            map.into()
        }
        Yaml::Tagged(tagged) if tagged.tag == FUNCTION => match tagged.value {
            Yaml::String(name) => {
                let folder = folder.to_string_lossy().into_owned();
                Map::from_iter([(FUNCTION.to_owned(), name.into()), (FOLDER.to_owned(), folder.into())]).into()
            }
            _ => return Err("!function must be followed by module.name".into()),
        },
        Yaml::Tagged(tagged) => return Err(format!("the tag {} is not known; only !function is", tagged.tag)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder(name: &str, contents: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("counterpath-tree-{}-{name}", std::process::id()));
        for (file, content) in contents {
            files::write_atomic(&folder.join(file), content.as_bytes()).expect("file");
        }
        folder
    }

    #[test]
    fn local_keys_win_over_included_ones_and_later_includes_over_earlier() {
        let folder = folder(
            "chain",
            &[
                ("a.yaml", "include: [b_yaml, sub/c.yaml]\ntask: a\nx: 1\n"),
                ("b_yaml", "task: b\nx: 2\ny: 2\nz: 2\ntask_list: [1]\n"),
                ("sub/c.yaml", "include: ../d.yaml\ny: 3\nf: !function utils.f\n"),
                ("d.yaml", "w: 4\ny: 4\n"),
            ],
        );
        let tree = load(&folder.join("a.yaml")).expect("tree");
        let function = json!({"!function": "utils.f", "folder": folder.join("sub").display().to_string()});
        assert_eq!(Value::Object(tree), json!({"task": "a", "x": 1, "y": 3, "z": 2, "w": 4, "f": function}));
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = folder(
            "bad",
            &[
                ("cycle.yaml", "include: cycle.yaml\n"),
                ("list.yaml", "- a\n"),
                ("broken.yaml", "a: [1\nb: 2\n"),
                ("tag.yaml", "a: !python x\n"),
                ("gone.yaml", "include: nowhere.yaml\n"),
            ],
        );
        for (file, part) in [
            ("cycle.yaml", "includes itself"),
            ("list.yaml", "mapping"),
            ("broken.yaml", "line"),
            ("tag.yaml", "!python"),
            ("gone.yaml", "nowhere.yaml"),
        ] {
            let error = load(&folder.join(file)).expect_err(file).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
