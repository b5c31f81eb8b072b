//! One file a verb. A verb reads its arguments, calls the library, prints the result.

mod ablate;
mod benchmark;
mod circuit;
mod circuit_page;
mod circuit_text;
mod compare;
mod compare_page;
mod complete;
mod convert;
mod direction;
mod direction_text;
mod discover;
mod estimate;
mod explain;
mod export;
pub mod gate;
mod identify;
mod inspect;
mod ls;
mod perturb;
mod report;
mod results;
mod run;
mod score;
mod sweep;
mod table;
mod tasks;
mod transport;
mod validate;
mod work;

use anyhow::Result;
use counterpath::base::Progress;

use super::args::{Cli, Verb};

/// How results are printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Calls the verb that was asked for.
pub fn dispatch(cli: &Cli, progress: &dyn Progress) -> Result<()> {
    let format = if cli.json { Format::Json } else { Format::Text };
    match &cli.verb {
        Verb::Inspect(args) => inspect::run(args, format, progress),
        Verb::Table(args) => table::run(args, format, progress),
        Verb::Convert(args) => convert::run(args, format, progress),
        Verb::Identify(args) => identify::run(args, format),
        Verb::Estimate(args) => estimate::run(args, format),
        Verb::Refute(args) => estimate::refute(args, format),
        Verb::Audit(args) => estimate::audit(args, format),
        Verb::Discover(args) => discover::run(args, format),
        Verb::Transport(args) => transport::run(args, format),
        Verb::Score(args) => score::run(args, format, progress),
        Verb::Explain(args) => explain::run(args, format),
        Verb::Complete(args) => complete::run(args, format, progress),
        Verb::Compare(args) => compare::run(args, format),
        Verb::Export(args) => export::run(args, format),
        Verb::Gate(args) => gate::run(args, format),
        Verb::Report(args) => report::run(args, format),
        Verb::Quickstart(args) => run::quickstart(args, format, progress),
        Verb::Run(args) => run::run(args, format, progress),
        Verb::Generate(args) => work::generate(args, format),
        Verb::Benchmark(args) => benchmark::run(args, format, progress),
        Verb::Evaluate(args) => work::evaluate(args, format, progress),
        Verb::Ls(args) => ls::run(args, format),
        Verb::Validate(args) => validate::run(args, format, progress),
        Verb::Mediate(args) => work::mediate(args, format, progress),
        Verb::Circuit(args) => circuit::run(args, format, progress),
        Verb::Direction(args) => direction::run(args, format, progress),
        Verb::Perturb(args) => perturb::run(args, format),
        Verb::Tune(args) => work::tune(args, format, progress),
    }
}

/// Prints a value as pretty JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// The command as it was given.
pub fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("counterpath {}", arguments.join(" "))
}
