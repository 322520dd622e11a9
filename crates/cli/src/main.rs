//! The program `antiphon`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use antiphon_cli::args::{Args, Command};
use antiphon_cli::server;
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,antiphon_cli=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let serve = match args.command {
        Some(Command::Serve(serve)) => serve,
        None => args.serve,
    };
    match server::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("antiphon: {error}");
            ExitCode::FAILURE
        }
    }
}
