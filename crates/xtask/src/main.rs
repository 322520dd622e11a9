//! The chores of this repository. `cargo xtask test` runs every test there is.
#![forbid(unsafe_code)]

mod checks;
mod live;
mod report;
mod rfc;
mod setup;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Report;

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs every test there is, and installs what they need (browsers from apt, foreign peers from npm and pip).
    ///
    /// Fails where something cannot be installed or run; nothing is skipped silently. `--only` picks parts by name.
    Test {
        /// Run only these parts (repeatable).
        #[arg(long, value_enum)]
        only: Vec<Part>,
    },
    /// Writes docs/rfc-coverage.md from the clauses that comments cite.
    Rfc {
        /// Fail if the file on disk differs, instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Takes the picture of the page for the README, with a headless Chromium.
    Picture,
}

/// The parts of `cargo xtask test`, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// rustfmt, clippy without warnings, rustdoc without warnings, file lengths, forbidden packages.
    Lint,
    /// `cargo test --workspace`: hermetic, no network and no browser.
    Hermetic,
    /// Each crate's tests with only that crate selected, so that its features and dependencies suffice.
    Alone,
    /// The examples that end by themselves.
    Examples,
    /// 10 000 connect and close cycles of two in-process peers; resident memory must stay flat.
    Cycles,
    /// Chromium, Firefox, aiortc and libwebrtc in Node against `antiphon serve`, as offerer and as answerer.
    Live,
}

const EVERY_PART: [Part; 6] = [
    Part::Lint,
    Part::Hermetic,
    Part::Alone,
    Part::Examples,
    Part::Cycles,
    Part::Live,
];

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Test { only } => test(&only),
        Chore::Rfc { check } => rfc::run(check),
        Chore::Picture => live::picture(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test(only: &[Part]) -> Result<(), String> {
    let parts = if only.is_empty() { &EVERY_PART } else { only };
    let mut report = Report::default();
    for part in parts {
        match part {
            Part::Lint => checks::lint(&mut report),
            Part::Hermetic => checks::hermetic(&mut report),
            Part::Alone => checks::alone(&mut report),
            Part::Examples => checks::examples(&mut report),
            Part::Cycles => checks::cycles(&mut report),
            Part::Live => live::run(&mut report),
        }
    }
    report.close()
}
