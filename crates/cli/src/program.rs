//! The program from its command line to its end. It is in the library, so that its futures are compiled with the rest of it, and not
//! once more with the binary.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::text::plain;
use crate::{logging, server, stream, token, transfer, turn};

/// Does what the command line says; how it ended.
pub fn main() -> ExitCode {
    let args = Args::parse();
    logging::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("antiphon: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(args));
    // A read from the terminal that nobody answers any more must not hold the program.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Part of it may be what a stranger said.
            eprintln!("antiphon: {}", plain(&error.to_string()).at_most(2000));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    match args.command {
        Some(Command::Serve(serve)) => server::run(*serve).await.map_err(Into::into),
        Some(Command::Token(args)) => token::run(&args).map_err(Into::into),
        Some(Command::Turn(turn)) => turn::run(*turn).await.map_err(Into::into),
        None => server::run(args.serve).await.map_err(Into::into),
        Some(Command::Pattern(pattern)) => stream::pattern(*pattern).await.map(drop).map_err(Into::into),
        Some(Command::Play(play)) => stream::play(*play).await.map(drop).map_err(Into::into),
        Some(Command::Record(record)) if record.room.is_some() => {
            stream::record_room(*record).await.map(drop).map_err(Into::into)
        }
        Some(Command::Record(record)) => stream::record(*record).await.map(drop).map_err(Into::into),
        Some(Command::Send(send)) => transfer::send(send).await.map_err(Into::into),
        Some(Command::Recv(recv)) => transfer::receive(recv).await.map_err(Into::into),
    }
}
