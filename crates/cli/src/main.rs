//! The program `antiphon`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    antiphon_cli::program::main()
}
