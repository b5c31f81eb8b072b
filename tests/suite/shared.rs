//! Where the shared fixtures, data and models are, and what happens without them.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The shared folder: `COUNTERPATH_SHARED`, or `../shared` beside the project. Without it a test says that it was
/// skipped and passes, unless `REQUIRE_SHARED=1`.
pub fn shared_dir() -> Option<PathBuf> {
    let folder = std::env::var_os("COUNTERPATH_SHARED").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("REQUIRE_SHARED").as_deref() != Ok("1"),
        "REQUIRE_SHARED=1, and {} is not there",
        folder.display()
    );
    // Written past the harness, which shows nothing of a test that passes.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs the shared data, and {} is not there", folder.display());
    None
}

/// A JSON file that must be there.
pub fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All numbers of nested lists, in order.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

/// Rows of token ids.
pub fn rows(value: &Value) -> Vec<Vec<u32>> {
    let row = |row: &Value| numbers(row).into_iter().map(|id| id as u32).collect();
    value.as_array().expect("rows").iter().map(row).collect()
}

/// The largest difference between two lists of equal length.
pub fn largest_difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, d| if d.is_nan() { f64::NAN } else { f64::max(largest, d) })
}
