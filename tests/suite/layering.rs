//! The house's walls: which room may use which, and what only one room may do.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in the order of data flow; a room may use itself and those before it.
const ROOMS: [&str; 18] = [
    "base",
    "stats",
    "causal",
    "scenario",
    "ops",
    "model",
    "intervene",
    "mediate",
    "direction",
    "trust",
    "harness",
    "tune",
    "planted",
    "record",
    "compare",
    "report",
    "pipeline",
    "main",
];

/// Rooms of numbers only: comparing and reporting need no weights.
const NUMBERS_ONLY: [&str; 3] = ["record", "compare", "report"];
const MODEL_SIDE: [&str; 9] =
    ["ops", "model", "intervene", "mediate", "direction", "trust", "harness", "tune", "planted"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
            && !path.to_string_lossy().ends_with("_tests.rs")
        {
            into.push(path);
        }
    }
}

/// (room, path, text without comments, unit tests cut off)
fn rooms() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let mut out: Vec<_> = paths
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&root).ok()?.to_path_buf();
            let first = relative.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
            let room = match first.as_str() {
                "lib" => return None,
                "cli" => "main".to_owned(),
                _ => first,
            };
            let text = fs::read_to_string(&path).ok()?;
            let body = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: String =
                body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
            Some((room, relative, code))
        })
        .collect();
    out.sort();
    out
}

fn order(room: &str) -> usize {
    ROOMS.iter().position(|known| *known == room).unwrap_or_else(|| panic!("room `{room}` has no place in the house"))
}

/// The rooms named after `crate::` in a text, also inside `use crate::{a::…, b::…}`.
fn used(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let preceded = code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        if preceded {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                } else if depth <= 1 && (c == ':' || c == ',' || c == '}') {
                    if !word.is_empty() && ROOMS.contains(&word.as_str()) {
                        names.push(word.clone());
                    }
                    word.clear();
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if ROOMS.contains(&word.as_str()) {
                names.push(word);
            }
        }
    }
    names
}

#[test]
fn no_arrow_points_back() {
    let rooms = rooms();
    assert!(rooms.len() > 15, "the sources were found");
    let mut wrong = Vec::new();
    for (room, path, code) in &rooms {
        for name in used(code) {
            if order(&name) > order(room) {
                wrong.push(format!("{} ({room}) uses {name}, which comes later", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comparing_needs_no_weights() {
    let mut wrong = Vec::new();
    for (room, path, code) in rooms() {
        if !NUMBERS_ONLY.contains(&room.as_str()) {
            continue;
        }
        if code.contains("candle_") {
            wrong.push(format!("{} names candle", path.display()));
        }
        for name in used(&code) {
            if MODEL_SIDE.contains(&name.as_str()) {
                wrong.push(format!("{} uses {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_room_each_opens_files_calls_fused_kernels_and_prints() {
    let mut wrong = Vec::new();
    for (room, path, code) in rooms() {
        let name = path.display();
        let library = room != "main";
        let opens = path == Path::new("base/files.rs") || path.starts_with("base/files");
        if library && !opens && (code.contains("std::fs") || code.contains("File::open")) {
            wrong.push(format!("{name} opens files itself; base::files does that"));
        }
        if room != "ops" {
            for kernel in ["softmax_last_dim", "ops::rms_norm", "ops::layer_norm", "rotary_emb::rope"] {
                if code.contains(&format!("candle_nn::{kernel}")) || code.contains(&format!("candle_nn::ops::{kernel}"))
                {
                    wrong.push(format!("{name} calls candle's {kernel}, which cuts gradients; ops does that"));
                }
            }
        }
        if library {
            for word in ["println!", "eprintln!", "env::var", "process::exit", "Device::new_cuda", "Device::cuda_if"] {
                if code.contains(word) {
                    wrong.push(format!("{name}: the library is silent, but this says {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_use_lines_reads_groups() {
    assert_eq!(used("use crate::{base::Seed, tune::{Plan, Spec}};"), ["base", "tune"]);
    assert_eq!(used("let a = crate::model::load();"), ["model"]);
}
