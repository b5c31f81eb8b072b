//! The command line: one file a verb, and what they share.

mod args;
mod benchmark_args;
mod causal_args;
mod checkpoint_args;
mod circuit_args;
mod compare_args;
mod direction_args;
mod load;
mod loop_args;
mod needs;
mod perturb_args;
mod process;
mod progress;
mod stage_args;
mod task_args;
mod text_args;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

/// Reads the arguments, does the work, prints one line a cause on failure. Exit codes: 0 done, 1 a closed gate, 2 bad
/// input or failed work, 130 interrupted.
pub fn run() -> ExitCode {
    process::prepare();
    let cli = args::Cli::parse();
    let verbosity = if cli.quiet { progress::Verbosity::Quiet } else { progress::Verbosity::Normal };
    let terminal = progress::Terminal::new(verbosity);
    let work = || progress::watch_interrupt().and_then(|()| verbs::dispatch(&cli, &terminal));
    let outcome = process::in_pool(work).map_err(anyhow::Error::from).and_then(|done| done);
    counterpath::base::Progress::finish(&terminal);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", told(&error));
            let interrupted = counterpath::base::Progress::cancelled(&terminal);
            let closed = error.is::<verbs::gate::Closed>();
            ExitCode::from(if interrupted { 130 } else { 2 - u8::from(closed) })
        }
    }
}

/// One line a cause; a cause that the line above it ends with is not told twice.
fn told(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        match lines.last() {
            None => lines.push(format!("error: {cause}")),
            Some(above) if above.ends_with(&cause) => {}
            Some(_) => lines.push(format!("  because: {cause}")),
        }
    }
    lines.join("\n")
}
