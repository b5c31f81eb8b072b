//! Reading results of any harness, as the verbs that compare do.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use counterpath::base::suggestion;
use counterpath::compare::objective_by_name;
use counterpath::record::import::{ImportOptions, Imported, import};
use counterpath::stats::Direction;

use super::super::compare_args::ReadArgs;

/// Reads every file or folder.
pub fn read(paths: &[PathBuf], args: &ReadArgs) -> Result<Vec<Imported>> {
    let options = options(args)?;
    paths.iter().map(|path| Ok(import(path, &options)?)).collect()
}

fn options(args: &ReadArgs) -> Result<ImportOptions> {
    let mut options = ImportOptions { cluster: args.cluster.clone(), ..ImportOptions::default() };
    for text in &args.better {
        let (metric, way) = pair("--better", text)?;
        let direction = match way {
            "higher" => Direction::Higher,
            "lower" => Direction::Lower,
            "neither" => Direction::Descriptive,
            other => bail!("--better {text}: `{other}` is none of higher, lower, neither"),
        };
        options.directions.insert(metric.to_owned(), direction);
    }
    for text in &args.objectives {
        let (metric, name) = pair("--objective", text)?;
        options.objectives.insert(metric.to_owned(), objective(name)?);
    }
    Ok(options)
}

/// An objective by its name.
pub fn objective(name: &str) -> Result<counterpath::stats::Objective> {
    const NAMES: [&str; 7] =
        ["accuracy", "fairness", "robustness", "explainability", "privacy", "calibration", "sensitivity"];
    objective_by_name(name).with_context(|| match suggestion(name, NAMES) {
        Some(near) => format!("`{name}` is no objective; did you mean `{near}`?"),
        None => format!("`{name}` is no objective; they are {}", NAMES.join(", ")),
    })
}

/// The two sides of `NAME=VALUE`.
pub fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .with_context(|| format!("{option} {text}: write NAME=VALUE"))
}
