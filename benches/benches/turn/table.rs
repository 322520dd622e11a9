//! Which loads there are, whose turn it is, and the table.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::load::{Load, Measured, Scenario, Way};
use crate::servers::{Server, serve};

/// Turns of each server at each load.
const ROUNDS: usize = 3;
/// How long one turn takes.
const TURN: Duration = Duration::from_millis(700);

/// Datagrams that one client or peer sends at once: a frame of video, or one packet alone.
const FRAME: usize = 10;
const ALONE: usize = 1;

const VIDEO: usize = 1200;
const AUDIO: usize = 160;

/// What is asked of the servers: as fast as they can, and at the pace of calls.
fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (payload, run) in [(VIDEO, FRAME), (VIDEO, ALONE), (AUDIO, ALONE)] {
        for allocations in [1, 10, 100] {
            all.push(Scenario {
                allocations,
                payload,
                run,
                way: Way::Channels,
                pause: None,
            });
        }
    }
    for (payload, run) in [(VIDEO, FRAME), (AUDIO, ALONE)] {
        all.push(Scenario {
            allocations: 10,
            payload,
            run,
            way: Way::Indications,
            pause: None,
        });
    }
    // Calls: audio every 20 ms, video of 30 frames a second.
    for (payload, run, pause) in [(VIDEO, FRAME, 33), (AUDIO, ALONE, 20)] {
        all.push(Scenario {
            allocations: 50,
            payload,
            run,
            way: Way::Channels,
            pause: Some(Duration::from_millis(pause)),
        });
    }
    all
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    coturn: bool,
    beside: Vec<PathBuf>,
    /// Part of the name of the loads to run.
    only: Option<String>,
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Option<Asked> {
    let mut asked = Asked::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What `cargo bench` adds by itself.
            "--bench" => {}
            "--beside-coturn" => asked.coturn = true,
            "--beside" => asked.beside.push(arguments.next()?.into()),
            "--only" => asked.only = Some(arguments.next()?),
            _ => return None,
        }
    }
    Some(asked)
}

/// Runs what the arguments ask for.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> io::Result<()> {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == "--serve").is_some() {
        return serve();
    }
    let Some(asked) = asked(arguments) else {
        println!("--beside-coturn, --beside PROGRAM (another antiphon; repeatable), --only WORDS (of a load's name)");
        return Ok(());
    };
    let mut servers = vec![Server::ours()?];
    for program in &asked.beside {
        servers.push(Server::program(program)?);
    }
    if asked.coturn {
        match Server::coturn() {
            Ok(server) => servers.push(server),
            Err(error) if error.kind() == io::ErrorKind::NotFound => println!("coturn: not there"),
            Err(error) => return Err(error),
        }
    }
    println!(
        "| load | server | relayed/s | lost | processor | packets per CPU-second | ns each | ratio |\n\
         |---|---|---:|---:|---:|---:|---:|---:|"
    );
    for scenario in scenarios() {
        let name = scenario.to_string();
        if asked.only.as_ref().is_some_and(|words| !name.contains(words.as_str())) {
            continue;
        }
        let mut measured = vec![Measured::default(); servers.len()];
        for round in 0..ROUNDS {
            for place in 0..servers.len() {
                let at = (round + place) % servers.len();
                let server = &servers[at];
                let mut load = Load::new(&scenario, server.addr())?;
                let before = server.processor_time()?;
                let mut turn = load.run(TURN)?;
                turn.processor = server.processor_time()?.saturating_sub(before);
                measured[at].add(&turn);
                load.end();
            }
        }
        let first = measured[0].per_second_of_processor();
        for (server, measured) in servers.iter().zip(&measured) {
            let per_second = measured.per_second_of_processor();
            println!(
                "| {name} | {} | {:.0} | {:.2} % | {:.0} % | {per_second:.0} | {:.0} | {:.2} |",
                server.name(),
                measured.arrived as f64 / measured.time.as_secs_f64(),
                100.0 * measured.sent.saturating_sub(measured.arrived) as f64 / measured.sent.max(1) as f64,
                100.0 * measured.processor.as_secs_f64() / measured.time.as_secs_f64(),
                1e9 / per_second,
                first / per_second,
            );
        }
    }
    Ok(())
}
