//! The binary: arguments, terminal, environment, device. All work is the library's.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
